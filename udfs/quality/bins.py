"""Bins of numbers that need no reference, keep their order, and are narrow where numbers are small.

A number's bin is the leading bits of its float: its sign, its power of two, and the next `BITS` bits. So the
numbers of a bin differ by less than a part in 2 ** BITS. Probabilities are as narrow near 1 as near 0.

>>> probability_bins(np.array([0.001, 0.5, 0.999])).tolist()
[129667, 130816, 131965]
>>> bin_value(int(number_bins(np.array([250.0]))[0]))
250.5
"""

from __future__ import annotations

import struct
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bin = TypeVar("Bin", int, Ints)

BITS = 7
CURVE_BINS = 15
_SHIFT = 52 - BITS
# Below this a probability is as good as 0: losses end there too.
_LEAST = 1e-6
_SMALLEST_POSITIVE = 1 << BITS


def number_bins(values: Floats) -> Ints:
    """(n,) bins of finite numbers; those next to 0 share one."""
    bits = np.abs(values).astype(np.float64).view(np.int64) >> _SHIFT
    bits = np.where(bits < _SMALLEST_POSITIVE, 0, bits)
    return np.where(values < 0, -bits, bits).astype(np.int64)


def probability_bins(values: Floats) -> Ints:
    """(n,) bins of numbers from 0 to 1; the bin of p is the mirror of that of 1 - p."""
    kept = np.clip(values, 0.0, 1.0)
    upper = kept >= 0.5
    bins = number_bins(np.maximum(np.where(upper, 1 - kept, kept), _LEAST))
    return np.where(upper, 2 * _HALF - bins, bins).astype(np.int64)


def coarse(number: Bin) -> Bin:
    """The bin, or (n,) bins, of 64 of these each: two for each doubling of the number."""
    return number >> (BITS - 1)


def curve_bin(score: float) -> int:
    """That of the calibration curve."""
    return min(max(int(score * CURVE_BINS), 0), CURVE_BINS - 1)


def bin_value(number: int) -> float:
    """The middle of one of `number_bins`."""
    if number == 0:
        return 0.0
    low, high = (_of_bits((abs(number) + step) << _SHIFT) for step in (0, 1))
    middle = (low + high) / 2
    return -middle if number < 0 else middle


def _of_bits(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<q", bits))
    return float(value)


_HALF = int(number_bins(np.array([0.5]))[0])
