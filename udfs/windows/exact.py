"""Results of real arithmetic, rounded once: from double-doubles if that is certain, else from the values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from udfs.windows import double_double as dd
from udfs.windows.columns import Bools, Ints
from udfs.windows.monoids import Arrays

Window = Callable[[int], list[Any]]
# Squares below may have lost bits to underflow.
_LEAST_SQUARES = 2.0**-800


class Numbers(NamedTuple):
    """A result per row, and whether it is beyond its type."""

    values: Any
    beyond: Bools


def double_sums(count: Ints, total: Arrays, window: Window) -> Numbers:
    """As math.fsum.

    n - 1 additions, each wrong by at most 2^-104 of the magnitudes that it adds, are together wrong by at
    most (n - 1) 2^-104 of all magnitudes. 2^-100 leaves room for the roundings of the bound itself. Were it
    to underflow to 0, the error would be below the least double, so nothing, as sums are multiples of that.
    For the same reason there is no error if the bound is below the last bit of all values.
    """
    high, low, size, last_bit = total
    error = np.maximum(count - 1, 0) * size * 2.0**-100
    sure = (error < np.ldexp(1.0, last_bit)) | dd.rounds_surely((high, low), error)
    return settled(high, sure, lambda row: exact_sum(window(row)))


def long_sums(total: Arrays) -> Numbers:
    """In 64 bits."""
    high, low = _carried(total)
    beyond = (high < -(2**31)) | (high >= 2**31)
    return Numbers(np.where(beyond, 0, (high << 32) + low), beyond)


def double_means(count: Ints, sums: Numbers) -> Numbers:
    """The rounded sum by the count."""
    return Numbers(sums.values / np.maximum(count, 1) + 0.0, sums.beyond)


def long_means(count: Ints, total: Arrays) -> Numbers:
    """The exact sum by the count, as Python divides integers."""
    high, low = _carried(total)
    counts = np.maximum(count, 1)
    means = (high * 4294967296.0 + low) / counts
    for row in np.flatnonzero((high < -(2**21)) | (high >= 2**21)).tolist():
        means[row] = ((int(high[row]) << 32) + int(low[row])) / int(counts[row])
    return Numbers(means, np.zeros(len(means), dtype=np.bool_))


def deviations(count: Ints, squares: Arrays, least: Any, greatest: Any, window: Window) -> Numbers:
    """As statistics.stdev, of the sample; `squares` and sums are those of values less a number.

    Where they leave too few bits (10,000 values of which that is 50,000 deviations away), the window's values
    are looked at, which costs as much as it is long.
    """
    spread, sums = (squares[0], squares[1]), (squares[2], squares[3])
    root, sure = _deviation(np.maximum(count, 2).astype(np.float64), sums, spread)
    sure &= count < 2**25
    same = (least == greatest) | (count < 2)
    return settled(np.where(same, 0.0, root), sure | same, lambda row: _deviation_of(window(row)))


def _deviation(counts: dd.Doubles, sums: dd.Pair, squares: dd.Pair) -> tuple[dd.Doubles, Bools]:
    """sqrt((n Σx² - (Σx)²) / (n (n - 1))), and where that is surely rounded right.

    Let A = n Σx². The sum of squares is wrong by less than (n + 3) 2^-104 of it, that of values by n 2^-104
    of Σ|x|, and (Σ|x|)² is at most A: so the difference is wrong by less than 3 (n + 5) 2^-104 A, its own
    roundings included.
    """
    whole = dd.multiply(squares, (counts, np.zeros(len(counts))))
    product = dd.multiply(sums, sums)
    difference = dd.add(whole, (-product[0], -product[1]))
    relative = 4 * (counts + 5) * 2.0**-103 * whole[0] / difference[0]
    root = dd.root(dd.divide(difference, counts * (counts - 1)))
    sure = (difference[0] > 0) & (relative < 2.0**-56)
    sure &= dd.rounds_surely(root, root[0] * (relative + 2.0**-98))
    return root[0], np.asarray(sure)


def _deviation_of(values: list[Any]) -> float:
    """Of the values less their mean, which are small where the values are far from zero; else exactly."""
    numbers = np.array(values)
    high, low = (numbers, np.zeros(len(numbers))) if numbers.dtype == np.float64 else dd.from_long(numbers)
    mean = high.mean()
    # Of longs a long, so that the low parts add up without a rounding.
    about = mean if numbers.dtype == np.float64 else np.rint(mean)
    upper, lower = dd.two_sum(high, np.full(len(high), -about))
    less = dd.two_sum(upper, lower + low)
    squares = _summed(dd.multiply(less, less))
    root, sure = _deviation(np.array([float(len(values))]), _summed(less), squares)
    if sure[0] and squares[0][0] > _LEAST_SQUARES:
        return float(root[0])
    return float(statistics.stdev(values))


def _summed(terms: dd.Pair) -> dd.Pair:
    """Pair by pair: at most n - 1 additions of each term."""
    high, low = terms
    while len(high) > 1:
        odd = len(high) % 2
        high, low = (np.append(part, np.zeros(odd)) for part in (high, low))
        high, low = dd.add((high[::2], low[::2]), (high[1::2], low[1::2]))
    return high, low


def exact_sum(values: list[float]) -> float:
    """As math.fsum, which can overflow on the way to a sum that does not."""
    try:
        return math.fsum(values)
    except OverflowError:
        return float(sum(map(Fraction, values)))


def settled(values: Any, sure: Bools, exactly: Callable[[int], float]) -> Numbers:
    """The values, and those that are not sure computed anew."""
    values, beyond = values.copy(), np.zeros(len(values), dtype=np.bool_)
    for row in np.flatnonzero(~sure).tolist():
        try:
            values[row] = exactly(row)
        except OverflowError:
            values[row], beyond[row] = 0.0, True
    return Numbers(values, beyond)


def _carried(total: Arrays) -> tuple[Ints, Ints]:
    """Limbs of which the lower is from 0 to 2^32 - 1."""
    high, low = total
    return high + (low >> 32), low & 0xFFFFFFFF


def _pair(total: Arrays) -> dd.Pair:
    high, low = _carried(total)
    upper = dd.from_long(high)
    return dd.add(
        (upper[0] * 4294967296.0, upper[1] * 4294967296.0), (low.astype(np.float64), np.zeros(len(low)))
    )
