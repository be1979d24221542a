"""Counts many numeric columns at once, with as little work per column as a small batch can bear.

NaN counts as null, infinity as invalid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from udfs.profile.counts import Ints, NumericCounts
from udfs.profile.reference import NumericReference

# Fixed-point values beyond this count as this: sums of a batch then stay within 64 bits.
LARGEST_FIXED = 2**40
# Values worked on at once, so that all that is made of them stays in the processor's cache.
_BLOCK = 2**14
_MAX_EXPONENT = 1_000
_LOW = 20
_GRID = 4096
_MAX_TRIES = 3
# Rows up to which a binary search is cheaper.
_SMALL = 500
_NO_CUTS = np.array([-np.inf])
Floats = npt.NDArray[np.float64]


class NumericBins:
    """The references' bins as arrays, made once."""

    def __init__(self, references: Mapping[str, NumericReference]) -> None:
        self._cells_of = {name: Cells(np.array(reference.edges)) for name, reference in references.items()}
        self._exponents = {name: reference.fixed_point.exponent for name, reference in references.items()}
        self._centers = {name: reference.fixed_point.center for name, reference in references.items()}

    def count(self, names: Sequence[str], columns: Sequence[Floats]) -> list[NumericCounts]:
        """Counts of each of `columns`, of equal length, whose names are `names`."""
        step = max(1, _BLOCK // max(len(columns[0]), 1)) if columns else 1
        found: list[NumericCounts] = []
        for first in range(0, len(names), step):
            block = columns[first : first + step]
            values = np.stack(block) if len(block) > 1 else block[0][np.newaxis]
            found += self._counted(names[first : first + step], values)
        return found

    def _counted(self, names: Sequence[str], values: Floats) -> Iterator[NumericCounts]:
        """All columns of a block at once, for a small batch costs as many calls as a large one."""
        finite = np.isfinite(values)
        whole = bool(finite.all())
        sizes = np.array([self._cells_of[name].count for name in names])
        width = int(sizes.max()) + 1  # the last cell is for what is not finite
        present = values if whole else np.where(finite, values, 0.0)
        cells = self._cells(names, present)
        if not whole:
            cells[~finite] = width - 1
        cells = (cells + np.arange(0, len(names) * width, width)[:, np.newaxis]).ravel()
        fixed = self._fixed(names, present)
        high, low = fixed >> _LOW, fixed & (2**_LOW - 1)
        shape = len(names), width
        counts = np.bincount(cells, minlength=shape[0] * width).reshape(shape)
        sums = (_sums(cells, high, shape) << _LOW) + _sums(cells, low, shape)
        squares = _sums_of_squares(high, low)
        nulls = [0] * len(names) if whole else np.isnan(values).sum(axis=1).tolist()
        # Adding zero makes one of the two zeros, which compare as equal but are written differently.
        smallest = (values if whole else np.where(finite, values, np.inf)).min(axis=1, initial=np.inf) + 0.0
        largest = (values if whole else np.where(finite, values, -np.inf)).max(axis=1, initial=-np.inf) + 0.0
        for i, size in enumerate(sizes.tolist()):
            missing = int(counts[i, -1])
            empty = missing == values.shape[1]
            yield NumericCounts(
                counts[i, :size],
                sums[i, :size].astype(object),
                squares[i],
                None if empty else float(smallest[i]),
                None if empty else float(largest[i]),
                nulls[i],
                missing - nulls[i],
            )

    def _cells(self, names: Sequence[str], present: Floats) -> Ints:
        cells = np.empty(present.shape, dtype=np.int64)
        for i, name in enumerate(names):
            cells[i] = self._cells_of[name].find(present[i])
        return cells

    def _fixed(self, names: Sequence[str], present: Floats) -> Ints:
        exponents = np.array([[self._exponents[name]] for name in names])
        with np.errstate(over="ignore"):
            largest = np.ldexp(float(LARGEST_FIXED), -exponents)
            centers = np.array([[self._centers[name]] for name in names])
            scaled = np.clip(present - centers if centers.any() else present, -largest, largest)
        # The product is the same and much faster, but 2**exponent must be a number.
        if exponents.max(initial=0) < _MAX_EXPONENT:
            np.multiply(scaled, np.ldexp(1.0, exponents), out=scaled)
        else:
            np.ldexp(scaled, exponents, out=scaled)
        np.rint(scaled, out=scaled)
        return scaled.astype(np.int64)


class Cells:
    """The cells of a column: below its bins, the bins (the last with its upper edge too), above them.

    A binary search mispredicts a branch at each step. So a grid of even steps tells which cell a value is in,
    but for the few cuts that share a step with it, and those are compared with it.
    """

    def __init__(self, edges: Floats) -> None:
        inner = max(len(edges) - 1, 1)
        with np.errstate(over="ignore"):
            above = np.nextafter(edges[-1:], np.inf)
        self._cuts = np.append(edges[:inner], above) if len(edges) else _NO_CUTS
        self.count = len(self._cuts) + 1
        self._padded = np.append(self._cuts, np.inf)
        self._tries = _MAX_TRIES + 1
        for left_out in range(_MAX_TRIES):
            if self._tries > _MAX_TRIES and len(self._cuts) > 2 * left_out + 1:
                self._lay_grid(left_out)

    def _lay_grid(self, left_out: int) -> None:
        """From one cut to another, without the outermost, which may lie far off."""
        self._start, end = self._cuts[left_out], self._cuts[-1 - left_out]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            self._scale = _GRID / (end - self._start)
        if not 0 < self._scale < np.inf:
            return
        per_step = np.bincount(self._steps(self._cuts), minlength=_GRID)
        self._before = (np.cumsum(per_step) - per_step).astype(np.int16)
        self._tries = int(per_step.max())

    def find(self, values: Floats) -> npt.NDArray[np.int16] | Ints:
        """The number of the cell of each value, all of which are finite."""
        if self._tries > _MAX_TRIES or len(values) < _SMALL:
            return self._cuts.searchsorted(values, side="right")
        cells = self._before.take(self._steps(values))
        for _ in range(self._tries):
            cells += values >= self._padded.take(cells)
        return cells

    def _steps(self, values: Floats) -> npt.NDArray[np.int16]:
        """Never less for a larger value, whatever is rounded: what all depends on."""
        with np.errstate(over="ignore"):
            steps = (values - self._start) * self._scale
        result: npt.NDArray[np.int16] = np.clip(steps, 0, _GRID - 1).astype(np.int16)
        return result


def _sums(cells: Ints, values: Ints, shape: tuple[int, int]) -> Ints:
    """Sums by cell; exact, as long as those of a batch are below 2**53."""
    found = np.bincount(cells, weights=values.ravel(), minlength=shape[0] * shape[1])
    return found.astype(np.int64).reshape(shape)


def _sums_of_squares(high: Ints, low: Ints) -> list[int]:
    """Exact: a square is (high·2**20 + low)², and each of its three parts stays within 64 bits."""
    pairs = ((high, high), (high, low), (low, low))
    parts = zip(*(np.einsum("ij,ij->i", a, b).tolist() for a, b in pairs), strict=True)
    return [(a << 2 * _LOW) + (b << _LOW + 1) + c for a, b, c in parts]
