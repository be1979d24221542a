"""How often the joint score calls drift where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import binom

from tests.helpers.joint_draws import LEVEL, lognormal, named, normal, reference, student
from udfs.drift.correlations import judge_joint
from udfs.profile.joint import joint_counts


@pytest.mark.parametrize("draw", [normal, lognormal, student])
@pytest.mark.parametrize("n", [200, pytest.param(1_000, marks=pytest.mark.long), 5_000])
def test_false_alarms_are_as_many_as_the_level_says(draw: Any, n: int) -> None:
    runs, rows = 300, 10_000
    random = np.random.default_rng(n)
    base = reference(draw)
    places = np.array(base.mean)[:, None], np.array(base.scale)[:, None]
    alarms = 0
    for _ in range(runs):
        correlation = np.corrcoef(np.clip((draw(random, rows) - places[0]) / places[1], -8, 8))
        fresh = msgspec.structs.replace(base, correlation=np.clip(correlation, -1, 1).tolist())
        alarms += judge_joint(fresh, joint_counts(fresh, named(draw(random, n))), LEVEL).verdict == "drift"
    # One in 10,000 by chance.
    assert alarms <= binom.isf(1e-4, runs, LEVEL)


@pytest.mark.parametrize("draw", [normal, student])
def test_p_is_about_uniform(draw: Any) -> None:
    random = np.random.default_rng(5)
    base = reference(draw)
    p = [judge_joint(base, joint_counts(base, named(draw(random, 300))), LEVEL).p for _ in range(400)]
    shares = np.mean(np.array(p)[:, None] <= [0.1, 0.5], axis=0)
    np.testing.assert_allclose(shares, [0.1, 0.5], atol=0.08)
