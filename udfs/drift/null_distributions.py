"""Gives p-values and thresholds of each statistic where chance alone moves n current and m reference rows.

Thresholds are those of a single test at the level: the correction for many tests is in `q` only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri, gammaincc, gammainccinv, kolmogi, kolmogorov, ndtr, ndtri

from udfs.drift import statistics
from udfs.drift.statistics import Floats, missing_p
from udfs.profile.counts import Ints

DRAWS = 2_000
FEW = 20
_SEED = 20130101
_REFERENCES = 1_024
_POINTS = 512


def noise(n: float | Floats | Ints, m: float | Floats | Ints) -> Floats:
    """1/n + 1/m: the variance of a difference of shares, relative to that of a single row; n, m > 0."""
    return np.asarray(1.0 / np.asarray(n) + 1.0 / np.asarray(m))


def kolmogorov_p(distance: Floats, variance: Floats) -> Floats:
    """P-values of the two-sample Kolmogorov-Smirnov distance, by its asymptotic null.

    Too large, never too small, for values with ties or in bins, and for small samples.
    """
    return np.asarray(kolmogorov(distance / np.sqrt(variance)))


def kolmogorov_threshold(level: Floats, variance: Floats) -> Floats:
    """The distance that has p = level, at most 1."""
    return np.asarray(np.minimum(kolmogi(level) * np.sqrt(variance), 1.0))


@dataclass(frozen=True)
class Scaled:
    """Gamma laws of value**power, one for each of S windows: arrays (S,) of shapes and scales."""

    shape: Floats
    scale: Floats
    power: int

    def p(self, value: Floats) -> Floats:
        return np.asarray(gammaincc(self.shape, value**self.power / self.scale))

    def threshold(self, level: float) -> Floats:
        return np.asarray((gammainccinv(self.shape, level) * self.scale) ** (1 / self.power))


@dataclass(frozen=True)
class CellNull:
    """Under no change value**power is about unit · variance · χ², a sum over the cells of f(p, q).

    That is the second order of f around p = q. `third` and `fourth` are its next derivatives times p² and p³
    over the unit; they correct the mean. `beyond` is f(0, q). With few rows per cell the null is too narrow:
    below `FEW` expected ones `small_sample_nulls` are right.
    """

    unit: float
    power: int
    third: float
    fourth: float
    beyond: Callable[[Floats], Floats]

    def of(self, counts: tuple[int, ...], open_ended: bool, n: Ints) -> Scaled:
        """The null of windows of n rows, (S,). `open_ended` as in `small_sample_nulls`."""
        m = sum(counts)
        p, variance = np.array(counts) / m, noise(n, m)
        degrees = max(len(counts) - 1, 1)
        # The window's true shares have the Dirichlet distribution of the reference: these are the third
        # central moments of its shares, and three squared variances for the fourth.
        skewed = (1 / n + 2 / m) * float(np.sum((1 - p) * (1 - 2 * p) / p))
        peaked = variance * float(np.sum((1 - p) ** 2 / p))
        mean = degrees + self.third / 6 * skewed + self.fourth / 8 * peaked
        spread = 2 * mean**2 / degrees
        if open_ended:
            outer = self.beyond(_beyond(n, m) / n[:, None]) / (self.unit * variance[:, None])
            mean, spread = mean + 2 * outer.mean(axis=1), spread + 2 * outer.var(axis=1)
        return Scaled(mean**2 / spread, self.unit * variance * spread / mean, self.power)


def _psi_beyond(q: Floats) -> Floats:
    filled = np.where(q > 0, q, statistics.ZERO_CELL)
    return np.asarray((filled - statistics.ZERO_CELL) * np.log(filled / statistics.ZERO_CELL))


def _half(q: Floats) -> Floats:
    return q / 2


def _beyond(n: Ints, m: int) -> Floats:
    """(S, points) equally likely numbers of n rows beyond one extreme of m others, geometrically."""
    points = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.asarray(np.floor(np.log(points) / np.log(n / (n + m))[:, None]))


PSI = CellNull(1.0, 1, -3.0, 8.0, _psi_beyond)
JENSEN_SHANNON = CellNull(1 / (8 * math.log(2)), 2, -3.0, 7.0, _half)
HELLINGER = CellNull(1 / 8, 2, -3.0, 7.5, _half)
CELL_STATISTICS = (
    ("psi", statistics.psi, PSI),
    ("jensen_shannon", statistics.jensen_shannon, JENSEN_SHANNON),
    ("hellinger", statistics.hellinger, HELLINGER),
)


def chi2_p(value: Floats, degrees: Ints) -> Floats:
    """Without degrees of freedom 1."""
    return np.asarray(np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), value), 1.0))


def chi2_threshold(level: Floats, degrees: Ints) -> Floats:
    """The χ² that has p = level."""
    return np.asarray(chdtri(np.maximum(degrees, 1), level))


def normal_p(difference: float, error: float) -> float:
    """Two-sided; without any error p = 1 for no difference, else 0."""
    if error <= 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * ndtr(-abs(difference) / error))


def normal_threshold(level: float, error: float) -> float:
    """The absolute difference that has p = level."""
    return float(-ndtri(level / 2) * error)


@lru_cache(maxsize=_REFERENCES)
def missing_threshold(reference_missing: int, m: int, n: int, level: float) -> float:
    """About the smallest missing rate above the reference's that has p <= level; 1 if none has."""
    rate = reference_missing / m
    expected = rate * n
    if expected >= 10:
        return min(rate + math.sqrt(float(chdtri(1, level)) * rate * (1 - rate) * (1 / n + 1 / m)), 1.0)
    low, high = math.floor(expected), n
    while high - low > 1:
        middle = min((low + high) // 2, 2 * low + 4)
        significant = missing_p(reference_missing, m, middle, n) <= level
        low, high = (low, middle) if significant else (middle, high)
    return high / n


@dataclass(frozen=True)
class DrawnNull:
    """Increasing draws of value**power / variance. p is at least 1 / 2001, the resolution of the draws."""

    draws: Floats
    power: int

    def p(self, value: float, variance: float) -> float:
        index = int(np.searchsorted(self.draws, value**self.power / variance, side="left"))
        return (len(self.draws) - index + 1) / (len(self.draws) + 1)

    def threshold(self, level: float, variance: float) -> float:
        index = min(math.ceil((1 - level) * len(self.draws)), len(self.draws)) - 1
        return float((self.draws[index] * variance) ** (1 / self.power))


@lru_cache(maxsize=_REFERENCES)
def l_infinity_null(counts: tuple[int, ...]) -> DrawnNull:
    """The largest change of a share, by the normal limit of the multinomial distribution."""
    return DrawnNull(np.sort(np.abs(_multinomial_noise(counts)).max(axis=1) ** 2), 2)


@lru_cache(maxsize=_REFERENCES)
def wasserstein_null(counts: tuple[int, ...], widths: tuple[float, ...]) -> DrawnNull:
    """∫|F-G| in the unit of the widths, by a Brownian bridge that is straight within the bins."""
    bridge = np.cumsum(_multinomial_noise(counts), axis=1)
    ends = np.abs(np.pad(bridge[:, :-1], ((0, 0), (1, 1))))
    return DrawnNull(np.sort(((ends[:, :-1] + ends[:, 1:]) @ np.array(widths) / 2) ** 2), 2)


def coarse(n: int) -> int:
    """Rounds n down to four binary digits, so that windows of about one size share a null."""
    shift = max(n.bit_length() - 4, 0)
    return n >> shift << shift


def is_small(counts: tuple[int, ...], n: int) -> bool:
    """Fewer than 20 rows in some cell of the reference, or expected of the n; empty cells are left out."""
    least = min(counts, default=0)
    return 0 < n * least < FEW * sum(counts) or (n > 0 and 0 < least < FEW)


@lru_cache(maxsize=_REFERENCES)
def small_sample_nulls(counts: tuple[int, ...], open_ended: bool, n: int) -> dict[str, DrawnNull]:
    """PSI, Jensen-Shannon, Hellinger and L∞ of n rows, few of them expected per cell, in any order.

    The window's true shares are drawn from the Dirichlet distribution of the reference's m rows, and its rows
    from those. `open_ended`: the cells are bins between the reference's extremes, and some rows fall beyond.
    """
    random = np.random.default_rng(_SEED)
    reference = np.array([0, *counts, 0] if open_ended else counts)
    # The order statistics of m rows leave 1 / (m + 1) on average beyond each extreme.
    true = random.dirichlet(np.maximum(reference, 1), size=DRAWS)
    current = random.multinomial(n, true)
    variance = noise(n, sum(counts))
    known = [(name, function, null.power) for name, function, null in CELL_STATISTICS]
    return {
        name: DrawnNull(np.sort(function(reference, current) ** power / variance), power)
        for name, function, power in (*known, ("l_infinity", statistics.l_infinity, 2))
    }


def benjamini_hochberg(p: Sequence[float]) -> Floats:
    """q-values: the level of false discoveries at which each test becomes one (Benjamini, Hochberg 1995)."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    ranked = values[order] * len(values) / np.arange(1, len(values) + 1)
    q = np.empty(len(values))
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q


def _multinomial_noise(counts: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """(draws, cells) normal values with the covariance of one row's cells, diag(p) − p pᵀ; seeded."""
    p = np.array(counts, dtype=np.float64) / max(sum(counts), 1)
    normal = np.random.default_rng(_SEED).standard_normal((DRAWS, len(p))) * np.sqrt(p)
    result: Floats = normal - p * normal.sum(axis=1, keepdims=True)
    return result
