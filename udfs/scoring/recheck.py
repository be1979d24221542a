"""Checks records again that wait in state, for a job with other columns than the one that took them in."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from udfs.records.vectors import part_names
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import PREDICTED
from udfs.scoring.params import PackParams
from udfs.windows.blobs import RECORD_NAMES, row_schema, times_of
from udfs.windows.params import Columns
from udfs.windows.shard import Rechecked


def checked_columns(params: PackParams) -> Columns:
    """The columns of records that go to their shards: fields, what is made of lists, windows' conditions."""
    fields: Columns = tuple((field.name, field.type) for field in params.source.fields)
    taken: Columns = tuple((each.name, each.tree[1]) for each in params.source.taken)
    vectors = params.source.vectors.items()
    parts: Columns = tuple((part, "double") for name, size in vectors for part in part_names(name, size))
    return (*fields, *parts, *taken, *((condition.name, "boolean") for condition in params.conditions))


class Rechecker:
    """From the original bytes: what is still valid goes on waiting, the rest becomes dead letters."""

    def __init__(self, params: PackParams) -> None:
        # Who writes the dead letters counts them for the monitor.
        source = msgspec.structs.replace(params.source, counted=None)
        self._checker = RecordChecker(source, params.conditions)
        self._parts = source.parts
        self._schema = row_schema(checked_columns(params))

    def __call__(self, rows: pa.RecordBatch) -> Rechecked:
        late = np.zeros(len(rows), dtype=np.bool_)
        beside = [_beside(rows, part) for part in self._parts]
        outcomes, table = self._checker.extract(
            rows.column("_value").to_pylist(), times_of(rows), late, beside
        )
        record = [rows.column(name) for name in RECORD_NAMES]
        again = pa.Table.from_arrays([*table.columns, *record], schema=self._schema)
        valid = outcomes.kind == PREDICTED
        (kept,) = again.filter(pa.array(valid)).combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], self._schema)
        ]
        dead = pa.Table.from_batches([rows]).filter(pa.array(~valid))
        return Rechecked(kept, dead, outcomes.problem[~valid])


def _beside(rows: pa.RecordBatch, header: str | None) -> list[bytes | None]:
    """The header of each row, or its key."""
    if header is None:
        keys: list[bytes | None] = rows.column("_key").to_pylist()
        return keys
    names, values = (rows.column(f"_header_{each}").to_pylist() for each in ("names", "values"))
    return [
        dict(zip(each or (), found or (), strict=True)).get(header)
        for each, found in zip(names, values, strict=True)
    ]
