"""Intervals of metrics hold the truth as often as they say."""

from __future__ import annotations

import numpy as np

from flink_jobs.backtest.intervals import Draws, compare_metrics
from flink_jobs.backtest.outputs import Predictions


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Errors that come in blocks, as storms do: drawing rows alone would give intervals far too narrow."""
    held, trials, count, size = 0, 200, 60, 20
    blocks = np.repeat(np.arange(count, dtype=np.int64), size)
    for trial in range(trials):
        draw = np.random.default_rng(1_000 + trial)
        truth = np.zeros(count * size)
        shared = np.repeat(draw.normal(0, 1, count), size)
        a, b = (shared + draw.normal(mean, 1, count * size) for mean in (0.0, 0.5))
        said_a, said_b = (Predictions("regression", each, each) for each in (a, b))
        compared = compare_metrics(truth, said_a, said_b, blocks, Draws(resamples=300))
        (found,) = (each for each in compared if each.name == "bias")
        held += (found.a.low or 0) <= 0 <= (found.a.high or 0)
        assert (found.difference.low or 0) > 0.3
    assert 0.90 <= held / trials <= 0.98
