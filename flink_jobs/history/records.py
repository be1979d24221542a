"""Historical records from a file: each as the JSON that a producer would have sent.

    read = read_records(job, Path("flights.parquet"))
    read.records[0].value           # b'{"flight_id":"…","dep_delay":2.0,…}'
    read.columns.column("late")     # all columns of the file, row by row: labels, segments

Parquet and CSV: a column for each field of the job's schema, read from CSV as the schema says; or in Parquet
a binary column `value` with whole records, in the source's format. Where the schema has no such fields, `key`
and `timestamp` (a time, or ms) are the Kafka record's. JSON lines: a record each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from flink_jobs.errors import InputError
from flink_jobs.history.fields import as_field, as_list, as_milliseconds
from flink_jobs.history.table_files import open_table
from flink_jobs.kafka import Message
from flink_jobs.kafka.records import Headers
from flink_jobs.spec import Envelope, JobSpec, SchemaField, Source
from udfs.records.encode import json_objects
from udfs.records.event_time import ISO_8601, Unit
from udfs.suggest import nearest
from udfs.tables import reader_of
from udfs.tables.columns import one_array
from udfs.tables.read import CSV, ENDINGS
from udfs.tables.text import fits, from_text
from udfs.types import ColumnType, held_as

LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class HistoryFile:
    """The records of a file, and its columns, one row for each record; `absent` fields are null in all.

    `written` says what they were: whole values in the source's format, or JSON, made of columns or lines.
    """

    records: list[Message]
    columns: pa.Table
    absent: tuple[str, ...] = ()
    written: Literal["columns", "lines", "values"] = "columns"

    def read_by(self, job: JobSpec) -> JobSpec:
        """The job, as it reads these records."""
        if self.written == "values":
            return job
        source = job.source
        json: dict[str, Any] = {
            "format": "json",
            "schema_file": None,
            "message": None,
            "csv": None,
            "schema_registry": None,
            "framing": None,
        }
        if self.written == "columns":
            plain = {"fields": _plain_fields(source), "key": None, "headers": {}, "envelope": Envelope()}
            json |= plain
        return job.model_copy(update={"source": source.model_copy(update=json)})


def _plain_fields(source: Source) -> dict[str, SchemaField]:
    """All columns as fields at the top of a record."""
    return {
        name: SchemaField.model_construct(**{**dict(field), "field": None})
        for name, field in {**source.columns, **source.lists}.items()
    }


def read_records(
    job: JobSpec, path: Path, limit: int | None = None, types: Mapping[str, ColumnType] | None = None
) -> HistoryFile:
    """At most `limit` records; `types` are those of other columns, which CSV does not tell.

    Raises InputError when the file is not what the job reads.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path} must be a Parquet, CSV or JSON lines file; there is no such file")
    if suffix in LINES:
        return _from_lines(path, limit)
    if suffix not in ENDINGS:
        endings = ", ".join((*ENDINGS, *LINES))
        raise InputError(f"{path} must end in one of {endings}; got {suffix or 'no ending'!r}")
    return from_table(job, read_history_table(job, path, limit, types), str(path))


def read_history_table(
    job: JobSpec, path: Path, limit: int | None = None, types: Mapping[str, ColumnType] | None = None
) -> pa.Table:
    """The columns of a Parquet file as they are, or those of a CSV file, of which the schema gives the types.

    Raises InputError.
    """
    if path.suffix.lower() not in CSV:
        return open_table(path, limit=limit)
    when = job.source.event_time
    wanted: dict[str, ColumnType] = {"key": "string", **(types or {})}
    wanted |= {name: held_as(field.column_type) for name, field in job.source.columns.items()}
    moment = when.field or when.header
    if moment:
        wanted[moment] = "string"
    table = open_table(path, wanted, limit)
    if moment not in table.column_names:
        return table
    place = table.column_names.index(moment)
    return table.set_column(place, moment, _times(one_array(table.column(place)), when.unit))


def _times(texts: pa.Array, unit: Unit) -> pa.Array:
    """Event times as a record has them; as dates and times where the file has them in another form."""
    as_written = _are_iso_8601(texts) if unit == "iso8601" else fits(texts, "long")
    if not as_written and fits(texts, "timestamp"):
        return from_text(texts, "timestamp")
    return texts if unit == "iso8601" or not as_written else from_text(texts, "long")


def _are_iso_8601(texts: pa.Array) -> bool:
    return pc.all(pc.match_substring_regex(texts, f"^({ISO_8601})$")).as_py() is not False


def from_table(job: JobSpec, table: pa.Table, source: str = "the table") -> HistoryFile:
    """The records of a table in memory; see `read_records`."""
    repeated = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if repeated:
        raise InputError(f"{source} must have each column once; repeated: {', '.join(repeated)}")
    fields = _fields(job)
    absent: tuple[str, ...] = ()
    whole = "value" in table.column_names and is_binary(table.schema.field("value").type)
    if whole:
        values = table.column("value").to_pylist()
    else:
        absent = _absent(job, fields, table, source)
        when = job.source.event_time
        columns = {
            name: as_field(table.column(name), kind, f"{source}: column {name!r}", when.unit)
            for name, kind in fields.items()
            if name in table.column_names
        }
        lists = {
            name: as_list(table.column(name), f"{source}: column {name!r}")
            for name in job.source.lists
            if name in table.column_names
        }
        values = json_objects({**columns, **lists}, {}).to_pylist()
    keys, times = _keys(table, fields), _timestamps(table, fields, source)
    headers = _headers(job, table, source, whole)
    messages = [Message(*parts) for parts in zip(values, keys, headers, times, strict=True)]
    return HistoryFile(messages, table, absent, "values" if whole else "columns")


def _fields(job: JobSpec) -> dict[str, str]:
    """Name to type of what a record holds."""
    fields: dict[str, str] = {name: field.type for name, field in job.source.columns.items()}
    when = job.source.event_time
    if when.field:
        fields.setdefault(when.field, when.type)
    return fields


def _absent(job: JobSpec, fields: dict[str, str], table: pa.Table, source: str) -> tuple[str, ...]:
    """Fields without a column. Raises InputError where records would be refused for it."""
    known = job.source.declared
    absent = tuple(name for name in (*fields, *job.source.lists) if name not in table.column_names)
    required = [name for name in absent if name not in known or known[name].required]
    if required:
        hints = [f"{name}{_hint(name, table.column_names)}" for name in required]
        raise InputError(
            f"{source} must have a column for each required field of source.schema, or a binary column "
            f"'value'; missing: {', '.join(hints)}"
        )
    return absent


def _keys(table: pa.Table, fields: dict[str, str]) -> list[bytes | None]:
    return [None] * table.num_rows if "key" in fields else keys_of(table)


def keys_of(table: pa.Table) -> list[bytes | None]:
    """The column `key` of Kafka's keys, if there is one."""
    if "key" not in table.column_names:
        return [None] * table.num_rows
    column = table.column("key")
    if not is_binary(column.type):
        column = column.cast(pa.string())
    return [key.encode() if isinstance(key, str) else key for key in column.to_pylist()]


def _timestamps(table: pa.Table, fields: dict[str, str], source: str) -> list[int | None]:
    if "timestamp" in fields or "timestamp" not in table.column_names:
        return [None] * table.num_rows
    found: list[int | None] = as_milliseconds(
        table.column("timestamp"), f"{source}: column 'timestamp'"
    ).to_pylist()
    return found


def _headers(job: JobSpec, table: pa.Table, source: str, whole: bool) -> list[Headers]:
    """The header that has the event time, if that is where it is, from the column of its name.

    With whole values also those that the job has columns of, from these.
    """
    when, texts = job.source.event_time, {}
    for name, field in job.source.headers.items() if whole else ():
        if name in table.column_names:
            texts[field.header or name] = table.column(name).cast(pa.string()).to_pylist()
    if when.header and when.header not in table.column_names:
        raise InputError(f"{source} must have a column {when.header!r}: the header that has the event time")
    if when.header:
        where = f"{source}: column {when.header!r}"
        times = as_field(table.column(when.header), when.type, where, when.unit)
        texts[when.header] = times.to_pylist()
    return [
        tuple((name, str(found[row]).encode()) for name, found in texts.items() if found[row] is not None)
        for row in range(table.num_rows)
    ]


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column has bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _from_lines(path: Path, limit: int | None) -> HistoryFile:
    """Lines are records as they are; columns only of those that are plain objects with simple values."""
    try:
        with path.open("rb") as file:
            lines = [line.rstrip(b"\r\n") for line in islice(file, limit)]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return HistoryFile([Message(line) for line in lines], _columns_of(lines), written="lines")


def _columns_of(lines: list[bytes]) -> pa.Table:
    """What can be read of the lines as a table with a row for each; no columns where they are not objects."""
    blob = b"\n".join(lines)
    read = pyarrow.json.ReadOptions(block_size=max(len(blob) + 1, 1))
    try:
        table = pyarrow.json.read_json(reader_of(blob), read)
    except pa.ArrowInvalid:
        table = None
    if table is None or table.num_rows != len(lines):
        return pa.table({"_line": pa.array(range(len(lines)))})
    return table


def _hint(name: str, known: list[str]) -> str:
    plain = {re.sub(r"[^a-z0-9]", "", other.lower()): other for other in known}
    close = nearest(re.sub(r"[^a-z0-9]", "", name.lower()), plain)
    return f" (did you mean {plain[close]!r}?)" if close else ""
