"""`tailrace dlq`: the records of a job's dead letters and late records, as they were."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.connection import environment
from flink_jobs.cli.records import text_or_base64
from flink_jobs.errors import InputError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import read_topic
from flink_jobs.kafka.dead_letters import DeadLetter, as_dead_letter, keys_by_id
from flink_jobs.plan.clients import client_settings
from flink_jobs.spec import JobSpec
from flink_jobs.system.terminal import say
from udfs.errors import EnvelopeError
from udfs.records.personal import parse_key

SCHEMA = "tailrace.dead-letter/1"


class Action(StrEnum):
    """What is done with them."""

    export = "export"


def dlq(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="The job file.", show_default=False)],
    action: Annotated[Action, typer.Argument(help="export: print them as JSON, a line each.")],
    late: Annotated[bool, typer.Option("--late", help="The late records, not the dead letters.")] = False,
    key_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--key-file", metavar="PATH", help="A further key, such as one of before.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.", show_default=False)] = None,
) -> None:
    """Print the records of a job's dead letters as they were; encrypted ones for who has the key.

    The key is the job file's privacy.encrypt_key. A record that cannot be had back is printed without its
    original, and the command ends with status 1.

    [bold]Examples[/]

      tailrace dlq conf/flight_delay.yaml export --limit 10 | jq -c '{reason, original}'

      tailrace dlq conf/flight_delay.yaml export --key-file keys/2025.key > dead.jsonl
    """
    spec = load_job(job, environment())
    keys = _keys(spec, key_file or [])
    records = read_topic(
        client_settings(spec), spec.late.topic if late else spec.dead_letters.topic, limit=limit
    )
    _ACTIONS[action](as_dead_letter(record, keys) for record in records)


def _export(records: Iterable[DeadLetter]) -> None:
    shut = 0
    for found in records:
        shut += found.state == "encrypted" and found.original is None
        print(_line(found))
    sys.stdout.flush()
    if shut:
        say(f"{shut:,} records could not be opened", error=True)
        raise typer.Exit(WorkError.exit_code)


_ACTIONS = {Action.export: _export}


def _keys(spec: JobSpec, further: list[Path]) -> dict[str, bytes]:
    """Raises InputError for a key that cannot be had."""
    found = []
    try:
        if spec.privacy.encrypt_key:
            found.append(spec.privacy.encrypt_key.params.read())
        for path in further:
            found.append(parse_key(path.read_text("ascii", "replace")))
    except EnvelopeError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    return keys_by_id(found)


def _line(found: DeadLetter) -> str:
    topic, partition, offset = found.place
    original = found.original and {
        "key": text_or_base64(found.original.key),
        "headers": [[name, text_or_base64(value)] for name, value in found.original.headers],
        "value": text_or_base64(found.original.value),
    }
    data = {"schema": SCHEMA, "topic": topic, "partition": partition, "offset": offset}
    data |= {name: found.reason.get(name, "") for name in ("stage", "reason", "message", "model", "at")}
    return json.dumps(data | {"written": found.state, "original": original, "why": found.why or None})
