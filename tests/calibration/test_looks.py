"""The gate of a canary, looked at often: how often it is wrong."""

from __future__ import annotations

import numpy as np

from tests.bench.gate import Plan, World, follow


def test_looks_at_each_of_288_windows_cost_nothing() -> None:
    """Nor does a canary that is a fifth worse get through one of them."""
    world = World(5)
    random = np.random.default_rng(6)
    champion, equal, worse = world.version(0), world.version(1), world.version(2, 0.2)
    same = [follow(Plan("", 0.0, records=200), champion, equal, random) for _ in range(6)]
    assert [run.failed for run in same] == [None] * 6
    bad = [follow(Plan("", 0.2), champion, worse, random) for _ in range(20)]
    assert [run.passed for run in bad] == [None] * 20
    assert all(run.failed for run in bad)
