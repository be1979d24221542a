"""Which rows are in the window of each row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from udfs.windows.columns import Column, Ints, concat, inverse
from udfs.windows.retention import segments
from udfs.windows.runs import Run


class Tail(NamedTuple):
    """The end of a slot's rows in an older run, for each row of a batch: what its window has of that run.

    `some` are the rows whose windows have any of it.
    """

    run: Run
    begin: Ints
    end: Ints
    some: Ints


@dataclass
class Frame:
    """For each row of a batch: `first` to before `stop` of it, and of older runs, newest first, tails."""

    batch: Run
    first: Ints
    stop: Ints
    tails: Sequence[Tail]

    def lengths(self) -> Ints:
        """How many rows each window has."""
        return sum((tail.end - tail.begin for tail in self.tails), self.stop - self.first)

    def column(self, name: str, where: str | None, row: int) -> tuple[list[Any], list[int]]:
        """The values in a row's window that count and are not null, and their times."""
        pieces = [(tail.run, np.arange(tail.begin[row], tail.end[row])) for tail in reversed(self.tails)]
        pieces.append((self.batch, np.arange(self.first[row], self.stop[row])))
        values: list[Any] = []
        times: list[int] = []
        for run, at in pieces:
            if where:
                at = at[run.columns[where].take(at).true()]
            at = at[run.columns[name].valid[at]]
            values += run.columns[name].take(at).listed()
            times += run.time_of(at).tolist()
        return values, times

    def firsts(self, of: Callable[[Run, Ints], Column]) -> Column:
        """Of the first row of each window, what `of` says of rows of a run."""
        holder = np.zeros(len(self.first), dtype=np.int64)
        at = self.first.copy()
        for number, tail in enumerate(self.tails, 1):
            holder[tail.some] = number
            at[tail.some] = tail.begin[tail.some]
        order = np.argsort(holder, kind="stable")
        cuts = np.searchsorted(holder[order], np.arange(len(self.tails) + 2))
        runs = [self.batch, *(tail.run for tail in self.tails)]
        pieces = [
            of(run, at[order[start:stop]]) for run, start, stop in zip(runs, cuts[:-1], cuts[1:], strict=True)
        ]
        return concat(pieces).take(inverse(order))


class Places(NamedTuple):
    """Where the rows of a batch are: `begin` and `end` of their slot's rows."""

    batch: Run
    slots: Ints
    segment: Ints
    begin: Ints
    end: Ints


def place_rows(batch: Run) -> Places:
    """Where the batch's rows are."""
    slot = batch.slot
    heads, segment = segments(slot)
    ends = np.append(heads[1:], len(slot))
    return Places(batch, slot[heads], segment, heads[segment], ends[segment])


class Frames:
    """The frames of a batch, each made once."""

    def __init__(self, at: Places, older: Sequence[Run]) -> None:
        self.at, self._older = at, older
        self._made: dict[tuple[int, int], Frame] = {}

    def of(self, over: int, rows: int) -> Frame:
        """RANGE `over` ms, or ROWS."""
        if (over, rows) not in self._made:
            make = partial(frame_over, over=over) if over else partial(frame_rows, rows=rows)
            self._made[over, rows] = make(self.at, self._older)
        return self._made[over, rows]


def frame_over(at: Places, older: Sequence[Run], over: int) -> Frame:
    """RANGE: each row's time less `over` to its time, with all peers."""
    time, slot = at.batch.time, at.slots[at.segment]
    since = time - over
    stop = np.searchsorted(at.batch.place, at.batch.place, "right")
    tails: list[Tail] = []
    oldest, newest = int(since.min()), int(since.max())
    for run in reversed(older):
        if run.clock.last < oldest:
            continue
        end = run.start(at.slots + 1)[at.segment]
        begin = run.find(slot, since) if run.clock.first < newest else run.start(at.slots)[at.segment]
        tails += _tail(run, begin, end)
    return Frame(at.batch, at.batch.find(slot, since), stop, tails)


def frame_rows(at: Places, older: Sequence[Run], rows: int) -> Frame:
    """ROWS: the last `rows` rows up to each row."""
    stop = np.arange(1, len(at.batch) + 1)
    first = np.maximum(at.begin, stop - rows)
    wanted = rows - (stop - first)
    tails: list[Tail] = []
    for run in reversed(older):
        if not wanted.any():
            break
        begin, end = run.start(at.slots)[at.segment], run.start(at.slots + 1)[at.segment]
        begin = np.maximum(begin, end - wanted)
        wanted = wanted - (end - begin)
        tails += _tail(run, begin, end)
    return Frame(at.batch, first, stop, tails)


def _tail(run: Run, begin: Ints, end: Ints) -> list[Tail]:
    """None if no row's window has any of the run."""
    (some,) = (begin < end).nonzero()
    return [Tail(run, begin, end, some)] if len(some) else []
