"""What a job wrote about historical records, as Arrow tables in the order of the records.

history.table.column("score"), history.context.column("row")      # a row for each record that was scored
history.dead.to_pylist()        # [{"row": 7, "stage": "decode", "reason": "not_json", "message": "…"}]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from flink_jobs.kafka import Record
from flink_jobs.plan import Plan, Runnable
from udfs.model.manifest import Output
from udfs.tables import reader_of
from udfs.types import ARROW

_BLOCK = 8_000_000
_TIME = ARROW["timestamp"]
_EVENT = pa.schema([("offset", pa.int64()), ("event_time", _TIME)])
_WINDOW = pa.schema([("window_start", _TIME), ("window_end", _TIME), ("records", pa.int64())])
_DEAD = pa.schema(
    [("row", pa.int64()), ("stage", pa.string()), ("reason", pa.string()), ("message", pa.string())]
)


@dataclass(frozen=True)
class Outputs:
    """All records of a run's output topics."""

    predictions: Sequence[Record]
    dead_letters: Sequence[Record]
    late: Sequence[Record]


@dataclass(frozen=True)
class History:
    """What became of `read` records, or of the windows over them.

    `table` has the features or predictions, in order of the records (or of windows: by start, end and key).
    Row i of it belongs to row i of `context`: columns row (from 0) and event_time, for windows window_start,
    window_end, records and key. `dead` has the columns row (null for a window), stage, reason and message;
    `late` are rows.
    """

    table: pa.Table
    context: pa.Table
    dead: pa.Table
    late: npt.NDArray[np.int64]
    read: int

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(n,) which record each row of `table` belongs to; raises KeyError for windows."""
        return np.asarray(self.context.column("row"), np.int64)


def feature_history(outputs: Outputs, plan: Runnable, columns: Sequence[str], read: int) -> History:
    """The History of a run without a model, of which the columns were asked for."""
    types = pa.schema([(name, ARROW[plan.columns[name].type]) for name in columns])
    schema = pa.schema([("features", pa.struct(list(types))), *_context_schema(plan)])
    parsed = _parse(outputs.predictions, schema)
    nested = parsed.column("features").combine_chunks()
    table = pa.table([nested.field(name) for name in columns], schema=types)
    return _history(table, parsed, outputs, plan, read)


def prediction_history(outputs: Outputs, plan: Plan, read: int) -> History:
    """The History of a run with a model: the included columns, then those of `output_schema`."""
    included = [(name, _included_type(plan, name)) for name in plan.job.predictions.include]
    made = output_schema(plan.manifest.signature.output)
    schema = pa.schema([*included, *made])
    parsed = _parse(outputs.predictions, pa.schema([*schema, *_context_schema(plan)]))
    return _history(parsed.select(schema.names), parsed, outputs, plan, read)


def output_schema(output: Output) -> pa.Schema:
    """The columns that a model of this kind writes: prediction, and score or probabilities."""
    prediction = {"regression": pa.float64(), "anomaly": pa.bool_()}.get(output.kind) or _class_type(output)
    fields: list[tuple[str, pa.DataType]] = [("prediction", prediction)]
    if output.kind in ("binary", "anomaly"):
        fields.append(("score", pa.float64()))
    if output.kind == "multiclass":
        fields.append(("probabilities", pa.struct([(str(c), pa.float64()) for c in output.classes])))
    return pa.schema(fields)


def _class_type(output: Output) -> pa.DataType:
    return pa.array(output.classes).type


def _included_type(plan: Plan, name: str) -> pa.DataType:
    return pa.string() if name in plan.labels else ARROW[plan.columns[name].type]


def _context_schema(plan: Runnable) -> pa.Schema:
    return _EVENT if plan.job.score == "per_event" else _WINDOW


def _parse(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """The JSON objects as a table; Arrow reads back the very doubles that it wrote."""
    if not records:
        return schema.empty_table()
    blob = b"\n".join(record.value or b"" for record in records)
    written = pa.schema([_as_written(field) for field in schema])
    parse = pyarrow.json.ParseOptions(explicit_schema=written, unexpected_field_behavior="ignore")
    read = pyarrow.json.ReadOptions(block_size=max(_BLOCK, max(len(r.value or b"") for r in records) + 1))
    parsed = pyarrow.json.read_json(reader_of(blob), read, parse)
    columns = [_as_read(parsed.column(field.name).combine_chunks(), field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _as_written(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_timestamp(kind):
        kind = pa.string()
    elif pa.types.is_struct(kind):
        kind = pa.struct([_as_written(kind.field(i)) for i in range(kind.num_fields)])
    return pa.field(field.name, kind)


def _as_read(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        children = [_as_read(column.field(i), kind.field(i).type) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(kind))
    return column.cast(kind)


def _history(table: pa.Table, parsed: pa.Table, outputs: Outputs, plan: Runnable, read: int) -> History:
    context = parsed.select(_context_schema(plan).names)
    if plan.job.score == "per_event":
        context = context.rename_columns(["row", "event_time"])
        order = pc.sort_indices(context.column("row"))
    else:
        keys = pa.array([record.key for record in outputs.predictions], pa.binary())
        context = context.append_column("key", keys)
        by: list[tuple[str, Any]] = [(name, "ascending") for name in ("window_start", "window_end", "key")]
        order = pc.sort_indices(context, sort_keys=by)
    late = np.sort(np.array([_row(record) for record in outputs.late], np.int64))
    return History(table.take(order), context.take(order), _dead(outputs.dead_letters), late, read)


def _dead(records: Sequence[Record]) -> pa.Table:
    rows = [
        {"row": _row(record)} | {name: _header(record, name) for name in ("stage", "reason", "message")}
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=_DEAD).sort_by("row")


def _row(record: Record) -> int | None:
    """Which record this is: its offset, as there is one partition; None for a window."""
    offset = _header(record, "offset")
    return int(offset) if offset else None


def _header(record: Record, name: str) -> str:
    """The last header of the name: the source record's own come before ours."""
    found = dict(record.headers).get(f"tailrace.{name}")
    return (found or b"").decode()
