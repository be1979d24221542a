"""Each kind of what is kept of sets of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from udfs.types import ColumnType
from udfs.windows import double_double as dd
from udfs.windows.decay import Decayed
from udfs.windows.monoids import Arrays, Kind, Lifted, Monoid, Need

# Squares of doubles beyond these lose bits to underflow or overflow.
_SMALLEST, _LARGEST = 2.0**-450, 2.0**450


class Count:
    """How many values are not null."""

    identity = (np.int32(0),)

    def lift(self, column: Lifted) -> Arrays:
        return (column.valid.astype(np.int32),)

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return (a[0] + b[0],)


class DoubleSum:
    """The sum in double-double, and what bounds its error.

    That is the sum of magnitudes, and the least exponent of a last bit: all sums are multiples of its power.
    """

    identity = (0.0, 0.0, 0.0, np.int16(1023))

    def lift(self, column: Lifted) -> Arrays:
        values = np.where(column.valid, column.values, 0.0)
        exponents = np.maximum(np.frexp(values)[1] - 53, -1074)
        last_bits = np.where(values == 0, 1023, exponents).astype(np.int16)
        return values, np.zeros(len(values)), np.abs(values), last_bits

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        total = dd.add((a[0], a[1]), (b[0], b[1]))
        return (*total, a[2] + b[2], np.minimum(a[3], b[3]))


class LongSum:
    """The sum in two limbs, of the high and of the low 32 bits: exact for 2^31 rows."""

    identity = (np.int64(0), np.int64(0))

    def lift(self, column: Lifted) -> Arrays:
        values = np.where(column.valid, column.values, 0)
        return values >> 32, values & 0xFFFFFFFF

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return a[0] + b[0], a[1] + b[1]


class Squares:
    """The sums of squares and of values, each less one number, in double-double; NaN if one has no such form.

    The number is near the first values that come, so that little is lost of values that are all far from
    zero. It is another one after a restart, which changes no result that is surely rounded right.
    """

    identity = (0.0, 0.0, 0.0, 0.0)

    def __init__(self) -> None:
        self._about: float | None = None

    def lift(self, column: Lifted) -> Arrays:
        high, low = column.values, np.zeros(len(column.values))
        if column.values.dtype == np.int64:
            high, low = dd.from_long(column.values)
        if self._about is None and column.valid.any():
            self._about = _about(high[column.valid], whole=column.values.dtype == np.int64)
        upper, lower = dd.two_sum(high, np.full(len(high), -(self._about or 0.0)))
        upper, lower = dd.two_sum(upper, lower + low)
        upper, lower = np.where(column.valid, upper, 0.0), np.where(column.valid, lower, 0.0)
        size = np.abs(upper)
        unfit = (upper != 0) & ((size < _SMALLEST) | ~(size <= _LARGEST))
        squares = dd.multiply((upper, lower), (upper, lower))
        return np.where(unfit, np.nan, squares[0]), squares[1], upper, lower

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return (*dd.add((a[0], a[1]), (b[0], b[1])), *dd.add((a[2], a[3]), (b[2], b[3])))


def _about(values: dd.Doubles, *, whole: bool) -> float:
    """A number near their mean; of longs a long, so that what is left of them is exact."""
    mean = float(values.mean())
    if whole:
        return float(np.rint(mean))
    short = float(np.float32(mean))
    return short if np.isfinite(short) else 0.0


class Extreme:
    """The least or the greatest number."""

    def __init__(self, kind: Kind, column_type: ColumnType) -> None:
        self._pick = np.minimum if kind == "min" else np.maximum
        ends: dict[ColumnType, tuple[Any, Any]] = {
            "double": (-np.inf, np.inf),
            "boolean": (np.False_, np.True_),
        }
        longs = np.iinfo(np.int64)
        low, high = ends.get(column_type, (np.int64(longs.min), np.int64(longs.max)))
        self.identity = (high if kind == "min" else low,)

    def lift(self, column: Lifted) -> Arrays:
        return (np.where(column.valid, column.values, self.identity[0]),)

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return (self._pick(a[0], b[0]),)


class Edge:
    """The first or last value that is not null: whether there is one, it, and its time."""

    identity = (np.False_, 0, np.int64(0))

    def __init__(self, kind: Kind) -> None:
        self._first = kind == "first"

    def lift(self, column: Lifted) -> Arrays:
        values = column.values
        if not isinstance(values, np.ndarray):
            values = values.to_numpy(zero_copy_only=False)
        return column.valid, values, column.time

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        chosen, other = (a, b) if self._first else (b, a)
        here = chosen[0]
        return (a[0] | b[0], *(np.where(here, x, y) for x, y in zip(chosen[1:], other[1:], strict=True)))


def monoid(need: Need, column_type: ColumnType) -> Monoid:
    """The one for this need."""
    match need.kind:
        case "count":
            return Count()
        case "sum":
            return DoubleSum() if column_type == "double" else LongSum()
        case "squares":
            return Squares()
        case "min" | "max":
            return Extreme(need.kind, column_type)
        case "decayed":
            return Decayed(need.half_life_ms)
        case _:
            return Edge(need.kind)
