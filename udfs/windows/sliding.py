"""Aggregates that need each value, kept by key in Python: frequent ones, percentiles, extremes of text."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.frames import Frame
from udfs.windows.params import AggregateParams, WindowParams
from udfs.windows.runs import Run


class Values(Protocol):
    """Those of one key's window; positions are times or numbers of rows, and rise."""

    def push(self, position: int, value: Any) -> None: ...
    def drop(self, before: int) -> None: ...
    def result(self) -> Any: ...


class Distinct:
    """Counts distinct values."""

    __slots__ = ("_counts", "_rows")

    def __init__(self) -> None:
        self._rows: deque[tuple[int, Any]] = deque()
        self._counts: Counter[Any] = Counter()

    def push(self, position: int, value: Any) -> None:
        self._rows.append((position, value))
        self._counts[value] += 1

    def drop(self, before: int) -> None:
        rows, counts = self._rows, self._counts
        while rows and rows[0][0] < before:
            value = rows.popleft()[1]
            if counts[value] == 1:
                del counts[value]
            else:
                counts[value] -= 1

    def result(self) -> int:
        return len(self._counts)


class Extreme:
    """The least or greatest value: only values are kept that are `better` than all later ones."""

    __slots__ = ("_better", "_rows")

    def __init__(self, better: Callable[[Any, Any], bool]) -> None:
        self._better = better
        self._rows: deque[tuple[int, Any]] = deque()

    def push(self, position: int, value: Any) -> None:
        rows, better = self._rows, self._better
        while rows and not better(rows[-1][1], value):
            rows.pop()
        rows.append((position, value))

    def drop(self, before: int) -> None:
        rows = self._rows
        while rows and rows[0][0] < before:
            rows.popleft()

    def result(self) -> Any:
        return self._rows[0][1] if self._rows else None


class Percentile:
    """The value below which a share of the values is, between two of them in proportion: numpy's default."""

    __slots__ = ("_rows", "_share", "_sorted")

    def __init__(self, share: float) -> None:
        self._share = share
        self._rows: deque[tuple[int, Any]] = deque()
        self._sorted: list[Any] = []

    def push(self, position: int, value: Any) -> None:
        self._rows.append((position, value))
        insort(self._sorted, value)

    def drop(self, before: int) -> None:
        rows, ordered = self._rows, self._sorted
        while rows and rows[0][0] < before:
            del ordered[bisect_left(ordered, rows.popleft()[1])]

    def result(self) -> float | None:
        ordered = self._sorted
        if not ordered:
            return None
        place = self._share * (len(ordered) - 1)
        below = int(place)
        return between(float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)]), place - below)


class Top:
    """The value that comes n-th most often; of values that come as often, the least is first."""

    __slots__ = ("_counts", "_place", "_ranked", "_rows")

    def __init__(self, place: int) -> None:
        self._place = place
        self._rows: deque[tuple[int, Any]] = deque()
        self._counts: Counter[Any] = Counter()
        self._ranked: list[tuple[int, Any]] = []

    def push(self, position: int, value: Any) -> None:
        self._rows.append((position, value))
        self._count(value, 1)

    def drop(self, before: int) -> None:
        rows = self._rows
        while rows and rows[0][0] < before:
            self._count(rows.popleft()[1], -1)

    def result(self) -> Any:
        ranked = self._ranked
        return ranked[self._place - 1][1] if len(ranked) >= self._place else None

    def _count(self, value: Any, more: int) -> None:
        ranked, count = self._ranked, self._counts[value]
        if count:
            del ranked[bisect_left(ranked, (-count, value))]
        self._counts[value] = count = count + more
        if count:
            insort(ranked, (-count, value))
        else:
            del self._counts[value]


def between(a: float, b: float, part: float) -> float:
    """A part of the way from a to b, in numpy's order of operations, but in halves where they overflow."""
    way = b - a
    if math.isinf(way):
        return 2 * between(a / 2, b / 2, part)
    return a + way * part if part < 0.5 else b - way * (1 - part)


class Sliding:
    """One result of one window, for all keys."""

    def __init__(self, aggregate: AggregateParams, window: WindowParams, kind: ColumnType) -> None:
        self._new = _values(aggregate)
        self._column, self._where = aggregate.column or "", aggregate.where
        self._over, self._rows, self._kind = window.over_ms, window.rows, kind
        self._values: dict[int, Values] = {}
        self._counted: dict[int, int] = {}

    def add(self, batch: Run) -> pa.Array:
        """A result for each of the rows, in their order."""
        slots = batch.slot.tolist()
        column = batch.columns[self._column]
        if self._where:
            column = column.without(~batch.columns[self._where].true())
        values = column.listed()
        results = self._by_time(batch, slots, values) if self._over else self._by_row(slots, values)
        return pa.array(list(results), ARROW[self._kind])

    def _by_time(self, batch: Run, slots: list[int], values: list[Any]) -> Iterator[Any]:
        row, times = 0, batch.time.tolist()
        for stop in np.append(np.flatnonzero(np.diff(batch.place)) + 1, len(slots)).tolist():
            kept, time = self._of(slots[row]), times[row]
            for value in values[row:stop]:
                if value is not None:
                    kept.push(time, value)
            kept.drop(time - self._over)
            yield from repeat(kept.result(), stop - row)
            row = stop

    def _by_row(self, slots: list[int], values: list[Any]) -> Iterator[Any]:
        counted = self._counted
        for slot, value in zip(slots, values, strict=True):
            number = counted[slot] = counted.get(slot, 0) + 1
            kept = self._of(slot)
            if value is not None:
                kept.push(number, value)
            kept.drop(number - self._rows + 1)
            yield kept.result()

    def _of(self, slot: int) -> Values:
        kept = self._values.get(slot)
        if kept is None:
            kept = self._values[slot] = self._new()
        return kept


def whole_window(aggregate: AggregateParams, frame: Frame) -> list[Any]:
    """The result of each window that a frame is of, from all its values anew."""
    new, results = _values(aggregate), []
    for row in range(len(frame.first)):
        kept = new()
        for value in frame.column(aggregate.column or "", aggregate.where, row)[0]:
            kept.push(0, value)
        results.append(kept.result())
    return results


def _values(aggregate: AggregateParams) -> Callable[[], Values]:
    match aggregate.function:
        case "percentile":
            return partial(Percentile, aggregate.share)
        case "top":
            return partial(Top, aggregate.offset)
        case "count":
            return Distinct
        case "min":
            return partial(Extreme, operator.lt)
        case _:
            return partial(Extreme, operator.gt)
