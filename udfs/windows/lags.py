"""How far back a key's last rows are in which a column is true: lag and time_since_last with `where`."""

from __future__ import annotations

from collections import deque
from typing import Any

import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.params import AggregateParams
from udfs.windows.runs import Run


class FilteredLag:
    """One such result, for all keys: the last values, or times, of rows that count."""

    def __init__(self, aggregate: AggregateParams, kind: ColumnType) -> None:
        self._column, self._where = aggregate.column, aggregate.where or ""
        self._offset, self._kind = aggregate.offset, kind
        self._kept: dict[int, deque[Any]] = {}

    def add(self, batch: Run) -> pa.Array:
        """A result for each of the rows, in their order."""
        times = batch.time.tolist()
        values = batch.columns[self._column].listed() if self._column else times
        counted = batch.columns[self._where].true().tolist()
        results: list[Any] = []
        for slot, time, value, counts in zip(batch.slot.tolist(), times, values, counted, strict=True):
            kept = self._kept.get(slot)
            if kept is None:
                kept = self._kept[slot] = deque(maxlen=self._offset)
            before = kept[0] if len(kept) == self._offset else None
            results.append(before if self._column or before is None else time - before)
            if counts:
                kept.append(value)
        return pa.array(results, ARROW[self._kind])
