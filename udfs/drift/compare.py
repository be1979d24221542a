"""Tests one column of many windows at once: how much moved, and whether chance alone could have done it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from udfs.drift import null_distributions as nulls
from udfs.drift import statistics
from udfs.drift.params import JudgeSettings
from udfs.drift.statistics import Floats
from udfs.profile.counts import ColumnCounts, Ints, NumericCounts, cells, missing

Flags = npt.NDArray[np.bool_]
# Of fewer rows together no factor is told: which values a reference has once is chance.
_RARE_ROWS = 10
_TINY = 1e-300
_ENDS = (slice(1), slice(2), slice(-2, None), slice(-1, None))


@dataclass(frozen=True)
class Tests:
    """One column of S windows against S references or one: arrays (S,).

    `distance` is the effect in the values, `effect` the larger of it and the change of the missing rate.
    `known_n` and `now_n` are as how many rows those with a value count: rows near in time are alike.
    `tests` of 0 to 3 could reject. `ratio` is by what factor the share of the cell changed that changed most
    surely, `cell`, which is -1 for missing values; `ratio_p` is for the best of all cells.
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
    ratio: Floats
    ratio_p: Floats
    cell: Ints
    known_n: Floats
    now_n: Floats

    @property
    def variance(self) -> Floats:
        """Of a difference of shares of the values; 1 each where there are none."""
        return nulls.noise(np.maximum(self.now_n, 1), np.maximum(self.known_n, 1))

    def matters(self, settings: JudgeSettings) -> Flags:
        """Whether what moved is large: in all rows, or for values that are rare."""
        much = self.effect >= settings.min_effect
        if settings.min_ratio is None:
            return much
        return much | ((self.ratio >= settings.min_ratio) & (self.ratio_p <= settings.level))

    def visible(self, level: float) -> Floats:
        """The smallest effect that is sure to be significant at the level, wherever in the column it is."""
        each = level / np.maximum(self.tests, 1)
        usable = (self.n > 0) & (self.m > 0)
        variance = np.where(usable, self.variance, self.row_noise)
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

    def matters(self, settings: JudgeSettings) -> bool:
        return bool(self.tests.matters(settings)[self.index])


@dataclass(frozen=True)
class Alike:
    """The correlation of two rows of the reference, and of a window: one of all, or one for each test."""

    known: float | Floats = 0.0
    now: float | Floats = 0.0

    def effective(self, m: Ints | Floats, n: Ints | Floats) -> tuple[Floats, Floats]:
        """As how many independent rows m and n count."""
        return m / (1 + np.maximum(m - 1, 0) * self.known), n / (1 + np.maximum(n - 1, 0) * self.now)


INDEPENDENT = Alike()


def compare(
    before: Sequence[ColumnCounts],
    current: Sequence[ColumnCounts],
    alike: Alike = INDEPENDENT,
    design: ColumnCounts | None = None,
) -> Tests:
    """Test S windows of a column against as many references, or one; all on the same bins.

    `design` are the counts that the bins were made by: the first of `before`, if that is no other window.
    """
    numeric = isinstance(current[0], NumericCounts)
    p, q = (np.stack([cells(each) for each in side]) for side in (before, current))
    size = len(current)
    m, n = np.broadcast_to(p.sum(axis=1), size), q.sum(axis=1)
    lost, gone = (np.array([missing(each) for each in side]) for side in (before, current))
    lost = np.broadcast_to(lost, size)
    usable = (m > 0) & (n > 0)
    known_n, now_n = alike.effective(m, n)
    variance = nulls.noise(np.maximum(now_n, 1), np.maximum(known_n, 1))
    # Rao and Scott, "The analysis of categorical data from complex sample surveys" (JASA, 1981).
    fewer = np.maximum(variance / nulls.noise(np.maximum(n, 1), np.maximum(m, 1)), 1.0)
    single = not numeric
    if numeric:
        degrees = np.ones(size, dtype=np.int64)
        distance = np.where(usable, statistics.ks(p, q)[0], 0.0)
        # What moves far is seen by Kolmogorov and Smirnov, what is in a few bins only by the others.
        bins = cells(design or before[0])
        single = np.count_nonzero(bins) <= 1
        far_p = np.ones(size) if single else nulls.kolmogorov_p(distance, variance)
        values_p = np.where(usable, np.minimum(far_p, _bins_p(p, q, bins, fewer)), 1.0)
    else:
        chi_p, degrees = _categories_p(p, q, fewer)
        distance = np.where(usable, statistics.total_variation(p, q), 0.0)
        values_p = np.where(usable, chi_p, 1.0)
    every, rest = m + lost, n + gone
    pairs = list(zip(lost.tolist(), every.tolist(), gone.tolist(), rest.tolist(), strict=True))
    missing_p = np.array([_rate_p(pair, d) for pair, d in zip(pairs, fewer.tolist(), strict=True)])
    both = (every > 0) & (rest > 0)
    change = np.where(both, np.abs(gone / np.maximum(rest, 1) - lost / np.maximum(every, 1)), 0.0)
    # As many as could reject at all, also where nothing is missing: the level is then an upper bound.
    tests = usable.astype(np.int64) + (usable & (not single)) + (both & (m + n > 0))
    ratio, ratio_p, cell = _ratios(p, q, pairs, fewer)
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
        nulls.noise(np.maximum(rest, 1), np.maximum(every, 1)) * fewer,
        ratio,
        ratio_p,
        cell,
        known_n,
        now_n,
    )


def _bins_p(p: Ints, q: Ints, design: Ints, fewer: Floats) -> Floats:
    """Of χ² on groups of bins, and of the ends of the column, each at half of the level."""
    found = []
    for known, now, d in zip(np.broadcast_to(p, q.shape), q, fewer.tolist(), strict=True):
        value, degrees = statistics.grouped_chi2(known, now, design)
        inner = float(nulls.chi2_p(np.asarray(value / d), np.asarray(degrees)))
        halves = 2 if degrees else 1
        found.append(min(halves * inner, halves * _ends_p(known, now, d), 1.0))
    return np.array(found)


def _ends_p(known: Ints, now: Ints, fewer: float) -> float:
    """Of the rows below and above all of the reference, without and with its first and last bin.

    By exact tests, as the outer cells are empty because the reference ends there, and a last bin, that of a
    flag, may be rare: χ² is wrong for the one, and would not look at the other.
    """
    m, n = int(known.sum()), int(now.sum())
    counted = [(int(known[end].sum()), m, int(now[end].sum()), n) for end in _ENDS]
    return len(_ENDS) * min(_rate_p(each, fewer) for each in counted)


def _rate_p(counted: tuple[int, int, int, int], fewer: float) -> float:
    """Where so many rows count as one, by as many fewer."""
    hits, m, now, n = (each if fewer == 1 else round(each / fewer) for each in counted)
    return statistics.missing_p(min(hits, m), m, min(now, n), n)


def _ratios(
    p: Ints, q: Ints, missing_of: Sequence[tuple[int, int, int, int]], fewer: Floats
) -> tuple[Floats, Floats, Ints]:
    """Of the share that changed most surely the factor, how often chance does that, and the cell."""
    first, second = np.broadcast_arrays(p, q)
    m, n = first.sum(axis=1, keepdims=True), second.sum(axis=1, keepdims=True)
    both = (first + second) / np.maximum(m + n, 1)
    noise = both * (1 - both) * nulls.noise(np.maximum(m, 1), np.maximum(n, 1))
    change = np.abs(second / np.maximum(n, 1) - first / np.maximum(m, 1))
    known = (noise > 0) & (first + second >= _RARE_ROWS)
    sure = np.where(known, change / np.sqrt(np.where(noise > 0, noise, 1.0)), 0.0)
    # What one cell gains another loses, as surely: the rarer of them is what changed.
    nearly = sure >= 0.99 * sure.max(axis=1, keepdims=True)
    cells_of = np.where(nearly, change / np.maximum(both, _TINY), -1.0).argmax(axis=1)
    found = []
    for i, cell in enumerate(cells_of.tolist()):
        filled = int(((first[i] + second[i]) > 0).sum()) + 1
        there = int(first[i, cell]), int(m[i, 0]), int(second[i, cell]), int(n[i, 0])
        rates = ((there, cell), (missing_of[i], -1))
        options = [(_rate_p(each, float(fewer[i])), each, at) for each, at in rates]
        chance, counted, at = min(options, key=lambda option: option[0])
        factor = _factor(*counted) if counted[0] + counted[2] >= _RARE_ROWS else 1.0
        found.append((factor, min(chance * filled, 1.0), at))
    ratio, chances, at_cells = zip(*found, strict=True)
    return np.array(ratio), np.array(chances), np.array(at_cells)


def _factor(hits: int, m: int, now: int, n: int) -> float:
    """Up or down; a share of which no row is known is taken to be that of one."""
    if min(m, n) <= 0:
        return 1.0
    shares = max(hits, 1) / m, max(now, 1) / n
    return max(shares) / min(shares)


def _categories_p(p: Ints, q: Ints, fewer: Floats) -> tuple[Floats, Ints]:
    """The p of χ² and its degrees of freedom.

    Where all cells are pooled into one, as where a window is a thousand times as large as the reference,
    Fisher's exact test of the small ones together.
    """
    value, degrees, _ = statistics.chi2(p, q)
    chi_p = nulls.chi2_p(value / fewer, degrees)
    for i in np.flatnonzero(degrees == 0).tolist():
        known, now = p[min(i, len(p) - 1)], q[i]
        small = statistics.expected(known, now) < statistics.MIN_EXPECTED
        sizes = int(known.sum()), int(now.sum())
        if min(sizes) > 0 and not small.all():
            lost, gone = int(known[small].sum()), int(now[small].sum())
            chi_p[i] = _rate_p((lost, sizes[0], gone, sizes[1]), float(fewer[i]))
    return chi_p, degrees
