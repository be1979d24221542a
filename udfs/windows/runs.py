"""Sorted runs of rows: a window takes the end of a key's rows in each run that is older than its own.

Each row holds the aggregates of itself and all later rows of its key in the run, so such an end is a look-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from udfs.windows.columns import Column, Ints, concat
from udfs.windows.monoids import Arrays, Lifted, Monoid, Need, empty, put, take
from udfs.windows.retention import Retention, segments

_MOST_BITS = 62


class Clock:
    """Numbers for times, in their order, small enough that a slot's number fits above them in 63 bits."""

    def __init__(self, time: Ints, slots: int) -> None:
        self.first = int(time.min())
        self.last = int(time.max())
        self._ranked: Ints | None = None
        width = self.last - self.first + 1
        if (slots + 2) * 2 * width > 2**_MOST_BITS:
            # A record from another age: number the times that there are.
            self._ranked = np.unique(time)
            width = len(self._ranked)
        self.bits = width.bit_length()
        self._width = width

    def number(self, time: Ints) -> Ints:
        """How many of the clock's times lie before."""
        if self._ranked is not None:
            return np.asarray(np.searchsorted(self._ranked, time))
        return np.asarray(np.minimum(np.maximum(time - self.first, 0), self._width))

    def time(self, number: Ints) -> Ints:
        return number + self.first if self._ranked is None else self._ranked[number]


@dataclass
class Run:
    """Rows by (slot, time, order). `place` is slot and time as one number, ascending."""

    place: Ints
    clock: Clock
    columns: Mapping[str, Column]
    suffixes: dict[Need, Arrays]

    def __len__(self) -> int:
        return len(self.place)

    @property
    def slot(self) -> Ints:
        return self.place >> self.clock.bits

    @property
    def time(self) -> Ints:
        return self.time_of(slice(None))

    def time_of(self, rows: slice | Ints) -> Ints:
        """The times of some rows."""
        return self.clock.time(self.place[rows] & ((1 << self.clock.bits) - 1))

    def lifted(self, name: str, where: str | None) -> Lifted:
        """A column's values, and which of them count."""
        values, valid = self.columns[name]
        counted = self.columns[where].true() if where else np.ones(len(valid), dtype=np.bool_)
        return Lifted(values, valid & counted, self.time)

    def find(self, slot: Ints, time: Ints) -> Ints:
        """The first row of the slot that is not before the time, or the end of the slot's rows."""
        return self.place.searchsorted(self._capped(slot, self.clock.number(time)))

    def start(self, slot: Ints) -> Ints:
        """Where the slot's rows begin, and those of the slot before end."""
        return self.place.searchsorted(self._capped(slot))

    def _capped(self, slot: Ints, number: Ints | int = 0) -> Ints:
        """Slots ascend. Those beyond the last are alike, as they need not fit beside this run's times."""
        beyond = (int(self.place[-1]) >> self.clock.bits) + 1
        if slot[-1] < beyond:
            return (slot << self.clock.bits) + number
        return np.asarray((np.minimum(slot, beyond) << self.clock.bits) + np.where(slot < beyond, number, 0))


def place(slot: Ints, time: Ints) -> tuple[Ints, Clock]:
    """Slot and time as one number."""
    clock = Clock(time, int(slot.max()))
    return (slot << clock.bits) + clock.number(time), clock


def merge(
    runs: Sequence[Run], monoids: Mapping[Need, Monoid], since: int | None, retention: Retention
) -> Run | None:
    """One run of the newest, oldest first, without the rows that are not needed any more."""
    slot = np.concatenate([run.slot for run in runs])
    time = np.concatenate([run.time for run in runs])
    places, clock = place(slot, time)
    order = np.argsort(places, kind="stable")
    if since is not None:
        counted = {name: concat([run.columns[name] for run in runs]).true()[order] for name in retention.last}
        order = order[retention.kept(slot[order], time[order], since, counted.__getitem__)]
    if not len(order):
        return None
    if len(order) < len(slot):
        places, clock = place(slot[order], time[order])
    else:
        places = places[order]
    columns = {name: concat([run.columns[name] for run in runs]).take(order) for name in runs[0].columns}
    suffixes: dict[Need, Arrays] = {}
    later = [_later(runs, i) for i in range(len(runs))]
    for need, of in monoids.items():
        whole = [_joined(runs, i, later[i], need, of) for i in range(len(runs))]
        suffixes[need] = tuple(np.concatenate(parts)[order] for parts in zip(*whole, strict=True))
    return Run(places, clock, columns, suffixes)


Later = tuple[Ints, list[tuple[int, Ints, Ints]]]


def _later(runs: Sequence[Run], i: int) -> Later:
    """For each row of the run its segment, and where segments go on in each newer run, newest first."""
    slot = runs[i].slot
    heads, segment = segments(slot)
    slots = slot[heads]
    found = []
    for j in range(len(runs) - 1, i, -1):
        begin, end = runs[j].start(slots), runs[j].start(slots + 1)
        found.append((j, (begin < end).nonzero()[0], begin))
    return segment, found


def _joined(runs: Sequence[Run], i: int, later: Later, need: Need, of: Monoid) -> Arrays:
    """The run's suffix aggregates, with the newer runs' rows of each slot."""
    segment, found = later
    own = runs[i].suffixes[need]
    if not found:
        return own
    rest = empty(of, own, int(segment[-1]) + 1)
    for j, at, begin in found:
        put(rest, at, of.combine(take(runs[j].suffixes[need], begin[at]), take(rest, at)))
    return of.combine(own, take(rest, segment))
