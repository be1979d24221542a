"""Sums of two doubles, hi + lo, that carry 106 bits; hi is the double nearest to the sum.

Error-free transformations after Dekker (1971) and Knuth; bounds after Joldes, Muller and Popescu (2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Pair = tuple[Doubles, Doubles]


def two_sum(a: Doubles, b: Doubles) -> Pair:
    """The sum rounded, and exactly what rounding left out."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def two_product(a: Doubles, b: Doubles) -> Pair:
    """The product rounded, and exactly what rounding left out, unless that underflows."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def add(a: Pair, b: Pair) -> Pair:
    """Wrong by at most 2^-104 (|a| + |b|): only the low parts' sum and its sum with the rest are rounded."""
    high, low = two_sum(a[0], b[0])
    return two_sum(high, low + (a[1] + b[1]))


def multiply(a: Pair, b: Pair) -> Pair:
    """Wrong by at most 2^-102 |a b|."""
    high, low = two_product(a[0], b[0])
    return two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def divide(a: Pair, b: Doubles) -> Pair:
    """Wrong by at most 2^-102 |a / b|."""
    quotient = a[0] / b
    product, low = two_product(quotient, b)
    return two_sum(quotient, ((a[0] - product) - low + a[1]) / b)


def divide_pairs(a: Pair, b: Pair) -> Pair:
    """Wrong by at most 2^-100 |a / b|."""
    quotient = a[0] / b[0]
    product = multiply(b, (quotient, np.zeros(len(quotient))))
    rest = add(a, (-product[0], -product[1]))
    return two_sum(quotient, rest[0] / b[0])


def root(a: Pair) -> Pair:
    """One step of Newton's method from the root of the high part: wrong by at most 2^-100 of it."""
    guess = np.sqrt(a[0])
    square, low = two_product(guess, guess)
    return two_sum(guess, ((a[0] - square) - low + a[1]) / (2 * guess))


def from_long(values: NDArray[np.int64]) -> Pair:
    """Exactly. 2^63 - 1 rounds to 2^63, which has no long, so the halves are converted on their own."""
    return two_sum((values >> 32) * 4294967296.0, (values & 0xFFFFFFFF).astype(np.float64))


def rounds_surely(value: Pair, error: Doubles) -> NDArray[np.bool_]:
    """Whether hi is the double nearest to all numbers within `error` of hi + lo.

    The last term covers the rounding of lo ± error itself; a tie is certain only if hi is where ties go.
    """
    high, low = value
    slack = error + np.abs(low) * 2.0**-51
    return np.asarray((high + (low + slack) == high) & (high + (low - slack) == high))


def _split(a: Doubles) -> Pair:
    """Two halves of 26 bits."""
    big = a * 134217729.0
    high = big - (big - a)
    return high, a - high
