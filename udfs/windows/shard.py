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
from udfs.types import ARROW
from udfs.windows.blobs import TIME, from_bytes, row_schema, times_of, to_bytes
from udfs.windows.engine import needed
from udfs.windows.held import Held, Limits, held_since, limits_of, refilled
from udfs.windows.kept import LARGE, LEAST_TIME, Kept, ShardState, check_key, conformed, joined, numbered
from udfs.windows.params import Columns, WindowParams
from udfs.windows.retention import Retention


class Warming(msgspec.Struct, frozen=True):
    """Rows are read once more: those from `start` on and before `stop` replace what is kept of that time."""

    start: int
    stop: int


class Layout(Kept, frozen=True, kw_only=True):
    """What the rows of a stage are. `columns` are those of rows that wait.

    `held` is what the state has of columns since the job was edited, all of those that it does not name.
    `warm_from` is that of the last start at which rows were read once more, `warm_number` its own number.
    """

    columns: Columns
    windows: tuple[WindowParams, ...]
    held: dict[str, Held] = msgspec.field(default_factory=dict)
    warm_from: int | None = None
    warm_number: int = 0
    warming: Warming | None = None


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


# A blob of rows, an Arrow message, begins with 0xFF; one of rows that are read once more with this.
WARM = b"\1"
# Where those are in the state, beside rows that wait.
_LAST_WARM = -1


def warm_schema(kept: Columns) -> pa.Schema:
    """The schema of rows that are read once more: what is kept of rows, and where they were."""
    columns = [(name, ARROW[kind]) for name, kind in kept]
    return pa.schema([*columns, ("_partition", pa.int32()), ("_offset", pa.int64()), (TIME, pa.int64())])


class Shard:
    """The rows of one shard; `restored` are those that windows need, from before a restart.

    While rows are read once more, `restored` is not whole: it is when the watermark has passed them.

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
        layout = self._layout = self._going_on(stored)
        blobs = numbered(state.pending)
        self._warm = [number for number, _ in blobs if number <= _LAST_WARM]
        self._warm_rows = self._warm_needed = 0
        waiting = [
            (number, from_bytes(blob, row_schema(stored.columns)))
            for number, blob in blobs
            if number > _LAST_WARM
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
        if (stored.columns, stored.kept) != (layout.columns, layout.kept):
            self._rewrite(segments)
        if layout.warming != stored.warming:
            self._drop_warm()
        if written is None or stored != layout:
            state.contract.update(msgspec.json.encode(layout))

    def _going_on(self, stored: Any) -> Any:
        """The layout, with what the state has of its columns, and what is to be read once more."""
        layout, held = self._layout, stored.held
        if (stored.kept, stored.windows) != (layout.kept, layout.windows):
            was = dict(stored.kept)
            columns = {name: was.get(name) == kind for name, kind in layout.kept}
            held = held_since(held, Retention(stored.windows), columns, self.until)
        warming = stored.warming if stored.kept == layout.kept and layout.warm_from is not None else None
        again = (layout.warm_from, layout.warm_number) != (stored.warm_from, stored.warm_number)
        if layout.warm_from is not None and again:
            stop = min(max((each.since for each in held.values()), default=LEAST_TIME), self.until + 1)
            warming = Warming(layout.warm_from, stop) if layout.warm_from < stop else None
        return msgspec.structs.replace(layout, held=held, warming=warming)

    @property
    def limits(self) -> Limits:
        """When windows are complete."""
        return limits_of(self._layout.by, self._layout.windows, self._layout.held)

    @property
    def warms(self) -> bool:
        """Whether rows are still read once more."""
        return self._layout.warming is not None

    def warm(self, blob: bytes) -> None:
        """Takes in rows that are read once more, if the state lacks them."""
        if (warming := self._layout.warming) is None:
            return
        rows = from_bytes(blob, warm_schema(self._layout.kept))
        first, stop = np.searchsorted(times_of(rows), [warming.start, warming.stop]).tolist()
        if first < stop:
            self._put_warm(rows.slice(first, stop - first))
            self._warm_rows += stop - first
            if self._warm_rows > 2 * self._warm_needed + LARGE:
                self._compact_warm()

    def _put_warm(self, rows: pa.RecordBatch) -> None:
        self._warm.append(min(self._warm, default=0) - 1)
        self._state.pending.put(self._warm[-1], to_bytes(rows))

    def _compact_warm(self) -> None:
        """Of a topic that is read from its first record, keys' last rows are needed."""
        rows = self._read_once_more()
        self._drop_warm()
        self._warm_rows = self._warm_needed = rows.num_rows
        for batch in rows.to_batches(max_chunksize=LARGE):
            self._put_warm(batch)

    def _read_once_more(self) -> pa.Table:
        """Those rows that windows can need, in order."""
        schema = warm_schema(self._layout.kept)
        read = [from_bytes(bytes(self._state.pending.get(number)), schema) for number in self._warm]
        rows = pa.Table.from_batches(read, schema)
        rows = rows.take(pa.array(in_order(rows))).combine_chunks()
        return rows.filter(pa.array(self._needed(rows))).combine_chunks()

    def _needed(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        return needed(rows, times_of(rows), self.until, self._layout.windows, self._layout.by)

    def _end_warming(self, warming: Warming) -> None:
        """The watermark has passed all rows that were to be read once more."""
        again = self._read_once_more().select(self._kept_schema.names)
        time = times_of(self.restored)
        others = self.restored.filter(pa.array((time < warming.start) | (time >= warming.stop)))
        rows = pa.concat_tables([again, others])
        rows = rows.take(pa.array(np.argsort(times_of(rows), kind="stable"))).combine_chunks()
        for segment in self._segments:
            self._state.kept.remove(segment.number)
        self._segments, self._compacted, self.restored = [], rows.num_rows, rows
        for batch in rows.to_batches(max_chunksize=LARGE):
            self._write(batch)
        self._drop_warm()
        held = refilled(self._layout.held, warming.start)
        self._layout = msgspec.structs.replace(self._layout, held=held, warming=None)
        self._state.contract.update(msgspec.json.encode(self._layout))

    def _drop_warm(self) -> None:
        for number in self._warm:
            self._state.pending.remove(number)
        self._warm = []

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
        if (warming := self._layout.warming) and watermark > self.until:
            self._end_warming(warming)
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
        rows = rows.filter(pa.array(self._needed(rows))).combine_chunks()
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
