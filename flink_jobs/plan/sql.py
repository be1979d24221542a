"""Writes SQL text for the parts of a job: source, windows, sinks. It needs no Flink.

>>> interval(90_000)
"INTERVAL '0 00:01:30.000' DAY(3) TO SECOND(3)"
>>> text("it's")
"'it''s'"

Names that begin with an underscore are Tailrace's own; a job file cannot use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flink_jobs.spec.secrets import redact
from udfs.records.cloudevents import CONTENT_TYPE, PREFIX, STRUCTURED
from udfs.records.event_time import EventTimeField
from udfs.records.headers import ATTEMPT

# A record as it was read, column by column, with the SQL types.
RECORD = {
    "_key": "BYTES",
    "_value": "BYTES",
    "_partition": "INT",
    "_offset": "BIGINT",
    "_timestamp": "TIMESTAMP_LTZ(3)",
    "_headers": "MAP<STRING, BYTES>",
}
LATEST_TIME_MS = 253_402_300_799_999
RAW_FORMAT = {
    "value.format": "raw",
    "key.format": "raw",
    "key.fields": "_key",
    "value.fields-include": "EXCEPT_KEY",
}


@dataclass(frozen=True)
class Table:
    """A Kafka table: columns as SQL lines, and options; secret ones are masked unless asked for."""

    name: str
    columns: tuple[str, ...]
    options: Mapping[str, str] = field(repr=False)

    def ddl(self, *, reveal: bool = False) -> str:
        columns = ",\n  ".join(self.columns)
        shown = self.options if reveal else redact(self.options)
        options = ",\n  ".join(f"{text(key)} = {text(value)}" for key, value in shown.items())
        return f"CREATE TABLE {self.name} (\n  {columns}\n) WITH (\n  {options}\n)"


def name(identifier: str) -> str:
    """A quoted identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def names(identifiers: Iterable[str]) -> str:
    """Quoted identifiers, with commas.

    >>> names(["city", "order"])
    '`city`, `order`'
    """
    return ", ".join(name(identifier) for identifier in identifiers)


def text(value: str) -> str:
    """A quoted string literal."""
    return "'" + value.replace("'", "''") + "'"


def interval(ms: int) -> str:
    """A time interval literal of any length."""
    seconds, millis = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}' DAY(3) TO SECOND(3)"


def source_columns(
    where: EventTimeField | None, max_ahead_ms: int, out_of_order_ms: int, *, tombstones: bool = False
) -> tuple[str, ...]:
    """The source's columns: raw bytes, coordinates, event time and watermark.

    A record of the watermark's own millisecond is late, so the watermark stays one behind those allowed. With
    `tombstones` a record without a value has the time of its timestamp.
    """
    return (
        f"_value {RECORD['_value']}",
        f"_key {RECORD['_key']}",
        *(
            f"_{name} {RECORD[f'_{name}']} METADATA FROM '{name}' VIRTUAL"
            for name in ("partition", "offset", "headers", "timestamp")
        ),
        event_time_column(where, max_ahead_ms, tombstones=tombstones),
        f"WATERMARK FOR event_time AS event_time - {interval(out_of_order_ms + 1)}",
    )


def event_time_column(where: EventTimeField | None, max_ahead_ms: int, *, tombstones: bool = False) -> str:
    """The computed event time: the epoch where it is missing, unparsable or too far ahead.

    The epoch never moves a watermark, and tells the worker that the record has no usable event time. A Kafka
    timestamp may be of a producer's wrong clock, so it counts up to now; Flink reads the clock once a record.
    """
    time = "_timestamp" if where is None else _parsed_time(where)
    if where and tombstones:
        time = f"CASE WHEN _value IS NULL THEN _timestamp ELSE {time} END"
    newest = "CURRENT_TIMESTAMP" if where is None else "LEAST(_timestamp, CURRENT_TIMESTAMP)"
    limit = f"{newest} + {interval(max_ahead_ms)}"
    return f"event_time AS CASE WHEN {time} <= {limit} THEN {time} ELSE TO_TIMESTAMP_LTZ(0, 3) END"


def _parsed_time(where: EventTimeField) -> str:
    if where.header:
        written = f"CAST(_headers[{text(where.name)}] AS STRING)"
    else:
        read = [_in_value(path) for path in (where.path or where.name, *where.others)]
        written = read[0] if len(read) == 1 else f"COALESCE({', '.join(read)})"
    if where.event:
        written = _in_event(where)
    if where.unit == "iso8601":
        bare = f"REPLACE(REGEXP_REPLACE({written}, 'Z$', ''), 'T', ' ')"
        time = f"TRY_CAST({bare} AS TIMESTAMP(3))"
        return f"CAST({_exact(time, written) if where.header else time} AS TIMESTAMP_LTZ(3))"
    number = f"TRY_CAST({written} AS BIGINT)"
    scaled = {"ms": "{}", "s": "GREATEST(LEAST({}, 253402300799), 0) * 1000", "us": "{} / 1000"}[
        where.unit
    ].format(number)
    return f"TO_TIMESTAMP_LTZ(GREATEST(LEAST({scaled}, {LATEST_TIME_MS}), 0), 3)"


def _in_value(path: str) -> str:
    return f"JSON_VALUE(CAST(_value AS STRING), {text('$.' + path)})"


def _in_event(where: EventTimeField) -> str:
    """An attribute or part of the data of a CloudEvent, which is whole in the value, or beside headers."""
    path = where.path or where.name
    kind = f"TRIM(LOWER(CAST(_headers[{text(CONTENT_TYPE)}] AS STRING)))"
    whole, beside = _in_value(f"data.{path}"), _in_value(path)
    if where.event == "attribute":
        whole, beside = _in_value(path), f"CAST(_headers[{text(PREFIX + path)}] AS STRING)"
    return f"CASE WHEN {kind} LIKE '{STRUCTURED.decode()}%' THEN {whole} ELSE {beside} END"


def _exact(time: str, written: str) -> str:
    """The time, unless Flink read it from a date alone, or made 28 February of the 30th.

    For headers, which workers do not see; they check the fields of records themselves.
    """
    same_day = f"CAST(CAST({time} AS DATE) AS STRING) = SUBSTRING({written}, 1, 10)"
    return f"CASE WHEN {same_day} AND CHAR_LENGTH({written}) >= 19 THEN {time} END"


def with_lateness(table: str, *, forgives_replayed: bool = False) -> str:
    """The table's rows, and whether the watermark has passed them: later operators would drop those.

    No headers become null, which costs nothing to carry on. Records that were replayed can be on time
    whenever they are, where nothing after the source goes by the watermark.
    """
    watermark = "CURRENT_WATERMARK(event_time)"
    late = f"{watermark} IS NOT NULL AND event_time <= {watermark} AND event_time > TO_TIMESTAMP_LTZ(0, 3)"
    if forgives_replayed:
        late += f" AND _headers[{text(ATTEMPT)}] IS NULL"
    carried = ", ".join(column for column in (*RECORD, "event_time") if column != "_headers")
    headers = "CASE WHEN CARDINALITY(_headers) > 0 THEN _headers END AS _headers"
    return f"SELECT {carried}, {headers}, ({late}) AS _late FROM {table}"


def size(column: str) -> str:
    """How many bytes a column of bytes has; 0 if it is null."""
    return f"COALESCE(CHAR_LENGTH(DECODE({column}, 'ISO-8859-1')), 0)"


def headers(values: Mapping[str, str]) -> str:
    """A MAP of header names to SQL string expressions, as bytes; a null expression gives an empty header."""
    entries = ", ".join(f"{text(key)}, CAST(COALESCE({value}, '') AS BYTES)" for key, value in values.items())
    return f"MAP[{entries}]"
