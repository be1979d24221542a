"""The changes of a topic's table, from a file: what the topic had in the time of the records.

    changes = read_changes(job, "cards", Path("cards.parquet"))
    Replay(job, records, tables={"cards": changes})

Parquet, in one of two forms, or JSON lines, in the order in which the changes came:

- binary columns `value` and `key` with whole records, a null value for a deletion, and `timestamp`;
- a column for each place of the lookup's key and columns (`limits.credit`), and for its event time: rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.history.fields import as_field, as_milliseconds
from flink_jobs.history.records import LINES, is_binary, keys_of
from flink_jobs.history.table_files import open_table
from flink_jobs.kafka import Message
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.spec import JobSpec, Lookup

Tables = Mapping[str, Path | pa.Table]
_encode = msgspec.json.Encoder().encode


def read_tables(job: JobSpec, given: Tables, asked: str) -> dict[str, list[Message]]:
    """The changes of each lookup of a topic; `asked` is how one gives them.

    Raises InputError for one that is not given, or no such lookup.
    """
    lookups = topic_lookups(job)
    for name in given:
        if name not in lookups:
            known = ", ".join(lookups) or "none"
            raise InputError(
                f"{asked} must name a lookup of the job whose table is a topic ({known}); got {name!r}"
            )
    if missing := [name for name in lookups if name not in given]:
        name = missing[0]
        raise InputError(
            f"features.lookups.{name} is a topic: its changes of that time must be given, as {asked} does; "
            "got none"
        )
    return {name: read_changes(job, name, given[name]) for name in lookups}


def read_changes(job: JobSpec, name: str, given: Path | pa.Table) -> list[Message]:
    """The records of the lookup's topic. Raises InputError when they are none."""
    where = f"{given}" if isinstance(given, Path) else f"the table of {name}"
    lookup = topic_lookups(job)[name]
    if isinstance(given, pa.Table):
        return _from_table(job, lookup, given, where)
    if not given.is_file():
        raise InputError(f"{where} must be a Parquet or JSON lines file; there is no such file")
    if given.suffix.lower() not in LINES:
        return _from_table(job, lookup, open_table(given), where)
    _require_time(lookup, where)
    return [Message(line) for line in given.read_bytes().splitlines() if line.strip()]


def _require_time(lookup: Lookup, where: str) -> None:
    if not lookup.event_time.field:
        raise InputError(f"{where} must have a column 'timestamp', as the lookup has no event_time.field")


def _from_table(job: JobSpec, lookup: Lookup, table: pa.Table, where: str) -> list[Message]:
    times: list[int | None] = [None] * table.num_rows
    if "timestamp" in table.column_names and lookup.event_time.field != "timestamp":
        times = as_milliseconds(table.column("timestamp"), f"{where}: column 'timestamp'").to_pylist()
    else:
        _require_time(lookup, where)
    if "value" in table.column_names and is_binary(table.schema.field("value").type):
        values = table.column("value").to_pylist()
        return [
            Message(*each) for each in zip(values, keys_of(table), [()] * len(values), times, strict=True)
        ]
    if lookup.envelope != "none" or lookup.event_time.header:
        raise InputError(
            f"{where} must have a binary column 'value' with whole records, as the topic has them"
        )
    return [
        Message(value, None, (), time)
        for value, time in zip(_rows(job, lookup, table, where), times, strict=True)
    ]


def _rows(job: JobSpec, lookup: Lookup, table: pa.Table, where: str) -> list[bytes]:
    """Rows as JSON, with a column in each place that the lookup reads."""
    columns, when = job_columns(job).columns, lookup.event_time
    kinds: dict[str, str] = {
        place: columns[name].type for name, place in zip(lookup.by, lookup.key, strict=True)
    }
    kinds |= {place: lookup.types[name] for name, place in lookup.columns.items()}
    if when.field:
        kinds.setdefault(when.field, when.type)
    if missing := [place for place in kinds if place not in table.column_names]:
        raise InputError(
            f"{where} must have a column for each place of the lookup; missing: {', '.join(missing)}"
        )
    read = {
        place: as_field(table.column(place), kind, f"{where}: column {place!r}", when.unit).to_pylist()
        for place, kind in kinds.items()
    }
    return [
        _encode(_nested({place: values[row] for place, values in read.items()}))
        for row in range(table.num_rows)
    ]


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Objects within objects.

    >>> _nested({"id": 1, "limits.credit": 2})
    {'id': 1, 'limits': {'credit': 2}}
    """
    made: dict[str, Any] = {}
    for place, value in values.items():
        *above, last = place.split(".")
        here = made
        for step in above:
            here = here.setdefault(step, {})
        here[last] = value
    return made
