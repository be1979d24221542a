"""`tailrace produce` and `tailrace read`: lines into a topic, records out of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from flink_jobs.cli.connection import Brokers, Job, kafka_settings
from flink_jobs.cli.records import as_line, print_pretty
from flink_jobs.errors import InputError
from flink_jobs.kafka import (
    ClientSettings,
    Record,
    create_topics,
    describe_topics,
    no_such_topic,
    produce_lines,
    read_topic,
)

Topic = Annotated[str, typer.Argument(help="Name of the topic.", show_default=False)]


def produce(
    topic: Topic,
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="One record a line; - is stdin.")] = "-",  # type: ignore[assignment]
    key_field: Annotated[
        str | None, typer.Option(help="JSON field whose value becomes the key.", show_default=False)
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the topic if it is missing.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a created topic.")] = 1,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Write lines to a topic, one record each, as they are.

    A line is not checked: broken JSON is sent too, and has no key.

    [bold]Examples[/]

      tailrace produce flights.departed flights.jsonl --key-field origin --create --partitions 4

      echo '{"origin": "JFK"}' | tailrace produce flights.departed --job conf/flight_delay.yaml
    """
    settings = kafka_settings(brokers, job)
    _require_topic(settings, topic, partitions if create else None)
    count = produce_lines(settings, topic, file, key=_key_of(key_field) if key_field else None)
    print(f"{count} records written to {topic}", file=sys.stderr)


def read(
    topic: Topic,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with records as they come.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Follow, leaving out what is there already.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, show_default=False)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line (default in a pipe).")
    ] = False,
    pretty: Annotated[bool, typer.Option("--pretty", help="For people (default at a terminal).")] = False,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Show a topic's committed records.

    Records of open or aborted transactions are not shown. In JSON, bytes that are not UTF-8 appear as
    {"base64": "…"}.

    [bold]Examples[/]

      tailrace read flight-delay.predictions --limit 3

      tailrace read flight-delay.dead-letters --follow --pretty

      tailrace read flight-delay.predictions --json | jq .value
    """
    if as_json and pretty:
        raise InputError("only one of --json and --pretty can be given")
    in_lines = as_json or not (pretty or sys.stdout.isatty())

    def print_line(record: Record) -> None:
        print(as_line(topic, record), flush=follow or new)

    show: Callable[[Record], None] = print_line if in_lines else print_pretty
    settings = kafka_settings(brokers, job)
    records = read_topic(settings, topic, follow=follow or new, limit=limit, from_beginning=not new)
    for record in records:
        show(record)


def _require_topic(settings: ClientSettings, topic: str, partitions: int | None) -> None:
    """Creates it when `partitions` is given."""
    if describe_topics(settings, [topic])[topic] is not None:
        return
    if partitions is None:
        raise InputError(f"{no_such_topic(settings, topic)}; --create makes it")
    create_topics(settings, {topic: partitions})


def _key_of(field: str) -> Callable[[bytes], bytes | None]:
    """Takes the key out of a line; None for lines without that field or that are not JSON objects."""

    def key(line: bytes) -> bytes | None:
        try:
            value = json.loads(line).get(field)
        except (ValueError, AttributeError, RecursionError):
            return None
        if value is None or isinstance(value, str):
            return value.encode("utf-8", "surrogatepass") if value is not None else None
        return json.dumps(value).encode()

    return key
