"""Results of a window's aggregates from what its rows amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from udfs.types import ColumnType
from udfs.windows import changes, exact
from udfs.windows.columns import Bools, Column, Ints, from_values
from udfs.windows.decay import decayed_means, exact_decayed_mean
from udfs.windows.exact import Numbers
from udfs.windows.frames import Frame
from udfs.windows.monoids import Arrays, Kind, Need
from udfs.windows.params import AggregateParams
from udfs.windows.retention import looks_back
from udfs.windows.runs import Run

_KINDS: dict[str, tuple[Kind, ...]] = {
    "count": ("count",),
    "sum": ("count", "sum"),
    "avg": ("count", "sum"),
    "stddev": ("count", "squares", "min", "max"),
    "min": ("count", "min"),
    "max": ("count", "max"),
    "ewma": ("count", "decayed"),
    "first": ("first",),
    "last": ("last",),
    "delta": ("first", "last"),
    "rate": ("first", "last"),
}
_TYPES: dict[str, ColumnType] = {
    "count": "long",
    "avg": "double",
    "stddev": "double",
    "percentile": "double",
    "ewma": "double",
    "rate": "double",
    "time_since_last": "long",
}


def slides(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> bool:
    """Whether the aggregate needs each value itself."""
    if aggregate.function in ("min", "max"):
        return types[aggregate.column or ""] == "string"
    return aggregate.distinct or aggregate.function in ("percentile", "top")


def needs(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> tuple[Need, ...]:
    """What must be known of each window's rows."""
    function, where = aggregate.function, aggregate.where
    column = aggregate.column or where
    if column is None or looks_back(aggregate) or slides(aggregate, types):
        return ()
    return tuple(
        Need(kind, column, where, aggregate.half_life_ms if kind == "decayed" else 0)
        for kind in _KINDS[function]
    )


def result_type(aggregate: AggregateParams, types: Mapping[str, ColumnType]) -> ColumnType:
    """The column's type, but for counts, times and means."""
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
        self._sums: dict[tuple[str, str | None], Numbers] = {}

    def of(self, aggregate: AggregateParams) -> tuple[Column, Bools | None]:
        """The result, and in which rows it is beyond its type."""
        column, where = aggregate.column, aggregate.where
        match aggregate.function:
            case "first" | "last" as edge:
                found, values, _ = self._total(edge, aggregate)
                return from_values(values, found), None
            case "lag":
                return self._before(aggregate.offset, values_of(column or "")), None
            case "time_since_last":
                return self._since_last(), None
            case "delta":
                return changes.delta(*self._edges(aggregate))
            case "rate":
                return changes.rate(*self._edges(aggregate))
        if column is None and where is None:
            return _whole(self._frame.lengths()), None
        count = self._total("count", aggregate)[0].astype(np.int64)
        match aggregate.function:
            case "count":
                return _whole(count), None
            case "sum":
                return _checked(self._sum(aggregate, count), count > 0)
            case "avg":
                return _checked(self._mean(aggregate, count), count > 0)
            case "stddev":
                return _checked(self._deviation(aggregate, count), count > 1)
            case "ewma":
                return _checked(self._decayed(aggregate, count), count > 0)
            case "min" | "max" as kind:
                return Column(self._total(kind, aggregate)[0], count > 0), None
        raise ValueError(f"no aggregate is called {aggregate.function!r}")

    def _total(self, kind: Kind, aggregate: AggregateParams) -> Arrays:
        column = aggregate.column or aggregate.where or ""
        half_life = aggregate.half_life_ms if kind == "decayed" else 0
        return self._totals[Need(kind, column, aggregate.where, half_life)]

    def _edges(self, aggregate: AggregateParams) -> tuple[Arrays, Arrays]:
        return self._total("first", aggregate), self._total("last", aggregate)

    def _before(self, offset: int, of: Callable[[Run, Ints], Column]) -> Column:
        frame = self._lag(offset)
        return frame.firsts(of).without(frame.lengths() <= offset)

    def _since_last(self) -> Column:
        before = self._before(1, lambda run, at: _whole(run.time_of(at)))
        return Column(self._frame.batch.time - before.values, before.valid)

    def _sum(self, aggregate: AggregateParams, count: Ints) -> Numbers:
        column = aggregate.column or ""
        if (column, aggregate.where) not in self._sums:
            total = self._total("sum", aggregate)
            self._sums[column, aggregate.where] = (
                exact.double_sums(count, total, self._values(aggregate))
                if self._types[column] == "double"
                else exact.long_sums(total)
            )
        return self._sums[column, aggregate.where]

    def _mean(self, aggregate: AggregateParams, count: Ints) -> Numbers:
        if self._types[aggregate.column or ""] == "double":
            return exact.double_means(count, self._sum(aggregate, count))
        return exact.long_means(count, self._total("sum", aggregate))

    def _deviation(self, aggregate: AggregateParams, count: Ints) -> Numbers:
        (least,), (greatest,) = self._total("min", aggregate), self._total("max", aggregate)
        squares = self._total("squares", aggregate)
        return exact.deviations(count, squares, least, greatest, self._values(aggregate))

    def _decayed(self, aggregate: AggregateParams, count: Ints) -> Numbers:
        means, sure = decayed_means(count, self._total("decayed", aggregate))

        def mean(row: int) -> float:
            values, times = self._frame.column(aggregate.column or "", aggregate.where, row)
            return exact_decayed_mean(values, times, aggregate.half_life_ms)

        return exact.settled(means, sure, mean)

    def _values(self, aggregate: AggregateParams) -> exact.Window:
        return lambda row: self._frame.column(aggregate.column or "", aggregate.where, row)[0]


def values_of(column: str) -> Callable[[Run, Ints], Column]:
    """That column of some rows of a run."""
    return lambda run, at: run.columns[column].take(at)


def _whole(numbers: Ints) -> Column:
    return Column(numbers, np.ones(len(numbers), dtype=np.bool_))


def _checked(numbers: Numbers, valid: Bools) -> tuple[Column, Bools]:
    beyond = numbers.beyond & valid
    return Column(numbers.values, valid & ~beyond), beyond
