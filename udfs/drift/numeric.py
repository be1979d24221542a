"""Counts of many numeric columns at once: what is done per column is as little as a small batch can bear.

bins = NumericBins({"amount": reference.columns["amount"]})
bins.count(["amount"], np.array([[1.5, np.nan, np.inf]]))       # NaN is null, infinity invalid
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from udfs.drift.counts import Ints, NumericCounts
from udfs.drift.reference import NumericReference

# Fixed-point values beyond this count as this: sums of a batch then stay within 64 bits.
LARGEST_FIXED = 2**40
# Of a block of columns, so that what is worked on stays in the cache and small.
_BLOCK = 2**14
_MAX_EXPONENT = 1_000
Floats = npt.NDArray[np.float64]


class NumericBins:
    """The references' bins as arrays, made once."""

    def __init__(self, references: Mapping[str, NumericReference]) -> None:
        self._edges = {name: np.array(reference.edges) for name, reference in references.items()}
        self._exponents = {name: reference.fixed_point.exponent for name, reference in references.items()}

    def count(self, names: Sequence[str], values: Floats) -> list[NumericCounts]:
        """Counts of each row of `values`, (columns, rows of the batch), whose columns are `names`."""
        step = max(1, _BLOCK // max(values.shape[1], 1))
        found: list[NumericCounts] = []
        for first in range(0, len(names), step):
            found += self._counted(names[first : first + step], values[first : first + step])
        return found

    def _counted(self, names: Sequence[str], values: Floats) -> Iterator[NumericCounts]:
        """Sorted, so that bins are found by few searches, and their sums by one running sum."""
        rows = values.shape[1]
        finite = np.isfinite(values)
        whole = bool(finite.all())
        ordered = np.sort(values if whole else np.where(finite, values, np.nan), axis=1)
        sizes = [rows] * len(names) if whole else finite.sum(axis=1).tolist()
        nulls = [0] * len(names) if whole else np.isnan(values).sum(axis=1).tolist()
        fixed = self._fixed(names, ordered, whole)
        running = np.zeros((len(names), rows + 1), dtype=np.int64)
        np.cumsum(fixed, axis=1, out=running[:, 1:])
        squares = _sums_of_squares(fixed)
        for i, name in enumerate(names):
            kept = ordered[i, : sizes[i]]
            ends = _ends(self._edges[name], kept)
            totals = running[i, ends]
            # Adding zero makes one of the two zeros, which compare as equal but are written differently.
            low, high = (float(kept[0]) + 0.0, float(kept[-1]) + 0.0) if sizes[i] else (None, None)
            yield NumericCounts(
                ends[1:] - ends[:-1],
                (totals[1:] - totals[:-1]).astype(object),
                squares[i],
                low,
                high,
                nulls[i],
                rows - sizes[i] - nulls[i],
            )

    def _fixed(self, names: Sequence[str], ordered: Floats, whole: bool) -> Ints:
        exponents = np.array([[self._exponents[name]] for name in names])
        with np.errstate(over="ignore"):
            largest = np.ldexp(float(LARGEST_FIXED), -exponents)
        scaled = np.clip(ordered, -largest, largest)
        # The product is the same and much faster, but 2**exponent must be a number.
        if exponents.max(initial=0) < _MAX_EXPONENT:
            np.multiply(scaled, np.ldexp(1.0, exponents), out=scaled)
        else:
            np.ldexp(scaled, exponents, out=scaled)
        np.rint(scaled, out=scaled)
        if not whole:
            np.nan_to_num(scaled, copy=False, nan=0.0)
        return scaled.astype(np.int64)


def _ends(edges: Floats, ordered: Floats) -> Ints:
    """Where each cell (below, the bins, above) begins among the ordered values, and where the last ends."""
    if not len(edges):
        return np.array([0, 0, len(ordered)])
    inner = max(len(edges) - 1, 1)
    ends = np.zeros(inner + 3, dtype=np.int64)
    ends[1:-2] = ordered.searchsorted(edges[:inner])
    ends[-2] = ordered.searchsorted(edges[-1], side="right")
    ends[-1] = len(ordered)
    return ends


def _sums_of_squares(fixed: Ints) -> list[int]:
    """Exact: a square is (high·2**20 + low)², and each of its three parts stays within 64 bits."""
    high, low = fixed >> 20, fixed & 0xFFFFF
    pairs = ((high, high), (high, low), (low, low))
    parts = zip(*(np.einsum("ij,ij->i", a, b).tolist() for a, b in pairs), strict=True)
    return [(a << 40) + (b << 21) + c for a, b, c in parts]
