"""`tailrace test` and `preview`: a job on a few records, on this machine, with nothing written elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from flink_jobs.cli.connection import environment
from flink_jobs.cli.progress import Progress
from flink_jobs.cli.run import show_traceback
from flink_jobs.errors import InputError, JobFailedError
from flink_jobs.history import History, Replay
from flink_jobs.history.expected import (
    asked_columns,
    became,
    differences,
    fixtures_of,
    read_fixtures,
    table_changes,
)
from flink_jobs.history.results import output_schema
from flink_jobs.kafka import Message, as_message, latest_records, read_topic
from flink_jobs.plan import Plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.validate import validated_plan
from flink_jobs.spec import JobSpec
from flink_jobs.system.log import configure_logging
from flink_jobs.system.terminal import json_line, open_console, say

JobFile = Annotated[Path, typer.Argument(help="The job file.", show_default=False)]


def test(
    file: JobFile,
    records: Annotated[
        Path | None,
        typer.Option(help="The records. Default: NAME.test.jsonl beside NAME.yaml.", show_default=False),
    ] = None,  # noqa: PT028 (a command, not a test)
) -> None:
    """Run a job on records beside its file, and check what becomes of each.

    A line of JSON is a record, with `value`, and if it matters `key`, `timestamp` (ms) and `headers`. Its
    `expect` has columns of the prediction, or {"dead": "wrong_type"}, or {"late": true}. A line with `table`
    is a change of that lookup, where its table is a topic. Flink and Kafka run on this machine for as long as
    that takes; numbers are compared to six digits.

    [bold]Examples[/]

      tailrace test payments.yaml

      tailrace test payments.yaml --records edge_cases.jsonl
    """
    plan = validated_plan(file, environ=environment())
    if plan.job.score != "per_event":
        raise InputError(f"score must be per_event for `tailrace test`; {file} has {plan.job.score}")
    path = records or fixtures_of(file)
    fixtures, tables = table_changes(plan.job, path, read_fixtures(path))
    outputs = output_schema(plan.manifest.signature.output).names
    include = asked_columns(fixtures, outputs)
    history = _predicted(plan, [fixture.message for fixture in fixtures], include, tables)
    wrong = list(differences(path, fixtures, became(history)))
    for line in wrong:
        say(line, error=True)
    expected = sum(fixture.expect is not None for fixture in fixtures)
    say(
        f"{expected} records are as expected"
        if not wrong
        else f"{len(wrong)} differences in {expected} records"
    )
    if wrong:
        raise typer.Exit(1)


def preview(
    file: JobFile,
    records: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="The newest of the topic.")
    ] = 50,
    show: Annotated[int, typer.Option(metavar="N", min=1, help="How many of them to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print all, an object a line.")] = False,
) -> None:
    """Show what a job makes of live records, step by step; writes nothing.

    The newest records of the source are read, and run through the job on this machine, with a broker of its
    own: the fields, windows, lookups, derived columns and the prediction of each, or why it is a dead letter.
    Windows know only these records; tables of topics are read whole.

    [bold]Examples[/]

      tailrace preview payments.yaml

      tailrace preview payments.yaml --records 1000 --json
    """
    plan = validated_plan(file, environ=environment())
    if plan.job.score != "per_event":
        raise InputError(f"score must be per_event for `tailrace preview`; {file} has {plan.job.score}")
    messages = latest_records(client_settings(plan.job), plan.job.source.topic, records)
    if not messages:
        raise InputError(f"{plan.job.source.topic} must have a record; it has none")
    steps = _steps(plan)
    include = [name for _, names in steps for name in names]
    found = became(_predicted(plan, messages, include, _tables_now(plan.job)))
    if as_json:
        for made in found:
            print(json_line(json.dumps(made, default=str)))
        return
    console = open_console()
    for made in found[-show:]:
        console.print(_record(made, steps))
    say(f"{len(found)} records, {sum('dead' in made for made in found)} dead letters; nothing was written")


def _tables_now(job: JobSpec) -> dict[str, list[Message]]:
    """All changes of lookups whose tables are topics."""
    return {
        name: [as_message(each) for each in read_topic(client_settings(job), lookup.topic or "")]
        for name, lookup in topic_lookups(job).items()
    }


def _predicted(
    plan: Plan,
    messages: Sequence[Message],
    include: Sequence[str],
    tables: Mapping[str, Sequence[Message]] | None = None,
) -> History:
    configure_logging()
    console = open_console(stderr=True, soft_wrap=True)
    with Progress(console, "records") as line:
        try:
            with Replay(plan.job, messages, tables=tables) as replay:
                return replay.predictions(include=include, on_progress=line.show)
        except JobFailedError as error:
            show_traceback(error)
            raise


def _steps(plan: Plan) -> list[tuple[str, list[str]]]:
    """The columns by the step that makes them, but for personal data, which stays where it is."""
    named: dict[str, list[str]] = {}
    for name, column in plan.columns.columns.items():
        if name not in plan.labels and name != "event_time":
            named.setdefault(_step(column.origin), []).append(name)
    return list(named.items())


def _step(origin: str) -> str:
    for sign, step in (("window", "windows"), ("lookup", "lookups"), ("derive", "derived")):
        if sign in origin:
            return step
    return "fields"


def _record(made: Mapping[str, Any], steps: Sequence[tuple[str, Sequence[str]]]) -> Table:
    table = Table(Column(style="bold", no_wrap=True), Column(overflow="fold"), box=None, show_header=False)
    for step, text in _lines(made, steps):
        table.add_row(step, Text(text))
    table.add_row("", "")
    return table


def _lines(made: Mapping[str, Any], steps: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[str, str]]:
    if "dead" in made:
        yield "dead letter", f"{made['dead']}: {made['message']}"
        return
    if made.get("late"):
        yield "late", "behind newer records"
        return
    shown = set()
    for step, names in steps:
        yield step, _pairs({name: made[name] for name in names if name in made})
        shown |= set(names)
    yield "prediction", _pairs({name: value for name, value in made.items() if name not in shown})


def _pairs(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={json.dumps(value, default=str)}" for name, value in values.items()) or "–"
