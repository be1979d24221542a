"""Tests one column of many windows at once: how much moved, and whether chance alone could have done it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from udfs.drift import null_distributions as nulls
from udfs.drift import statistics
from udfs.drift.statistics import Floats
from udfs.profile.counts import ColumnCounts, Ints, NumericCounts, cells, missing


@dataclass(frozen=True)
class Tests:
    """One column of S windows against S references or one: arrays (S,).

    `distance` is the effect in the values, `effect` the larger of it and the change of the missing rate.
    `tests` of 0 to 2 could reject.
    """

    numeric: bool
    rows: Ints
    m: Ints
    n: Ints
    distance: Floats
    effect: Floats
    p: Floats
    values_p: Floats
    missing_p: Floats
    reference_missing: Ints
    missing: Ints
    reference_rows: Ints
    degrees: Ints
    tests: Ints
    row_noise: Floats

    def visible(self, level: float) -> Floats:
        """The smallest effect that is sure to be significant at the level, wherever in the column it is."""
        each = level / np.maximum(self.tests, 1)
        usable = (self.n > 0) & (self.m > 0)
        variance = np.where(usable, nulls.noise(np.maximum(self.n, 1), np.maximum(self.m, 1)), self.row_noise)
        # χ² is at least 4·TV² / variance: equal when all cells change by the same factor.
        degrees = np.where(usable, self.degrees, 1)
        spread = np.sqrt(nulls.chi2_threshold(each, degrees) * variance) / 2
        if self.numeric:
            spread = np.where(usable, nulls.kolmogorov_threshold(each, variance), spread)
        return np.where(self.rows > 0, np.minimum(spread, 1.0), 1.0)


@dataclass(frozen=True)
class ColumnTest:
    """What the tests say of one column of one window; `q` follows when all are known."""

    name: str
    tests: Tests
    index: int
    before: ColumnCounts
    counts: ColumnCounts

    @property
    def p(self) -> float:
        return float(self.tests.p[self.index])

    @property
    def effect(self) -> float:
        return float(self.tests.effect[self.index])


def compare(before: Sequence[ColumnCounts], current: Sequence[ColumnCounts]) -> Tests:
    """Test S windows of a column against as many references, or one; all on the same bins."""
    numeric = isinstance(current[0], NumericCounts)
    p, q = (np.stack([cells(each) for each in side]) for side in (before, current))
    size = len(current)
    m, n = np.broadcast_to(p.sum(axis=1), size), q.sum(axis=1)
    lost, gone = (np.array([missing(each) for each in side]) for side in (before, current))
    lost = np.broadcast_to(lost, size)
    usable = (m > 0) & (n > 0)
    if numeric:
        degrees = np.ones(size, dtype=np.int64)
        distance = np.where(usable, statistics.ks(p, q)[0], 0.0)
        variance = nulls.noise(np.maximum(n, 1), np.maximum(m, 1))
        values_p = np.where(usable, nulls.kolmogorov_p(distance, variance), 1.0)
    else:
        chi_p, degrees = _categories_p(p, q)
        distance = np.where(usable, statistics.total_variation(p, q), 0.0)
        values_p = np.where(usable, chi_p, 1.0)
    every, rest = m + lost, n + gone
    pairs = zip(lost.tolist(), every.tolist(), gone.tolist(), rest.tolist(), strict=True)
    missing_p = np.array([statistics.missing_p(*pair) for pair in pairs])
    both = (every > 0) & (rest > 0)
    change = np.where(both, np.abs(gone / np.maximum(rest, 1) - lost / np.maximum(every, 1)), 0.0)
    # Two where both could reject at all, also where nothing is missing: the level is then an upper bound.
    tests = usable.astype(np.int64) + (both & (m + n > 0))
    combined = np.minimum(np.minimum(values_p, missing_p) * np.maximum(tests, 1), 1.0)
    return Tests(
        numeric,
        rest,
        m,
        n,
        distance,
        np.maximum(distance, change),
        combined,
        values_p,
        missing_p,
        lost,
        gone,
        every,
        degrees,
        tests,
        nulls.noise(np.maximum(rest, 1), np.maximum(every, 1)),
    )


def _categories_p(p: Ints, q: Ints) -> tuple[Floats, Ints]:
    """The p of χ² and its degrees of freedom.

    Where all cells are pooled into one, as where a window is a thousand times as large as the reference,
    Fisher's exact test of the small ones together.
    """
    _, degrees, chi_p = statistics.chi2(p, q)
    for i in np.flatnonzero(degrees == 0).tolist():
        known, now = p[min(i, len(p) - 1)], q[i]
        small = statistics.expected(known, now) < statistics.MIN_EXPECTED
        sizes = int(known.sum()), int(now.sum())
        if min(sizes) > 0 and not small.all():
            lost, gone = int(known[small].sum()), int(now[small].sum())
            chi_p[i] = statistics.missing_p(lost, sizes[0], gone, sizes[1])
    return chi_p, degrees
