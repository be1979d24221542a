"""Keeps the rows of one shard that are in windows to come, of windows that are scored themselves.

As in `shard`, what is in memory is made from the state when a shard is first seen.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from udfs.types import ARROW
from udfs.windows.blobs import TIME, from_bytes, row_schema, times_of, to_bytes
from udfs.windows.groups import END, Segment, in_windows, windows_of
from udfs.windows.kept import (
    LARGE,
    LEAST_TIME,
    Kept,
    ShardState,
    check_key,
    conformed,
    joined,
    numbered,
)
from udfs.windows.params import Columns, GroupParams


class GroupLayout(Kept, frozen=True, kw_only=True):
    """What the rows of a stage are, and their windows.

    `changed`: no window was taken yet since rows were kept for other ones.
    """

    group: GroupParams
    changed: bool = False

    def kept_schema(self) -> pa.Schema:
        columns = [(name, ARROW[kind]) for name, kind in self.kept]
        return pa.schema([*columns, ("_partition", pa.int32()), ("_offset", pa.int64()), (TIME, pa.int64())])


_layouts = msgspec.json.Decoder(GroupLayout)


class GroupShard:
    """The rows of one shard; `columns` are those of the rows that come.

    Raises StateError for the state of another key.
    """

    def __init__(self, state: ShardState, layout: GroupLayout, columns: Columns) -> None:
        self._state, self._layout = state, layout
        self._schema, self._kept_schema = row_schema(columns), layout.kept_schema()
        written = state.contract.value()
        stored = _layouts.decode(bytes(written)) if written else layout
        check_key(stored, layout)
        until = state.until.value()
        self._until = LEAST_TIME if until is None else int(until)
        self._windows = windows_of(stored.group, layout.by)
        self._restore(stored)
        if written is None or self._layout != stored:
            state.contract.update(msgspec.json.encode(self._layout))

    def _restore(self, stored: GroupLayout) -> None:
        kept = [
            (number, conformed(blob, stored, self._layout)) for number, blob in numbered(self._state.kept)
        ]
        self._segments = [self._segment(number, rows) for number, rows in kept]
        self._windows.admit(self._segments, self._until)
        if not stored.changed:
            # What was taken may be in the state still.
            self._windows.take(self._segments, self._until, self._until)
        changed = _spans(stored.group) != _spans(self._layout.group)
        if changed:
            # What was scored once is not scored again as a part of another window.
            for segment in self._segments:
                segment.keep(self._windows.unscored(segment.times, self._until))
            self._windows = windows_of(self._layout.group, self._layout.by)
            self._segments = [self._segment(segment.number, segment.rows) for segment in self._segments]
            self._windows.admit(self._segments, self._until)
        if changed or stored.kept != self._layout.kept:
            for segment in self._segments:
                self._write(segment)
        self._tidy()
        self._layout = msgspec.structs.replace(self._layout, changed=changed or stored.changed)

    def receive(self, blob: bytes, watermark: int) -> pa.RecordBatch | None:
        """Takes rows in; the late ones among them, which it does not keep."""
        rows = from_bytes(blob, self._schema)
        late = int(np.searchsorted(times_of(rows), max(self._until, watermark), "right"))
        if late < len(rows):
            self._add(rows.slice(late).select(self._kept_schema.names))
        return rows.slice(0, late) if late else None

    def next_time(self) -> int | None:
        """The earliest watermark that completes a window."""
        return self._windows.due(self._segments, self._taken())

    def release(self, watermark: int) -> pa.Table:
        """The rows of all windows that the watermark has completed, with START and END."""
        watermark = max(watermark, self._until)
        self._windows.admit(self._segments, watermark)
        taken = self._windows.take(self._segments, self._taken(), watermark)
        rows = pa.Table.from_batches(taken, in_windows(self._kept_schema))
        if taken:
            # Not the watermark: that of a drained job is no time.
            completed = self._windows.completes(pc.max(rows.column(END)).as_py())
            self._until = max(self._until, completed)
            self._state.until.update(self._until)
        if self._layout.changed:
            self._layout = msgspec.structs.replace(self._layout, changed=False)
            self._state.contract.update(msgspec.json.encode(self._layout))
        self._tidy()
        return rows

    def _taken(self) -> int:
        """The watermark up to which all windows were taken."""
        return LEAST_TIME if self._layout.changed else self._until

    def _segment(self, number: int, rows: pa.RecordBatch) -> Segment:
        return Segment(number, rows, len(rows), self._windows.slots(rows))

    def _add(self, rows: pa.RecordBatch) -> None:
        """Few large segments instead of many small ones."""
        added = self._segment(max((segment.number for segment in self._segments), default=-1) + 1, rows)
        while self._segments and len(self._segments[-1].rows) <= min(len(added.rows), LARGE):
            last = self._segments.pop()
            self._state.kept.remove(last.number)
            rows, slots = joined([last.rows, added.rows]), np.concatenate((last.slots, added.slots))
            order = np.argsort(times_of(rows), kind="stable")
            added = Segment(last.number, rows.take(pa.array(order)), 0, slots[order] if len(slots) else slots)
        self._write(added)
        self._segments.append(added)

    def _write(self, segment: Segment) -> None:
        segment.written = len(segment.rows)
        self._state.kept.put(segment.number, to_bytes(segment.rows))

    def _tidy(self) -> None:
        """Removes segments without rows from the state, and rewrites those that lost most of theirs."""
        for segment in self._segments:
            if not len(segment.rows):
                self._state.kept.remove(segment.number)
            elif 2 * len(segment.rows) < segment.written:
                self._write(segment)
        self._segments = [segment for segment in self._segments if len(segment.rows)]


def _spans(group: GroupParams) -> tuple[int, int, int]:
    return group.size_ms, group.every_ms, group.gap_ms
