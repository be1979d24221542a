"""Results of a window's aggregates from what its rows amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from udfs.types import ColumnType
from udfs.windows import exact
from udfs.windows.columns import Bools, Column, Ints
from udfs.windows.exact import Numbers
from udfs.windows.frames import Frame
from udfs.windows.monoids import Arrays, Kind, Need
from udfs.windows.params import AggregateParams

_KINDS: dict[str, tuple[Kind, ...]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "avg": ("count", "sum"),
    "stddev": ("count", "sum", "squares", "min", "max"),
    "min": ("count", "min"),
    "max": ("count", "max"),
}
_TYPES: dict[str, ColumnType] = {"count": "long", "avg": "double", "stddev": "double"}


def slides(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> bool:
    """Whether the aggregate needs each value itself."""
    if aggregate.function in ("min", "max"):
        return types[aggregate.column or ""] == "string"
    return aggregate.distinct


def needs(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> tuple[Need, ...]:
    """What must be known of each window's rows."""
    if aggregate.column is None or slides(aggregate, types):
        return ()
    return tuple((kind, aggregate.column) for kind in _KINDS.get(aggregate.function, ()))


def result_type(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> ColumnType:
    """The column's type, but for counts and averages."""
    return _TYPES.get(aggregate.function) or types[aggregate.column or ""]


class Answers:
    """Of one window for one batch; `totals` are what each row's window amounts to."""

    def __init__(
        self,
        frame: Frame,
        totals: Mapping[Need, Arrays],
        types: Mapping[str, ColumnType],
        lag: Callable[[int], Frame],
    ) -> None:
        self._frame, self._totals, self._types, self._lag = frame, totals, types, lag
        self._sums: dict[str, Numbers] = {}

    def of(self, aggregate: AggregateParams) -> tuple[Column, Bools | None]:
        """The result, and in which rows it is beyond its type."""
        column = aggregate.column
        if column is None:
            return _whole(self._frame.lengths()), None
        match aggregate.function:
            case "first":
                return self._frame.firsts(column), None
            case "last":
                return self._frame.lasts(column), None
            case "lag":
                return self._lagged(column, aggregate.offset), None
        count = self._totals["count", column][0].astype(np.int64)
        match aggregate.function:
            case "count":
                return _whole(count), None
            case "sum":
                return _checked(self._sum(column, count), count > 0)
            case "avg":
                return _checked(self._mean(column, count), count > 0)
            case "stddev":
                return _checked(self._deviation(column, count), count > 1)
            case "min" | "max" as kind:
                return Column(self._totals[kind, column][0], count > 0), None
        raise ValueError(f"no aggregate is called {aggregate.function!r}")

    def _lagged(self, column: str, offset: int) -> Column:
        frame = self._lag(offset)
        found = frame.firsts(column)
        missing = frame.lengths() <= offset
        return found.without(missing)

    def _sum(self, column: str, count: Ints) -> Numbers:
        if column not in self._sums:
            total = self._totals["sum", column]
            self._sums[column] = (
                exact.double_sums(count, total, self._values(column))
                if self._types[column] == "double"
                else exact.long_sums(total)
            )
        return self._sums[column]

    def _mean(self, column: str, count: Ints) -> Numbers:
        if self._types[column] == "double":
            return exact.double_means(count, self._sum(column, count))
        return exact.long_means(count, self._totals["sum", column])

    def _deviation(self, column: str, count: Ints) -> Numbers:
        (least,), (greatest,) = self._totals["min", column], self._totals["max", column]
        total, squares = self._totals["sum", column], self._totals["squares", column]
        return exact.deviations(count, total, squares, least, greatest, self._values(column))

    def _values(self, column: str) -> exact.Window:
        return partial(self._frame.column, column)


def _whole(numbers: Ints) -> Column:
    return Column(numbers, np.ones(len(numbers), dtype=np.bool_))


def _checked(numbers: Numbers, valid: Bools) -> tuple[Column, Bools]:
    beyond = numbers.beyond & valid
    return Column(numbers.values, valid & ~beyond), beyond
