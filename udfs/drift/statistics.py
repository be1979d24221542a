"""Computes drift statistics of counts: how far the current cells are from the reference's.

>>> float(psi(np.array([50, 50]), np.array([30, 70])).round(4))
0.1695

Cells run along the last axis, the reference comes first; other axes broadcast, so that one call serves many
windows. Cells of numbers: below the reference's range, its bins, above; of categories: values, OTHER, UNSEEN.
Each side must have at least one row, else the result says nothing: callers leave it out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, gammaln, rel_entr

from udfs.profile.counts import Ints, NumericCounts

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

# As Evidently does, so that values can be compared.
ZERO_CELL = 1e-4
MIN_EXPECTED = 5.0
# Below this expected count the chi-square law is too far off in the tails that many columns need.
_EXACT_BELOW = 100.0
# With fewer reference rows in a bin that was made of them, χ² is too wide where windows are larger.
MIN_GROUP = 20.0
LARGEST_FIXED = 2**40


def shares(counts: Ints) -> Floats:
    """Counts as shares of their sum; zeros where there is none."""
    result: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return result


def psi(reference: Ints, current: Ints) -> Floats:
    """Population stability index, Σ(q−p)·ln(q/p), natural logarithm; empty cells count as 1e-4."""
    p, q = shares(reference), shares(current)
    p, q = np.where(p == 0, ZERO_CELL, p), np.where(q == 0, ZERO_CELL, q)
    return _sum((q - p) * np.log(q / p))


def jensen_shannon(reference: Ints, current: Ints) -> Floats:
    """Jensen-Shannon distance, base 2: 0 to 1, the square root of the divergence."""
    p, q = shares(reference), shares(current)
    middle = (p + q) / 2
    divergence = _sum(rel_entr(p, middle) + rel_entr(q, middle)) / (2 * math.log(2))
    return np.asarray(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def hellinger(reference: Ints, current: Ints) -> Floats:
    """√(1 − Σ√(pq)), 0 to 1, computed as √(½Σ(√p−√q)²), which does not cancel."""
    p, q = shares(reference), shares(current)
    return np.asarray(np.sqrt(np.minimum(_sum((np.sqrt(p) - np.sqrt(q)) ** 2) / 2, 1.0)))


def l_infinity(reference: Ints, current: Ints) -> Floats:
    """The largest change of a share."""
    result: Floats = np.abs(shares(current) - shares(reference)).max(axis=-1, initial=0.0)
    return result


def total_variation(reference: Ints, current: Ints) -> Floats:
    """Half the sum of the changes of the shares: the share of the rows that moved to other cells."""
    return _sum(np.abs(shares(current) - shares(reference))) / 2


def ks(reference: Ints, current: Ints) -> tuple[Floats, Floats]:
    """Bounds of the Kolmogorov-Smirnov distance of the unbinned values.

    The largest |F−G| at the cells' edges, and the largest that any order within the cells allows.
    """
    p, q = shares(reference), shares(current)
    after = np.cumsum(p - q, axis=-1)
    before = after - (p - q)
    lower = np.abs(after).max(axis=-1)
    upper = np.maximum(before + p, q - before).max(axis=-1)
    return np.minimum(lower, 1.0), np.clip(upper, lower, 1.0)


def chi2(reference: Ints, current: Ints) -> tuple[Floats, Ints, Floats]:
    """Two-sample χ² (value, degrees of freedom, p), as `scipy.stats.chi2_contingency` without correction.

    Cells with an expected count below 5 on either side are pooled, one after the other, to groups of at least
    5; a rest below 5 joins the smallest group. With one cell left value 0, 0 degrees, p = 1.
    """
    first, second = pooled(reference, current)
    m, n = first.sum(axis=-1, keepdims=True), second.sum(axis=-1, keepdims=True)
    both = first + second
    # For two rows: the sum of (a·n - b·m)² / (n·m·(a+b)).
    squared = (first * n - second * m) ** 2 / np.maximum(both * n * m, 1.0)
    degrees = np.maximum((both > 0).sum(axis=-1) - 1, 0)
    value = np.where(degrees > 0, _sum(squared), 0.0)
    return value, degrees, np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), value), 1.0)


def expected(reference: Ints | Floats, current: Ints | Floats) -> Floats:
    """Of each cell the rows that the smaller side has without any difference."""
    smaller = np.minimum(reference.sum(axis=-1), current.sum(axis=-1))[..., None]
    total = reference + current
    result: Floats = total * (smaller / np.maximum(total.sum(axis=-1, keepdims=True), 1.0))
    return result


def pooled(reference: Ints, current: Ints) -> tuple[Floats, Floats]:
    """The cells after pooling: each group's sum stands in its last cell, and zeros in the others."""
    first, second = np.broadcast_arrays(reference.astype(np.float64), current.astype(np.float64))
    least = expected(first, second)
    kept = least >= MIN_EXPECTED
    result = np.where(kept, first, 0.0), np.where(kept, second, 0.0)
    open_group = np.zeros((3, *least.shape[:-1]))
    pooling = np.flatnonzero((~kept).any(axis=tuple(range(kept.ndim - 1))))
    for cell in pooling.tolist():
        small = np.stack([least[..., cell], first[..., cell], second[..., cell]])
        open_group = open_group + np.where(kept[..., cell], 0.0, small)
        closes = open_group[0] >= MIN_EXPECTED
        for side, pool in zip(result, open_group[1:], strict=True):
            side[..., cell] += np.where(closes, pool, 0.0)
        open_group = np.where(closes, 0.0, open_group)
    # What is left joins the smallest group; alone it is the only one.
    both = result[0] + result[1]
    smallest = np.argmin(np.where(both > 0, both, np.inf), axis=-1)[..., None]
    joins = np.arange(both.shape[-1]) == smallest
    return result[0] + joins * open_group[1][..., None], result[1] + joins * open_group[2][..., None]


def grouped_chi2(reference: Ints, current: Ints, design: Ints) -> tuple[float, int]:
    """Two-sample χ² (value, degrees of freedom) of one window, of neighbouring cells in groups.

    Groups have at least `MIN_GROUP` expected rows on the smaller side by the counts `design`, which are not
    the window's: of groups by what came, those that moved the most are left apart. One group: 0, 0.
    """
    m, n, rows = int(reference.sum()), int(current.sum()), int(design.sum())
    if not (m and n and rows):
        return 0.0, 0
    places = _groups(design.tolist(), MIN_GROUP * rows / min(m, n))
    first, second = (np.bincount(places, weights=side) for side in (reference, current))
    both = first + second
    squared = (first * n - second * m) ** 2 / np.maximum(both * n * m, 1.0)
    degrees = max(int((both > 0).sum()) - 1, 0)
    return (float(squared.sum()), degrees) if degrees else (0.0, 0)


def _groups(design: Sequence[int], least: float) -> list[int]:
    """The group of each cell; what is left at the end joins the last."""
    places, group, inside = [], 0, 0
    for count in design:
        if inside >= least:
            group, inside = group + 1, 0
        places.append(group)
        inside += count
    last = max(group - (inside < least), 0)
    return [min(place, last) for place in places]


def missing_p(reference_missing: int, m: int, missing: int, n: int) -> float:
    """The p that the rates missing/n and reference_missing/m are the same.

    Fisher's exact test, two-sided, or the two-sample χ² where each expected count is at least 100.
    """
    total = reference_missing + missing
    if min(m, n, total, m + n - total) <= 0:
        return 1.0
    if min(m, n) * min(total, m + n - total) >= _EXACT_BELOW * (m + n):
        difference = float(missing * m - reference_missing * n)
        value = difference**2 * (m + n) / (float(m) * n * total * (m + n - total))
        return float(chdtrc(1, value))
    return _fisher(missing, n, m, total)


def moments(counts: NumericCounts, exponent: int, center: float = 0.0) -> tuple[float, float] | None:
    """Mean and standard deviation (ddof 0) of the finite values, from exact sums in fixed point.

    None without values, or where they are beyond what a float holds.
    """
    n, total = counts.n, int(counts.sums.sum())
    if not n:
        return None
    with np.errstate(over="ignore"):
        mean = center + float(np.ldexp(total / n, -exponent))
        std = float(np.ldexp(math.sqrt(max(n * counts.squares - total * total, 0)) / n, -exponent))
    return (mean, std) if math.isfinite(mean) and math.isfinite(std) else None


def boundaries(edges: Floats, low: float, high: float) -> Floats:
    """The K+3 ends of the cells: `low` and `high` are the ends of the outer ones, if beyond the edges.

    One edge, a constant column, is a cell of no width; without edges all are above.
    """
    if not len(edges):
        return np.array([low, low, high])
    inner = edges if len(edges) > 1 else np.repeat(edges, 2)
    return np.concatenate([[min(low, inner[0])], inner, [max(high, inner[-1])]])


def fixed(values: Floats, exponent: int, center: float = 0.0) -> Floats:
    """Values in fixed point as they are counted: whole numbers, clipped to ±2**40."""
    with np.errstate(over="ignore"):
        scaled = np.rint(np.ldexp(values - center, exponent))
    result: Floats = np.clip(scaled, -LARGEST_FIXED, LARGEST_FIXED)
    return result


def single_valued(counts: NumericCounts, starts: Floats) -> Flags:
    """Which cells hold nothing but values at their start; `starts` are `fixed`."""
    at_start = counts.counts.astype(object) * np.array([int(value) for value in starts], dtype=object)
    return np.asarray(counts.sums == at_start, dtype=np.bool_)


def wasserstein(reference: NumericCounts, current: NumericCounts, ends: Floats) -> tuple[float, float]:
    """Bounds of ∫|F−G| in units of the fixed point; `ends` are the cells' `boundaries`, `fixed`.

    Exact in cells where F−G cannot change its sign, since its integral follows from the sums; elsewhere the
    upper bound is the largest that this integral and the two masses allow.
    """
    p, q = shares(reference.counts), shares(current.counts)
    width = np.diff(ends)
    start = np.cumsum(p - q) - (p - q)
    to_end = [_distances(side, ends[1:]) for side in (reference, current)]
    area = start * width + to_end[0] - to_end[1]
    lowest, highest = start - q, start + p
    span = np.where(highest > lowest, highest - lowest, 1.0)
    overlap = np.clip((area - lowest * width) / span, 0.0, width)
    bent = overlap * np.maximum(highest, 0.0) + (width - overlap) * np.maximum(-lowest, 0.0)
    crossing = (lowest < 0) & (highest > 0)
    exact = np.abs(area)
    # F and G each add at most their own area to that of the difference at the cell's start, or end.
    from_start = np.abs(start) * width + to_end[0] + to_end[1]
    from_end = np.abs(start + p - q) * width + (p + q) * width - to_end[0] - to_end[1]
    limit = np.minimum(bent, np.minimum(from_start, from_end))
    upper = np.where(crossing, np.maximum(limit, exact), exact)
    return float(exact.sum()), float(upper.sum())


def quantiles(
    counts: NumericCounts, ends: Floats, probabilities: Floats, single: Flags | None = None
) -> Floats:
    """Quantiles by linear interpolation within the cells, between the smallest and the largest value.

    `single` cells have one value, which is their start.
    """
    below = np.concatenate([[0], np.cumsum(counts.counts)])
    filled = np.concatenate([[True], np.diff(below) > 0])
    starts = ends[:-1][filled[1:]]
    cells = np.searchsorted(below[filled][1:], probabilities * counts.n, side="left")
    cells = np.minimum(cells, len(starts) - 1)
    left, right = below[filled][cells], below[filled][cells + 1]
    inside = (probabilities * counts.n - left) / (right - left)
    if single is not None:
        inside = np.where(single[filled[1:]][cells], 0.0, inside)
    begin, stop = starts[cells], ends[1:][filled[1:]][cells]
    values = begin * (1 - inside) + stop * inside
    result: Floats = np.clip(values, counts.low, counts.high)
    return result


def _distances(counts: NumericCounts, upper: Floats) -> Floats:
    """Σ (end − x) / n per cell, in fixed point: exact integers until the division."""
    ends = np.array([int(value) for value in upper], dtype=object)
    distance: Objects = counts.counts.astype(object) * ends - counts.sums
    return distance.astype(np.float64) / max(counts.n, 1)


def _fisher(hits: int, n: int, m: int, total: int) -> float:
    """Sum of the hypergeometric probabilities that are not above the one observed."""
    possible = np.arange(max(0, total - m), min(n, total) + 1)
    logs = -(
        gammaln(possible + 1)
        + gammaln(total - possible + 1)
        + gammaln(n - possible + 1)
        + gammaln(m - total + possible + 1)
    )
    weights = np.exp(logs - logs.max())
    observed = weights[hits - possible[0]]
    return min(float(weights[weights <= observed * (1 + 1e-7)].sum() / weights.sum()), 1.0)


def _sum(values: Floats) -> Floats:
    result: Floats = np.asarray(values.sum(axis=-1))
    return result
