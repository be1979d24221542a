"""What is kept of a set of rows so that sets can be joined: for each kind a value per row, and how two join.

Each has `identity`, of no rows; `lift`, of each row alone; `combine`, of earlier with later rows.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from udfs.types import ColumnType
from udfs.windows import double_double as dd
from udfs.windows.columns import Column, Ints

Arrays = tuple[NDArray[Any], ...]
Kind = Literal["count", "sum", "squares", "min", "max"]
Need = tuple[Kind, str]
# Squares of doubles beyond these lose bits to underflow or overflow.
_SMALLEST, _LARGEST = 2.0**-450, 2.0**450


class Monoid(Protocol):
    """A row's part of an aggregate is a tuple of numbers; a tuple of arrays holds those of many."""

    identity: tuple[Any, ...]

    def lift(self, column: Column) -> Arrays: ...
    def combine(self, a: Arrays, b: Arrays) -> Arrays: ...


class Count:
    """How many values are not null."""

    identity = (np.int32(0),)

    def lift(self, column: Column) -> Arrays:
        return (column.valid.astype(np.int32),)

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return (a[0] + b[0],)


class DoubleSum:
    """The sum in double-double, and what bounds its error.

    That is the sum of magnitudes, and the least exponent of a last bit: all sums are multiples of its power.
    """

    identity = (0.0, 0.0, 0.0, np.int16(1023))

    def lift(self, column: Column) -> Arrays:
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

    def lift(self, column: Column) -> Arrays:
        values = np.where(column.valid, column.values, 0)
        return values >> 32, values & 0xFFFFFFFF

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return a[0] + b[0], a[1] + b[1]


class Squares:
    """The sum of squares in double-double; NaN where a square has no such form."""

    identity = (0.0, 0.0)

    def lift(self, column: Column) -> Arrays:
        if column.values.dtype == np.int64:
            pair = dd.from_long(np.where(column.valid, column.values, 0))
            return dd.multiply(pair, pair)
        values = np.where(column.valid, column.values, 0.0)
        size = np.abs(values)
        high, low = dd.two_product(values, values)
        unfit = (values != 0) & ((size < _SMALLEST) | (size > _LARGEST))
        return np.where(unfit, np.nan, high), low

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return dd.add((a[0], a[1]), (b[0], b[1]))


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

    def lift(self, column: Column) -> Arrays:
        return (np.where(column.valid, column.values, self.identity[0]),)

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        return (self._pick(a[0], b[0]),)


def monoid(kind: Kind, column_type: ColumnType) -> Monoid:
    """The one for this kind of a column of that type."""
    match kind:
        case "count":
            return Count()
        case "sum":
            return DoubleSum() if column_type == "double" else LongSum()
        case "squares":
            return Squares()
        case _:
            return Extreme(kind, column_type)


def empty(of: Monoid, like: Arrays, rows: int) -> Arrays:
    """No rows, so many times."""
    return tuple(np.full(rows, nothing, part.dtype) for nothing, part in zip(of.identity, like, strict=True))


def take(arrays: Arrays, at: Ints) -> Arrays:
    """Those rows of each."""
    return tuple([part[at] for part in arrays])


def put(arrays: Arrays, at: Ints, values: Arrays) -> None:
    """These values in those rows of each."""
    for part, value in zip(arrays, values, strict=True):
        part[at] = value
