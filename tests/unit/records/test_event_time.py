"""Event times as text: a batch and a single record are judged alike; days must be in the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.records.event_time import EventTimeField, are_iso_8601, explain_event_time, is_event_time

TIMES = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 31), timezones=st.just(UTC))
FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f")


def judged(texts: Sequence[str | None], times: list[int]) -> list[bool]:
    column = pa.chunked_array([texts], pa.string())
    fits: list[bool] = are_iso_8601(column, np.array(times, dtype=np.int64)).tolist()
    return fits


@given(times=st.lists(st.tuples(TIMES, st.sampled_from(FORMS)), min_size=1))
def test_every_form_of_every_time_is_taken(times: list[tuple[datetime, str]]) -> None:
    texts = [time.strftime(form) for time, form in times]
    assert all(judged(texts, [int(time.timestamp() * 1000) for time, _ in times]))
    assert all(is_event_time(text, "iso8601") for text in texts)


@given(time=TIMES, place=st.integers(0, 25), letter=st.characters(codec="utf-8"))
def test_a_changed_letter_is_seen_by_both_or_by_none(time: datetime, place: int, letter: str) -> None:
    text = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = text[:place] + letter + text[place + 1 :]
    if is_event_time(text, "iso8601"):
        time = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    assert judged([text], [int(time.timestamp() * 1000)]) == [is_event_time(text, "iso8601")]


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00", "2025-02-29T00:00:00", "2026-04-31T00:00:00"])
def test_days_that_there_are_not(text: str) -> None:
    clamped = datetime(2026, 2, 28, tzinfo=UTC)
    assert judged([text, None], [int(clamped.timestamp() * 1000)] * 2) == [False, False]
    problem = explain_event_time(
        EventTimeField("at", "iso8601"), {"at": text}, int(clamped.timestamp() * 1000)
    )
    assert (problem.reason, problem.message) == ("event_time_unparsable", "$.at: expected a time in iso8601")


def test_no_timestamp_is_told_from_one_of_a_clock_that_is_ahead() -> None:
    reasons = [explain_event_time(None, {}, time).reason for time in (-1, 0)]
    assert reasons == ["event_time_missing", "event_time_ahead"]
