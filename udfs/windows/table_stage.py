"""A stage that joins rows with a table of versions, as of each row's event time.

Rows and changes of the table come as blobs to the shard of their key. A row waits until the watermark has
passed it, as before windows; then it gets what the table had at its time, and goes on.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from udfs.types import ARROW
from udfs.windows.blobs import from_bytes, times_of, to_bytes
from udfs.windows.columns import Ints
from udfs.windows.kept import LEAST_TIME, ShardState
from udfs.windows.params import StageParams, TableParams
from udfs.windows.shard import Layout, Recheck, Shard, in_order
from udfs.windows.stage import Stage
from udfs.windows.versions import Versions, change_schema
from udfs.windows.windowed import Windowed, computed

# A blob of rows, an Arrow message, begins with 0xFF.
CHANGES = b"\0"


class TableLayout(Layout, frozen=True, kw_only=True):
    """`kept` are the columns of changes, with the key."""

    def kept_schema(self) -> pa.Schema:
        return change_schema(self.kept)


class TableShard(Shard):
    """The rows of one shard that wait, and the versions of its keys.

    Both are in the state; a column that the table got since is null in versions of before.
    """

    layouts: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(TableLayout)

    def __init__(
        self, state: ShardState, layout: TableLayout, retention_ms: int, recheck: Recheck | None = None
    ) -> None:
        super().__init__(state, layout, recheck)
        self.versions = Versions(layout.by, layout.kept, retention_ms)
        rows, self.restored = self.restored, self.restored.slice(0, 0)
        for segment in self._segments:
            (part,) = rows.slice(0, segment.rows).combine_chunks().to_batches()
            self.versions.add(segment.number, part)
            rows = rows.slice(segment.rows)
        numbers = [segment.number for segment in self._segments]
        self._written: dict[int, pa.RecordBatch | None] = dict.fromkeys(numbers)
        self._sync()
        self._looked = self.versions.newest

    def change(self, blob: bytes, watermark: int) -> int:
        """Takes changes of the table in; how many of them the watermark had passed."""
        rows = from_bytes(blob, self._kept_schema)
        self.versions.add(self._next, rows)
        self._next += 1
        self._sync()
        return int((times_of(rows) <= max(self.until, watermark)).sum())

    def next_time(self) -> int | None:
        """That of rows that wait; else, after changes, when they can replace older versions."""
        waiting = super().next_time()
        if waiting is None and self.versions.newest > self._looked:
            return self.versions.newest
        return waiting

    def forget(self, watermark: int) -> None:
        """Versions that no row to come can need. Rows that would need them are late from now on."""
        self._looked = self.versions.newest if watermark >= self.versions.newest else self._looked
        # Not the watermark itself: that of a drained job is no time.
        until = min(watermark, max(self.versions.newest, self.until))
        if until > LEAST_TIME:
            self.versions.forget(until)
            if until > self.until:
                self.until = until
                self._state.until.update(until)
        self._sync()

    def _keep(self, released: pa.Table) -> None:
        self.until = max(self.until, int(times_of(released).max()))
        self._state.until.update(self.until)

    def _sync(self) -> None:
        """Writes runs that are new, and removes those that are no more."""
        runs = dict(self.versions.runs())
        for number in [number for number in self._written if number not in runs]:
            self._state.kept.remove(number)
            del self._written[number]
        for number, rows in runs.items():
            if self._written.get(number) is not rows:
                self._state.kept.put(number, to_bytes(rows))
                self._written[number] = rows


class TableStage(Stage[TableShard]):
    """All rows go on, with the columns that the table had of their key.

    Late ones do so too where the stage `joins_late`, with what is known still; else they go as they are.
    `misses` counts rows without any, `late_changes` those that came after rows they are about may have gone.
    """

    def __init__(
        self,
        params: StageParams,
        table: TableParams,
        recheck: Recheck | None = None,
        *,
        joins_late: bool = False,
    ) -> None:
        super().__init__()
        self._joins_late = joins_late
        self.lag_ms = table.lag_ms
        self.misses = self.late_changes = 0
        self._recheck, self._retention, self._results = recheck, table.retention_ms, params.results
        types = dict(params.columns)
        key = tuple((name, types[name]) for name in params.by)
        self._layout = TableLayout(
            by=params.by, columns=params.columns, windows=(), kept=(*key, *params.results)
        )
        self._joined: list[Windowed] = []

    def receive(
        self, key: int, state: ShardState, blob: bytes, watermark: int
    ) -> tuple[pa.RecordBatch | None, int | None]:
        if not blob.startswith(CHANGES):
            late, timer = super().receive(key, state, blob, watermark)
            return late and self._late(self.shard(key, state), late), timer
        shard = self.shard(key, state)
        self.late_changes += shard.change(blob[len(CHANGES) :], watermark - self.lag_ms)
        return None, self.timer(key, shard)

    def counts(self) -> dict[str, int]:
        return {"lookup_misses": self.misses, "table_late": self.late_changes}

    def release(self, shard: TableShard, watermark: int, /) -> None:
        rows = shard.release(watermark)
        if rows.num_rows:
            rows = rows.take(pa.array(in_order(rows))).combine_chunks()
            self._joined.append(
                computed(lambda part: self._with_results(shard, part), rows, _each, self._without_results)
            )
        shard.forget(watermark)

    def take(self, _watermark: int) -> Windowed | None:
        joined, self._joined = self._joined, []
        if not joined:
            return None
        before = np.cumsum([0, *(part.rows.num_rows for part in joined)]).tolist()
        problems = {
            row + offset: problem
            for part, offset in zip(joined, before, strict=False)
            for row, problem in part.problems.items()
        }
        return Windowed(pa.concat_tables([part.rows for part in joined]), problems)

    def open_shard(self, state: ShardState) -> TableShard:
        shard = TableShard(state, self._layout, self._retention, self._recheck)
        self._dead += shard.dead
        return shard

    def _late(self, shard: TableShard, rows: pa.RecordBatch) -> pa.RecordBatch:
        if not self._joins_late:
            return rows
        joined = self._with_results(shard, pa.Table.from_batches([rows])).rows
        return joined.combine_chunks().to_batches()[0]

    def _with_results(self, shard: TableShard, rows: pa.Table) -> Windowed:
        columns, missed = shard.versions.join(rows, times_of(rows))
        self.misses += missed
        for name, _ in self._results:
            rows = rows.append_column(name, columns[name])
        return Windowed(rows, {})

    def _without_results(self, rows: pa.Table) -> pa.Table:
        for name, kind in self._results:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, ARROW[kind]))
        return rows


def _each(rows: pa.Table) -> tuple[pa.Table, Ints]:
    return rows, np.arange(rows.num_rows)
