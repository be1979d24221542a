"""The bounds that binned statistics give of the unbinned ones, on 10,000 random cases."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from tests.helpers.columns import CASES, counts_of, draw, profile_of
from udfs.drift import statistics


def test_bounds_hold_the_unbinned_distances() -> None:
    """In units of the fixed point, whose rounding is less than 1 for each value."""
    random = np.random.default_rng(3)
    strict = 0
    for case in range(CASES // 10):
        known = draw(random, case, 60)
        reference, column = profile_of(known)
        before, exponent = column.as_counts(), column.fixed_point.exponent
        for _ in range(10):
            values = draw(random, case, int(random.integers(1, 50))) * random.choice([0.5, 1, 3])
            values += random.choice([0, 0.5, -2])
            counts = counts_of(reference, values)
            lower, upper = statistics.ks(before.counts, counts.counts)
            exact = stats.ks_2samp(known, values, method="asymp").statistic
            assert lower - 1e-12 <= exact <= upper + 1e-12
            assert counts.low is not None
            assert counts.high is not None
            ends = statistics.boundaries(np.array(column.edges), counts.low, counts.high)
            least, most = statistics.wasserstein(before, counts, statistics.fixed(ends, exponent))
            distance = math.ldexp(stats.wasserstein_distance(known, values), exponent)
            assert least - 2 <= distance <= most + 2
            strict += most - least < 0.2 * distance
    assert strict > CASES // 4
