"""Windows that are scored themselves: which rows are in which, and when the watermark has completed them.

Both kinds are told of the segments of rows that one shard holds, and take from them what is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from udfs.times import Milliseconds
from udfs.windows.blobs import times_of
from udfs.windows.columns import Bools, Ints
from udfs.windows.kept import LEAST_TIME
from udfs.windows.keys import Slots
from udfs.windows.params import GroupParams
from udfs.windows.retention import segments

# When the window of a row begins, and before when it ends, in ms since the epoch.
START, END = "_start", "_end"
NEVER = 2**62
# Keys without rows, of which so many are kept at least.
_FEW = 1024


@dataclass
class Segment:
    """Rows by time that are in windows to come; in the state `written` rows, also done ones, are `number`."""

    number: int
    rows: pa.RecordBatch
    written: int
    slots: Ints

    @property
    def times(self) -> Milliseconds:
        return times_of(self.rows)

    def up_to(self, time: int) -> int:
        """How many rows have at most this time."""
        return int(np.searchsorted(self.times, time, "right"))

    def keep(self, rows: Bools) -> None:
        self.rows = self.rows.filter(pa.array(rows))
        if len(self.slots):
            self.slots = self.slots[rows]


class Windows(Protocol):
    """Those of one shard."""

    def slots(self, rows: pa.RecordBatch, /) -> Ints:
        """What a segment has to keep of the rows' keys: a number each, or nothing."""

    def admit(self, held: Sequence[Segment], watermark: int, /) -> None:
        """The watermark has come so far."""

    def take(self, held: Sequence[Segment], until: int, watermark: int, /) -> list[pa.RecordBatch]:
        """Rows of the windows that `watermark` completes and `until` did not, with START and END.

        Rows that are in no window to come leave the segments.
        """

    def due(self, held: Sequence[Segment], until: int, /) -> int | None:
        """The earliest watermark that can complete a window of these rows, which `until` did not."""

    def completes(self, end: int) -> int:
        """The watermark that completes a window with this end."""

    def unscored(self, times: Milliseconds, until: int, /) -> Bools:
        """Which of rows at these times are in no window that `until` has completed."""


def windows_of(group: GroupParams, by: Sequence[str]) -> Windows:
    """The windows of a new shard."""
    return Sessions(group.gap_ms, by) if group.gap_ms else Aligned(group.size_ms, group.every_ms)


class Aligned:
    """`size` ms long, one from each multiple of `every` on, which divides `size`."""

    def __init__(self, size: int, every: int) -> None:
        self._size, self._every = size, every

    def slots(self, _rows: pa.RecordBatch) -> Ints:
        return np.empty(0, dtype=np.int64)

    def admit(self, _held: Sequence[Segment], _watermark: int) -> None:
        """Nothing is known of rows but their times."""

    def take(self, held: Sequence[Segment], until: int, watermark: int) -> list[pa.RecordBatch]:
        taken: list[pa.RecordBatch] = []
        for segment in held:
            if passed := segment.up_to(watermark):
                taken += self._complete(segment.rows.slice(0, passed), until, watermark)
                last_end = segment.times // self._every * self._every + self._size
                segment.keep(last_end - 1 > watermark)
        return taken

    def _complete(self, rows: pa.RecordBatch, until: int, watermark: int) -> Iterator[pa.RecordBatch]:
        """The rows once for each window: window by window, or by how many windows a row has after it."""
        size, every, times = self._size, self._every, times_of(rows)
        last = times // every * every
        lowest = max(int(last[0]) - size + every, _ceil(until + 2 - size, every))
        highest = min(int(last[-1]), (watermark + 1 - size) // every * every)
        if (highest - lowest) // every < size // every:
            for start in range(lowest, highest + 1, every):
                first, stop = np.searchsorted(times, [start, start + size]).tolist()
                if first < stop:
                    starts = np.full(stop - first, start)
                    yield _in_windows(rows.slice(first, stop - first), starts, starts + size)
            return
        for back in range(0, size, every):
            starts = last - back
            chosen = (starts >= lowest) & (starts <= highest)
            if chosen.any():
                starts = starts[chosen]
                yield _in_windows(rows.filter(pa.array(chosen)), starts, starts + size)

    def due(self, held: Sequence[Segment], until: int) -> int | None:
        first = min((int(segment.times[0]) for segment in held), default=None)
        if first is None:
            return None
        end = (first // self._every + 1) * self._every
        return max(end, _ceil(until + 2, self._every)) - 1

    def completes(self, end: int) -> int:
        return end - 1

    def unscored(self, times: Milliseconds, until: int) -> Bools:
        first_end = (times // self._every + 1) * self._every
        return np.asarray(first_end - 1 > until)


class Sessions:
    """Rows of a key of which none is more than `gap` ms after the one before.

    A key has a slot. Of each slot's rows that the watermark has passed, `last` is the time of the last one,
    if its session is open, and all before `first` are of sessions that are complete.
    """

    def __init__(self, gap: int, by: Sequence[str]) -> None:
        self._gap = gap
        self._keys = Slots(by)
        self._first = self._last = np.empty(0, dtype=np.int64)
        self._passed = LEAST_TIME

    def slots(self, rows: pa.RecordBatch) -> Ints:
        slots = self._keys.of(pa.Table.from_batches([rows]))
        fresh = np.full(len(self._keys) - len(self._last), LEAST_TIME)
        self._first, self._last = np.append(self._first, fresh), np.append(self._last, fresh)
        return slots

    def admit(self, held: Sequence[Segment], watermark: int) -> None:
        new = [slice(segment.up_to(self._passed), segment.up_to(watermark)) for segment in held]
        self._passed = watermark
        slot = np.concatenate([_NONE, *(s.slots[rows] for s, rows in zip(held, new, strict=True))])
        time = np.concatenate([_NONE, *(s.times[rows] for s, rows in zip(held, new, strict=True))])
        order = np.lexsort((time, slot))
        slot, time = slot[order], time[order]
        begins = self._begins(slot, time, self._last)
        # Of several values for one place numpy keeps the last.
        self._first[slot[begins]] = time[begins]
        self._last[slot] = time

    def take(self, held: Sequence[Segment], _until: int, watermark: int) -> list[pa.RecordBatch]:
        ended = (self._last != LEAST_TIME) & (self._last <= watermark - self._gap)
        self._first[ended], self._last[ended] = NEVER, LEAST_TIME
        taken, slots = [], []
        for segment in held:
            complete = (segment.times <= watermark) & (segment.times < self._first[segment.slots])
            if complete.any():
                taken.append(segment.rows.filter(pa.array(complete)))
                slots.append(segment.slots[complete])
                segment.keep(~complete)
        self._forget(held)
        return [self._in_sessions(taken, np.concatenate(slots))] if taken else []

    def _in_sessions(self, taken: Sequence[pa.RecordBatch], slot: Ints) -> pa.RecordBatch:
        (rows,) = pa.Table.from_batches(taken).combine_chunks().to_batches()
        order = np.lexsort((times_of(rows), slot))
        rows, slot = rows.take(pa.array(order)), slot[order]
        time = times_of(rows)
        begins = self._begins(slot, time, np.full(len(self._last), LEAST_TIME))
        session = np.cumsum(begins) - 1
        (heads,) = begins.nonzero()
        ends = np.append(heads[1:], len(time)) - 1
        return _in_windows(rows, time[heads][session], time[ends][session] + self._gap)

    def _begins(self, slot: Ints, time: Ints, last: Ints) -> Bools:
        """Which of rows by (slot, time) begin a session, where `last` is the time before, by slot."""
        before = np.roll(time, 1)
        heads, _ = segments(slot)
        before[heads] = last[slot[heads]]
        return np.asarray((before == LEAST_TIME) | (time - self._gap > before))

    def _forget(self, held: Sequence[Segment]) -> None:
        """Numbers the keys anew when most have no rows any more."""
        if len(self._keys) <= 2 * sum(len(segment.rows) for segment in held) + _FEW:
            return
        used = np.unique(np.concatenate([segment.slots for segment in held])) if held else _NONE
        renumbered = np.zeros(len(self._keys), dtype=np.int64)
        renumbered[used] = np.arange(len(used))
        self._keys.keep(used)
        self._first, self._last = self._first[used], self._last[used]
        for segment in held:
            segment.slots = renumbered[segment.slots]

    def due(self, held: Sequence[Segment], _until: int) -> int | None:
        times = [int(s.times[at]) for s in held if (at := s.up_to(self._passed)) < len(s.rows)]
        open_ones = self._last[self._last != LEAST_TIME]
        if len(open_ones):
            times.append(int(open_ones.min()))
        return min(times) + self._gap if times else None

    def completes(self, end: int) -> int:
        """A row at the end itself would go on with the session."""
        return end

    def unscored(self, times: Milliseconds, _until: int) -> Bools:
        """A row is in one session, and leaves with it."""
        return np.ones(len(times), dtype=np.bool_)


def in_windows(schema: pa.Schema) -> pa.Schema:
    """That of rows with the windows that they are in."""
    return schema.append(pa.field(START, pa.int64())).append(pa.field(END, pa.int64()))


def _in_windows(rows: pa.RecordBatch, starts: Ints, ends: Ints) -> pa.RecordBatch:
    columns = [*rows.columns, pa.array(starts), pa.array(ends)]
    return pa.RecordBatch.from_arrays(columns, schema=in_windows(rows.schema))


def _ceil(time: int, every: int) -> int:
    return -(-time // every) * every


_NONE = np.empty(0, dtype=np.int64)
