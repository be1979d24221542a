"""How often the joint score calls drift where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from tests.helpers.joint_draws import LEVEL, lognormal, named, normal, reference, student
from udfs.drift.correlations import judge_joint
from udfs.profile.joint import joint_counts, joint_reference, parse_joint


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


@pytest.mark.parametrize("n", [500, pytest.param(2_000, marks=pytest.mark.long)])
def test_rows_that_are_like_their_neighbours_count_as_fewer(n: int) -> None:
    """AR(1) .9 in three of four columns, a row a minute: half of all windows were drift."""

    def waves(random: np.random.Generator, rows: int) -> Any:
        noise = random.normal(size=(4, rows + 500))
        noise[:3] = lfilter([1], [1, -0.9], noise[:3], axis=1)
        noise[1] += noise[0]
        return noise[:, 500:]

    random, rows, runs = np.random.default_rng(n), 10_000, 200
    made = joint_reference(named(waves(random, rows)), 0, np.arange(rows) * 60_000)
    assert made is not None
    base, alarms, before = parse_joint(made), 0, 0
    places = np.array(base.mean)[:, None], np.array(base.scale)[:, None]
    for _ in range(runs):
        correlation = np.corrcoef(np.clip((waves(random, rows) - places[0]) / places[1], -8, 8))
        fresh = msgspec.structs.replace(base, correlation=np.clip(correlation, -1, 1).tolist())
        counts = joint_counts(fresh, named(waves(random, n)))
        alarms += judge_joint(fresh, counts, LEVEL, n * 60_000).verdict == "drift"
        before += judge_joint(msgspec.structs.replace(fresh, blocks=[]), counts, LEVEL).verdict == "drift"
    assert alarms <= binom.isf(1e-4, runs, LEVEL)
    assert before > 0.2 * runs
