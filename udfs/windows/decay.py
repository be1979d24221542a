"""Exponentially weighted means: Σ x 2^(t / half life) / Σ 2^(t / half life), weights counted from 1970.

A weight is 2^k times a double from 1 to 2, which the time alone decides; sums are relative to the largest k.
Products and sums are double-doubles, and the mean is certain or computed anew from the rows, as in `exact`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from udfs.windows import double_double as dd
from udfs.windows.columns import Bools, Ints
from udfs.windows.double_double import Doubles
from udfs.windows.monoids import Arrays, Lifted

# The power of no rows, and one that nothing that a double can hold is left at.
_NEVER, _NOTHING = np.int64(-(2**62)), -2_200

Timed = Callable[[int], tuple[list[Any], list[int]]]


class Decayed:
    """k; the sum of x times weight, as high and low; that of weights; that of |x| times weight."""

    identity = (_NEVER, 0.0, 0.0, 0.0, 0.0, 0.0)

    def __init__(self, half_life_ms: int) -> None:
        self._half_life = half_life_ms

    def lift(self, column: Lifted) -> Arrays:
        power, weight = _weights(column.time, self._half_life)
        values = np.where(column.valid, column.values, 0)
        weight = np.where(column.valid, weight, 0.0)
        nothing = np.zeros(len(weight))
        pair = dd.from_long(values) if values.dtype == np.int64 else (values, nothing)
        product = dd.multiply(pair, (weight, nothing))
        return np.where(column.valid, power, _NEVER), *product, weight, nothing, np.abs(product[0])

    def combine(self, a: Arrays, b: Arrays) -> Arrays:
        power = np.maximum(a[0], b[0])
        a, b = _scaled(a, power), _scaled(b, power)
        weighted, weights = dd.add((a[1], a[2]), (b[1], b[2])), dd.add((a[3], a[4]), (b[3], b[4]))
        return power, *weighted, *weights, a[5] + b[5]


def decayed_means(count: Ints, total: Arrays) -> tuple[Doubles, Bools]:
    """The means, and whether they are certain.

    Products and sums are wrong by less than (n + 1) 2^-101 of their magnitudes, or n times what underflows.
    """
    _, high, low, weight_high, weight_low, size = total
    mean = dd.divide_pairs((high, low), (weight_high, weight_low))
    lost = np.where(size > 0, (count + 1) * 2.0**-1060, 0.0)
    error = (count + 1) * (size / weight_high) * 2.0**-98 + lost
    return mean[0] + 0.0, (count == 0) | dd.rounds_surely(mean, error)


def exact_decayed_mean(values: list[Any], times: list[int], half_life_ms: int) -> float:
    """The mean in fractions. What is 2,200 half lives older than the newest value counts nothing."""
    powers, weights = _weights(np.array(times, dtype=np.int64), half_life_ms)
    newest = int(powers.max())
    weighted = total = Fraction(0)
    for value, power, weight in zip(values, powers.tolist(), weights.tolist(), strict=True):
        if power - newest > _NOTHING:
            part = Fraction(weight) * Fraction(2) ** (power - newest)
            weighted, total = weighted + part * Fraction(value), total + part
    return float(weighted / total)


def _weights(time: Ints, half_life_ms: int) -> tuple[Ints, Doubles]:
    power, rest = np.divmod(time, half_life_ms)
    return power, np.exp2(rest / half_life_ms)


def _scaled(part: Arrays, power: Ints) -> Arrays:
    steps = np.maximum(part[0] - power, _NOTHING).astype(np.int32)
    return part[0], *(np.ldexp(sums, steps) for sums in part[1:])
