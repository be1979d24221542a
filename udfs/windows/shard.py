"""Keeps the rows of one shard in Flink's state: those that wait for the watermark, and what windows need.

What is in memory is made from the state when a shard is first seen, so a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.errors import StateError
from udfs.times import Milliseconds
from udfs.windows.blobs import TIME, from_bytes, row_schema, times_of, to_bytes
from udfs.windows.engine import needed
from udfs.windows.kept import LARGE, LEAST_TIME, Kept, ShardState, check_key, conformed, joined, numbered
from udfs.windows.params import Columns, WindowParams
from udfs.windows.retention import Retention


class Layout(Kept, frozen=True, kw_only=True):
    """What the rows of a stage are. `columns` are those of rows that wait."""

    columns: Columns
    windows: tuple[WindowParams, ...]


class Rechecked(NamedTuple):
    """Records that waited, with the columns of this job; and dead ones with the problem of each, as JSON."""

    rows: pa.RecordBatch
    dead: pa.Table
    problems: npt.NDArray[np.object_]


Recheck = Callable[[pa.RecordBatch], Rechecked]


class _Waiting(NamedTuple):
    number: int
    rows: pa.RecordBatch
    times: Milliseconds


@dataclass
class _Segment:
    number: int
    last: int
    rows: int


class Shard:
    """The rows of one shard; `restored` are those that windows need, from before a restart.

    Records that waited for a job with other columns go through `recheck`: `dead` is what comes out. Raises
    StateError for the state of another key, and without `recheck`, when such records wait.
    """

    layouts: ClassVar[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Layout)

    def __init__(self, state: ShardState, layout: Layout, recheck: Recheck | None = None) -> None:
        self._state, self._layout = state, layout
        self._schema, self._kept_schema = row_schema(layout.columns), layout.kept_schema()
        self._retention = Retention(layout.windows)
        written = state.contract.value()
        stored = self.layouts.decode(bytes(written)) if written else layout
        check_key(stored, layout)
        until = state.until.value()
        self.until = LEAST_TIME if until is None else int(until)
        self.dead: list[Rechecked] = []
        waiting = [
            (number, from_bytes(blob, row_schema(stored.columns))) for number, blob in numbered(state.pending)
        ]
        if stored.columns != layout.columns:
            waiting = [(number, self._rechecked(rows, recheck)) for number, rows in waiting]
        self._waiting = [_Waiting(number, rows, times_of(rows)) for number, rows in waiting]
        segments = [(number, conformed(blob, stored, layout)) for number, blob in numbered(state.kept)]
        self._segments = [_Segment(number, int(times_of(rows)[-1]), len(rows)) for number, rows in segments]
        self.restored = pa.Table.from_batches([rows for _, rows in segments], self._kept_schema)
        numbers = [*(waiting.number for waiting in self._waiting), *(number for number, _ in segments)]
        self._next = max(numbers, default=-1) + 1
        self._compacted = self.restored.num_rows
        if stored != layout:
            self._rewrite(segments)
        if written is None or stored != layout:
            state.contract.update(msgspec.json.encode(layout))

    def receive(self, blob: bytes, watermark: int) -> pa.RecordBatch | None:
        """Takes rows in; the late ones among them, which it does not keep.

        A source forgets at a restart how far it had come. What a shard has released it knows.
        """
        rows = from_bytes(blob, self._schema)
        times = times_of(rows)
        late = int(np.searchsorted(times, max(self.until, watermark), "right"))
        if late < len(times):
            if late:
                blob = to_bytes(rows.slice(late))
            self._waiting.append(_Waiting(self._next, rows.slice(late), times[late:]))
            self._state.pending.put(self._next, blob)
            self._next += 1
        return rows.slice(0, late) if late else None

    def next_time(self) -> int | None:
        """The earliest event time of the rows that wait."""
        return min((int(waiting.times[0]) for waiting in self._waiting), default=None)

    def release(self, watermark: int) -> pa.Table:
        """The rows up to the watermark, in no order; they wait no more."""
        parts, left = [], []
        for waiting in self._waiting:
            due = int(np.searchsorted(waiting.times, watermark, "right"))
            if due == 0:
                left.append(waiting)
                continue
            parts.append(waiting.rows.slice(0, due))
            self._state.pending.remove(waiting.number)
            if due < len(waiting.times):
                rest = _Waiting(waiting.number, waiting.rows.slice(due), waiting.times[due:])
                self._state.pending.put(rest.number, to_bytes(rest.rows))
                left.append(rest)
        self._waiting = left
        released = pa.Table.from_batches(parts, self._schema)
        if len(released):
            self._keep(released)
        return released

    def _keep(self, released: pa.Table) -> None:
        """Adds to the state what windows need of the rows, and removes what none can need any more."""
        kept = released.select(self._kept_schema.names).combine_chunks()
        (rows,) = kept.take(pa.array(in_order(released))).to_batches()
        self.until = int(times_of(rows)[-1])
        self._state.until.update(self.until)
        # Few large segments instead of many small ones.
        while self._segments and self._segments[-1].rows <= min(len(rows), LARGE):
            rows = joined([self._read(self._segments.pop().number), rows])
        self._write(rows)
        if self._retention.by_age_alone:
            while self._segments and self._segments[0].last < self.until - self._retention.over:
                self._state.kept.remove(self._segments.pop(0).number)
        if sum(segment.rows for segment in self._segments) > 2 * self._compacted + 4_096:
            self._compact()

    def _compact(self) -> None:
        numbers = [segment.number for segment in self._segments]
        rows = pa.Table.from_batches([self._read(number) for number in numbers], self._kept_schema)
        self._segments = []
        mask = needed(rows, times_of(rows), self.until, self._layout.windows, self._layout.by)
        rows = rows.filter(pa.array(mask)).combine_chunks()
        self._compacted = rows.num_rows
        for batch in rows.to_batches(max_chunksize=LARGE):
            self._write(batch)

    def _read(self, number: int) -> pa.RecordBatch:
        """A segment, which leaves the state."""
        rows = from_bytes(bytes(self._state.kept.get(number)), self._kept_schema)
        self._state.kept.remove(number)
        return rows

    def _write(self, rows: pa.RecordBatch) -> None:
        self._state.kept.put(self._next, to_bytes(rows))
        self._segments.append(_Segment(self._next, int(times_of(rows)[-1]), len(rows)))
        self._next += 1

    def _rechecked(self, rows: pa.RecordBatch, recheck: Recheck | None) -> pa.RecordBatch:
        if recheck is None:
            raise StateError(
                f"records wait for windows by {', '.join(self._layout.by)} with results that this job has no "
                "more: stop the job as it was with --drain, and start this one from that savepoint"
            )
        rechecked = recheck(rows)
        if rechecked.dead.num_rows:
            self.dead.append(rechecked)
        return rechecked.rows

    def _rewrite(self, segments: Sequence[tuple[int, pa.RecordBatch]]) -> None:
        """From now on the state is of this layout."""
        for number, rows in segments:
            self._state.kept.put(number, to_bytes(rows))
        for waiting in self._waiting:
            if len(waiting.rows):
                self._state.pending.put(waiting.number, to_bytes(waiting.rows))
            else:
                self._state.pending.remove(waiting.number)
        self._waiting = [waiting for waiting in self._waiting if len(waiting.rows)]


def in_order(rows: pa.Table) -> npt.NDArray[np.intp]:
    """The positions of rows by (event time, partition, offset)."""
    order: npt.NDArray[np.intp] = np.lexsort(
        [rows.column(name).to_numpy() for name in ("_offset", "_partition", TIME)]
    )
    return order
