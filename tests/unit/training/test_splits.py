"""Splits in time: nothing that a model is judged by comes before what it was fitted on."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flink_jobs.errors import InputError
from flink_jobs.training import EveryNthDay, LastShare
from flink_jobs.training.splits import expanding_folds, parse_time

times_of = st.lists(st.integers(0, 300), min_size=1, max_size=80).map(
    lambda hours: np.array(hours, dtype="datetime64[h]").astype("datetime64[ms]")
)


@given(times_of, st.integers(2, 6), st.integers(0, 20))
def test_no_fold_is_judged_by_what_it_was_fitted_on_or_before(
    times: NDArray[np.datetime64], folds: int, gap: int
) -> None:
    try:
        pairs = expanding_folds(times, folds, timedelta(hours=gap))
    except InputError:
        return
    assert len(pairs) == folds
    for fit, judged in pairs:
        assert times[fit].max() + np.timedelta64(gap, "h") < times[judged].min()
    for (fit, judged), (next_fit, next_judged) in pairwise(pairs):
        assert times[judged].max() < times[next_judged].min()
        assert set(fit) <= set(next_fit)
    last = np.concatenate([judged for _, judged in pairs])
    assert set(last) == set(np.flatnonzero(times >= times[pairs[0][1]].min()))


def test_folds_of_even_times() -> None:
    times = np.arange(10).astype("datetime64[h]").astype("datetime64[ms]")
    pairs = expanding_folds(times, 4)
    assert [(len(fit), judged.tolist()) for fit, judged in pairs] == [
        (2, [2, 3]),
        (4, [4, 5]),
        (6, [6, 7]),
        (8, [8, 9]),
    ]
    assert [len(fit) for fit, _ in expanding_folds(times, 4, timedelta(hours=1))] == [1, 3, 5, 7]


@pytest.mark.parametrize(("hours", "gap"), [([], 0), ([1, 1, 1, 1], 0), (list(range(8)), 5)])
def test_too_few_times_are_an_error(hours: list[int], gap: int) -> None:
    times = np.array(hours, dtype="datetime64[h]").astype("datetime64[ms]")
    with pytest.raises(InputError, match="too few distinct event times"):
        expanding_folds(times, 4, timedelta(hours=gap))


@given(times_of, st.floats(0.05, 0.95))
def test_the_last_share_is_the_end_and_equal_times_are_together(
    times: NDArray[np.datetime64], share: float
) -> None:
    out = LastShare(share)(times)
    assert out.sum() >= int(len(times) * share)
    if out.any() and not out.all():
        assert times[~out].max() < times[out].min()


def test_every_fifth_day() -> None:
    days = np.arange(np.datetime64("2013-01-01"), np.datetime64("2014-01-11")).astype("datetime64[ms]")
    chosen = days[EveryNthDay(5)(days)].astype("datetime64[D]").astype(str)
    assert list(chosen[:2]) == ["2013-01-05", "2013-01-10"]
    assert list(chosen[-3:]) == ["2013-12-31", "2014-01-05", "2014-01-10"]
    assert len(chosen) == 75


def test_times_without_a_zone_are_utc() -> None:
    assert parse_time("2013-07-01", "x") == parse_time("2013-07-01T02:00:00+02:00", "x")
    with pytest.raises(InputError, match="test_from must be a time in ISO 8601; got 'July'"):
        parse_time("July", "test_from")
