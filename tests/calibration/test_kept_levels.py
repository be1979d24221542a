"""The level of single columns where references or windows are small, and far apart in size."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from tests.bench.promises import Draw, flag, is_drift, known, missing, normal, spike, wide_tail

RUNS = 300


def rounded(random: np.random.Generator, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A few values, each in many rows."""
    return np.round(random.normal(size=n), 1)


@pytest.mark.parametrize(
    ("draw", "rows"),
    [
        (normal, 300),
        (normal, 1_000),
        (normal, 10_000),
        (rounded, 1_000),
        (rounded, 10_000),
        (flag(0.01), 10_000),
        (missing(0.01), 10_000),
    ],
    ids=["300", "1,000", "10,000", "ties of 1,000", "ties of 10,000", "flag", "missing"],
)
def test_the_level_holds_at_each_size(draw: Draw, rows: int) -> None:
    """χ² on 64 bins called 2.6% of windows of 5,000 drift, with 500 reference rows, at a third of 1%."""
    false: Counter[int] = Counter()
    for run in range(RUNS):
        random = np.random.default_rng([run, rows, 31])
        reference = known(draw(random, rows))
        for n in (200, 500, 1_000, 5_000):
            false[n] += is_drift(reference, draw(random, n))
    assert max(false.values()) <= binom.ppf(0.999, RUNS, 0.01)


@pytest.mark.parametrize("after", [wide_tail, spike], ids=["5% spread three times as far", "1% at 6 σ"])
def test_what_is_rare_is_seen_in_few_rows(after: Draw) -> None:
    """By the rows beyond the reference's extremes; Kolmogorov-Smirnov sees neither in 20,000."""
    found = 0
    for run in range(200):
        random = np.random.default_rng([run, 32])
        found += is_drift(known(normal(random, 10_000)), after(random, 1_000))
    assert found >= 170
