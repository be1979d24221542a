"""The sequential detector: how long it stays silent without a change, and how soon it sees one."""

from __future__ import annotations

import numpy as np
import pytest

from udfs.drift.sequential import RankStep, SequentialSettings, SequentialState, advance, threshold
from udfs.profile.steps import UNIT, Ranks


def measured(settings: SequentialSettings, shift: float, runs: int, seed: int) -> float:
    """Mean steps to a signal of `runs` charts at once, by the same recursion as `step`."""
    random = np.random.default_rng(seed)
    limit, allowance = threshold(settings), settings.shift / 2
    up, down, steps = np.zeros(runs), np.zeros(runs), 0
    lengths: list[int] = []
    while len(up):
        steps += 1
        z = random.normal(shift, 1, len(up))
        up, down = np.maximum(up + z - allowance, 0), np.maximum(down - z - allowance, 0)
        going = np.maximum(up, down) <= limit
        lengths += [steps] * int((~going).sum())
        up, down = up[going], down[going]
    return float(np.mean(lengths))


@pytest.mark.parametrize(
    ("steps", "shift", "runs"),
    [
        (20, 1.0, 8_000),
        (500, 1.0, 4_000),
        (500, 0.5, 4_000),
        pytest.param(5_000, 2.0, 2_000, marks=pytest.mark.long),
    ],
)
def test_the_measured_run_length_is_the_set_one(steps: int, shift: float, runs: int) -> None:
    assert measured(SequentialSettings(steps, shift), 0.0, runs, seed=1) == pytest.approx(steps, rel=0.1)


@pytest.mark.parametrize(
    ("reference_rows", "values"), [(300, 30), pytest.param(5_000, 400, marks=pytest.mark.long)]
)
def test_the_run_length_in_hours_is_the_set_one_however_small_the_reference(
    reference_rows: int, values: int
) -> None:
    """Each run has a reference of its own: what the stream really is, a reference only resembles."""
    random = np.random.default_rng(5)
    settings = SequentialSettings(120 * 60 / 30)  # 120 h in steps of 30 minutes
    hours = []
    for _ in range(700):
        sample = np.rint(random.random(reference_rows) * UNIT).astype(np.int64)
        known = Ranks(sample[:0], reference_rows, int(sample.sum()), float(sample.std()))
        state, step = SequentialState(), 0
        while not state.open:
            total = round(float(random.random(values).sum()) * UNIT)
            state, _ = advance(state, settings, known, RankStep(step, step + 1, values, total))
            step += 1
        hours.append(step / 2)
    assert np.mean(hours) == pytest.approx(120, rel=0.1)


@pytest.mark.parametrize(("shift", "low", "high"), [(1.0, 8, 12), (0.5, 25, 45)])
def test_reaction_to_a_shift(shift: float, low: float, high: float) -> None:
    assert low < measured(SequentialSettings(500), shift, 4_000, seed=3) < high
