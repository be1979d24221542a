"""The sequential detector: how often it is wrong, how soon it is right."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from udfs.drift.sequential import (
    Change,
    SequentialSettings,
    SequentialState,
    run_length,
    score,
    step,
    threshold,
)


def run(
    values: list[float | None], settings: SequentialSettings, state: SequentialState | None = None
) -> tuple[SequentialState, list[Change]]:
    state, changes = state or SequentialState(), []
    for z in values:
        state, change = step(state, settings, z)
        changes += [change] if change else []
    return state, changes


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


def test_published_run_lengths() -> None:
    """Two-sided, allowance 0.5: Montgomery, Introduction to Statistical Quality Control, table 9.3."""
    assert run_length(0.5, 4) == pytest.approx(168, rel=0.005)
    assert run_length(0.5, 5) == pytest.approx(465, rel=0.005)


@pytest.mark.parametrize(
    ("steps", "shift", "runs"), [(20, 1.0, 8_000), (500, 1.0, 4_000), (500, 0.5, 4_000), (5_000, 2.0, 2_000)]
)
def test_the_measured_run_length_is_the_set_one(steps: int, shift: float, runs: int) -> None:
    assert measured(SequentialSettings(steps, shift), 0.0, runs, seed=1) == pytest.approx(steps, rel=0.1)


def test_step_signals_as_the_vectorized_recursion() -> None:
    settings = SequentialSettings(50)
    random = np.random.default_rng(2)
    _, changes = run(random.normal(size=20_000).tolist(), settings)
    assert 20_000 / len(changes) == pytest.approx(50, rel=0.15)


@pytest.mark.parametrize(("shift", "low", "high"), [(1.0, 8, 12), (0.5, 25, 45)])
def test_reaction_to_a_shift(shift: float, low: float, high: float) -> None:
    assert low < measured(SequentialSettings(500), shift, 4_000, seed=3) < high


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_tells_since_when_and_where_to(sign: int) -> None:
    settings = SequentialSettings(1_000)
    state, changes = run([0.0] * 30 + [sign * 1.5] * 6, settings)
    assert [(change.direction, change.since, change.step) for change in changes] == [
        ("up" if sign > 0 else "down", 30, 36)
    ]
    assert changes[0].value == pytest.approx(6.0)
    assert changes[0].value > changes[0].threshold == threshold(settings)
    assert state == SequentialState()


def test_steps_without_a_score_are_skipped() -> None:
    settings = SequentialSettings(1_000)
    with_gaps, changes = run([1.0, None, 1.0, None], settings)
    without, _ = run([1.0, 1.0], settings)
    assert (with_gaps.up, with_gaps.down) == (without.up, without.down)
    assert (with_gaps.steps, changes) == (4, [])


def test_a_state_survives_as_json() -> None:
    settings = SequentialSettings(100)
    values: list[float | None] = list(np.random.default_rng(4).normal(size=400).tolist())
    half, first = run(values[:200], settings)
    restored = msgspec.json.decode(msgspec.json.encode(half), type=SequentialState)
    assert first + run(values[200:], settings, restored)[1] == run(values, settings)[1] != []


def test_score_counts_the_error_of_the_reference() -> None:
    assert score(100, 150.0, mean=1.0, std=2.0, rows=100) == pytest.approx(0.5 / (2 * math.sqrt(0.02)))
    random = np.random.default_rng(5)
    scores = [
        score(50, random.normal(size=50).sum(), means, 1.0, 60)
        for means in random.normal(size=(2_000, 60)).mean(axis=1)
    ]
    assert np.std(np.array(scores, dtype=float)) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("n", "std", "rows"), [(0, 1.0, 9), (1, 1.0, 9), (5, 0.0, 9), (5, 1.0, 0)])
def test_nothing_to_compare_is_no_score(n: int, std: float, rows: int) -> None:
    assert score(n, 3.0, 0.0, std, rows) is None


def test_scores_are_finite() -> None:
    assert score(2, 1e308, -1e308, 1e-320, 10) == 100.0
    assert score(2, -1e308, 1e308, 1e-320, 10) == -100.0


@pytest.mark.parametrize(("steps", "shift"), [(19, 1.0), (100_001, 1.0), (math.nan, 1.0), (100, 0.0)])
def test_settings_out_of_range_are_errors(steps: float, shift: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        SequentialSettings(steps, shift)
