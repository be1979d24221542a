"""Tells how often chance alone makes a version look worse that is not: p values of counts.

Asked at each window anew, look k gets the part 1 / (k (k + 1)) of the error, so that all looks together
keep to it (`spent`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# An equal version is so much slower in at most this part of windows: a pause of the machine.
SLOW_WINDOWS = 0.1


def spent(error: float, look: int) -> float:
    """The part of an error for all looks that look 1, 2, … may make; the parts add up to it."""
    return error / (look * (look + 1))


def errors_p(errors: int, seen: int, champion_errors: int, champion_seen: int, design: float = 1.0) -> float:
    """One-sided, exact given how many errors there were: each is the version's by its share of the records.

    Przyborowski and Wilenski (1940), "Homogeneity of results in testing samples from Poisson series". Where
    `design` records count as one, by the effective numbers: Korn and Graubard, "Confidence intervals for
    proportions with small expected number of positive counts" (Survey Methodology, 1998).
    """
    total = errors + champion_errors
    if not errors or not champion_seen:
        return 1.0
    return _at_least(errors / design, total / design, seen / (seen + champion_seen))


def slow_p(slow: int, windows: int) -> float:
    """How often an equal version is too slow in so many windows of these."""
    return _at_least(slow, windows, SLOW_WINDOWS) if slow else 1.0


def _at_least(count: float, n: float, p: float) -> float:
    """P(X ≥ count) of a binomial X, as scipy.stats.binom.sf(count - 1, n, p)."""
    from scipy.special import betainc  # Start-up: scipy is slow to import.  # noqa: PLC0415

    return float(betainc(count, n - count + 1, p))


def score_drift(
    first: Sequence[int], second: Sequence[int], design: float = 1.0
) -> tuple[float | None, float | None]:
    """Kolmogorov-Smirnov distance of two histograms on the same bins, and its p; None where one is empty.

    By the asymptotic distribution, as scipy.stats.kstwobign; on bins it errs towards no difference. Where
    `design` records count as one, by the effective numbers.
    """
    n, m = sum(first), sum(second)
    if not n or not m:
        return None, None
    from scipy.special import kolmogorov  # Start-up: scipy is slow to import.  # noqa: PLC0415

    distance = float(np.abs(np.cumsum(first) / n - np.cumsum(second) / m).max())
    return distance, float(kolmogorov(distance * np.sqrt(n * m / (n + m) / design)))
