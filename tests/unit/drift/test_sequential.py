"""The sequential detector: how often it is wrong, how soon it is right."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from udfs.drift.sequential import (
    Change,
    RankStep,
    SequentialSettings,
    SequentialState,
    advance,
    run_length,
    score,
    threshold,
)
from udfs.profile.steps import UNIT, Ranks

SURE = Ranks(np.zeros(2, dtype=np.int64), 10**12, 10**12 * UNIT // 2, 0.3 * UNIT)
HOUR = 3_600_000


def run(
    values: list[float], settings: SequentialSettings, state: SequentialState | None = None, first: int = 0
) -> tuple[SequentialState, list[tuple[int, Change]]]:
    """Steps of an hour and 100 values each, whose means have these z against a reference that is sure."""
    state, changes = state or SequentialState(), []
    for hour, z in enumerate(values, first):
        total = round(100 * (UNIT / 2 + z * 0.03 * UNIT))
        state, change = advance(state, settings, SURE, RankStep(hour * HOUR, (hour + 1) * HOUR, 100, total))
        changes += [(hour, change)] if change else []
    return state, changes


def test_published_run_lengths() -> None:
    """Two-sided, allowance 0.5: Montgomery, Introduction to Statistical Quality Control, table 9.3."""
    assert run_length(0.5, 4) == pytest.approx(168, rel=0.005)
    assert run_length(0.5, 5) == pytest.approx(465, rel=0.005)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_tells_since_when_and_where_to_and_is_over_when_it_is(sign: int) -> None:
    settings = SequentialSettings(1_000)
    state, changes = run([0.0] * 30 + [sign * 1.5] * 40 + [0.0] * 30, settings)
    (fired, change), (ended, over) = changes
    assert (fired, change.began, change.since) == (35, True, 30 * HOUR)
    assert change.direction == over.direction == ("up" if sign > 0 else "down")
    assert change.value == pytest.approx(6.0)
    assert change.value > change.threshold == threshold(settings)
    assert change.effect == pytest.approx(1.5 * 0.03, rel=1e-3)
    assert not over.began
    assert 70 < ended < 82
    assert not state.open


def test_a_change_that_goes_on_stays_open() -> None:
    _, changes = run([0.0] * 30 + [1.5] * 3_000, SequentialSettings(1_000))
    assert [change.began for _, change in changes] == [True]


def test_the_end_of_a_large_change_is_seen_soon() -> None:
    _, changes = run([0.0] * 30 + [6.0] * 40 + [0.0] * 30, SequentialSettings(10_000))
    assert [(hour, change.began) for hour, change in changes] == [(31, True), (72, False)]


def test_what_is_too_small_to_matter_is_no_signal() -> None:
    settings = SequentialSettings(1_000, min_effect=0.05)
    assert run([0.0] * 30 + [1.5] * 40, settings)[1] == []
    assert len(run([0.0] * 30 + [3.0] * 40, settings)[1]) == 1


def test_few_values_wait_for_more() -> None:
    settings = SequentialSettings(1_000)
    state = SequentialState()
    for start in range(3):
        state, _ = advance(state, settings, SURE, RankStep(start, start + 1, 8, 5 * UNIT))
        if start < 2:
            assert (state.up.value, state.waiting[0]) == (0.0, 8 * (start + 1))
    assert state.up.since == 0
    assert (state.waiting, state.past) == ((0, 0), (24, 15 * UNIT))


def test_a_state_survives_as_json() -> None:
    settings = SequentialSettings(100)
    values = list(np.random.default_rng(4).normal(size=600).tolist())
    half, first = run(values[:300], settings)
    restored = msgspec.json.decode(msgspec.json.encode(half), type=SequentialState)
    assert first + run(values[300:], settings, restored, 300)[1] == run(values, settings)[1] != []


def test_nothing_to_compare_is_no_score() -> None:
    constant = Ranks(np.zeros(1, dtype=np.int64), 100, 50 * UNIT, 0.0)
    empty = Ranks(np.zeros(1, dtype=np.int64), 0, 0, 1.0)
    assert score((30, 0), (0, 0), constant) == score((30, 0), (0, 0), empty) == 0.0


@pytest.mark.parametrize(("steps", "shift"), [(19, 1.0), (100_001, 1.0), (math.nan, 1.0), (100, 0.0)])
def test_settings_out_of_range_are_errors(steps: float, shift: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        SequentialSettings(steps, shift)
