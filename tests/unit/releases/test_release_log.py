"""Which release is in force for a record, and what may follow a log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.releases import T0, release
from udfs.errors import ModelError
from udfs.releases.log import Canary, ReleaseLog, decode_release, encode_release
from udfs.releases.steps import ReleaseStep, canaried, promoted, rolled_back, shadowed, withdrawn
from udfs.times import parse_time


def step(at: int | None = 0) -> ReleaseStep:
    return ReleaseStep(None if at is None else T0 + at, T0, 20_000, "why", "ada", {1: "d1", 2: "d2", 3: "d3"})


def champions(log: ReleaseLog, *times: int) -> list[int]:
    return [log.state(place).champion for place in log.places(np.array([T0 + t for t in times])).tolist()]


def test_the_moment_itself_belongs_to_the_new_release() -> None:
    log = ReleaseLog([release(1, 1), release(2, 2, 1000)])
    assert champions(log, -(10**9), 999, 1000, 10**9) == [1, 1, 2, 2]


def test_a_release_replaces_those_with_later_moments_that_were_written_before() -> None:
    log = ReleaseLog([release(1, 1), release(2, 2, 5000), release(3, 3, 1000)])
    assert champions(log, 999, 1000, 5000) == [1, 3, 3]


def test_before_the_first_moment_the_first_release_counts() -> None:
    assert champions(ReleaseLog([release(1, 4, 1000)]), 0) == [4]


def test_champions_to_come_are_those_that_no_later_release_replaces() -> None:
    log = ReleaseLog([release(1, 1), release(2, 2, 5000), release(3, 3, 1000), release(4, 4, 9000)])
    assert log.champions_to_come(T0) == {3: release(3, 3, 1000).at, 4: release(4, 4, 9000).at}
    assert log.champions_to_come(T0 + 9000) == {}
    back = ReleaseLog([release(1, 1), release(2, 2, 1000), release(3, 1, 2000), release(4, 2, 3000)])
    assert back.champions_to_come(T0) == {2: release(2, 2, 1000).at}


def test_a_withdrawn_champion_is_replaced_by_the_one_before_it_at_all_times() -> None:
    log = ReleaseLog([release(1, 1), release(2, 2, 0), release(3, 1, 9000, withdraw=2)])
    assert champions(log, -1, 0, 5000, 9000) == [1, 1, 1, 1]
    assert log.state(1).champion_since == 1


def test_unusable_versions_are_left_out() -> None:
    canary = Canary(version=3, share=0.5, key="k")
    log = ReleaseLog([release(1, 1), release(2, 2, 0, canary=canary, shadows=(4, 5))])
    assert log.state(1).canary == canary
    state = log.state(1, frozenset({2, 3, 4}))
    assert (state.champion, state.canary, state.shadows) == (1, None, (5,))
    with pytest.raises(ModelError, match="no version to score with: not 1, 2"):
        log.state(1, frozenset({1, 2}))


@pytest.mark.parametrize("numbers", [[], [2], [1, 3]])
def test_a_log_with_a_gap_is_refused(numbers: list[int]) -> None:
    with pytest.raises(ModelError, match="must hold the numbers"):
        ReleaseLog([release(number, 1) for number in numbers])


@given(
    st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=8),
    st.lists(st.integers(-60, 60), min_size=1),
)
def test_in_force_is_the_last_written_whose_moment_has_come(
    moments: list[int | None], times: list[int]
) -> None:
    log = ReleaseLog([release(i + 1, i + 1, at) for i, at in enumerate(moments)])
    for time, found in zip(times, champions(log, *times), strict=True):
        come = [i + 1 for i, at in enumerate(moments) if at is None or at <= time]
        assert found == (come[-1] if come else 1)


@given(st.integers(-100, 100), st.lists(st.integers(-50, 50), min_size=1, max_size=6))
def test_from_then_on_names_all_that_will_be_in_force(time: int, moments: list[int]) -> None:
    log = ReleaseLog([release(i + 1, i + 1, at) for i, at in enumerate(moments)])
    future = {log.place_at(T0 + t) for t in range(time, 130)}
    assert set(log.from_then_on(T0 + time)) == future


def test_records_survive_being_written() -> None:
    record = canaried(ReleaseLog([promoted(None, 1, step(None))]), 2, 0.1, "customer", step(5))
    assert decode_release(encode_release(record), 2) == record
    assert record.digests == {1: "d1", 2: "d2"}
    assert record.at_ms == T0 + 5


def test_the_old_form_is_still_read() -> None:
    old = b'{"schema":"tailrace.release/1","number":1,"champion":3,"written_at":"2026-01-01T00:00:00Z"}'
    assert champions(ReleaseLog([decode_release(old, 1)]), 0) == [3]


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"number":1}', b'{"number":1,"champion":1,"written_at":"","at":"noon"}', b"\xff"]
)
def test_a_broken_record_is_an_error(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"release 1 must be a tailrace\.release/2 record"):
        decode_release(data, 1)


def test_what_may_follow() -> None:
    log = ReleaseLog([promoted(None, 1, step(None))])
    log = ReleaseLog([*log.records, shadowed(log, (2,), step(0))])
    log = ReleaseLog([*log.records, canaried(log, 2, 0.1, "k", step(1))])
    assert (log.records[2].shadows, log.records[2].canary) == ((), Canary(version=2, share=0.1, key="k"))
    larger = canaried(log, 2, 0.5, None, step(2))
    assert larger.canary == Canary(version=2, share=0.5, key="k")
    assert rolled_back(log, step(3)).champion == 1
    log = ReleaseLog([*log.records, promoted(log, 2, step(4))])
    assert (log.records[-1].champion, log.records[-1].canary) == (2, None)
    assert rolled_back(log, step(5)).champion == 1
    gone = withdrawn(log, 2, step(6))
    assert (gone.champion, gone.withdraw) == (1, 2)
    log = ReleaseLog([*log.records, gone])
    with pytest.raises(ModelError, match="version 2 was withdrawn"):
        promoted(log, 2, step(7))
    with pytest.raises(ModelError, match="no champion before version 1"):
        rolled_back(log, step(8))


def test_what_may_not() -> None:
    log = ReleaseLog([promoted(None, 1, step(None))])
    with pytest.raises(ModelError, match="promote a version first"):
        canaried(None, 2, 0.1, "k", step())
    with pytest.raises(ModelError, match="is the champion already"):
        canaried(log, 1, 0.1, "k", step())
    with pytest.raises(ModelError, match="needs a key"):
        canaried(log, 2, 0.1, None, step())
    with pytest.raises(ModelError, match="share must be above 0"):
        canaried(log, 2, 0.0, "k", step())
    with pytest.raises(ModelError, match="scores already"):
        shadowed(log, (1,), step())
    with pytest.raises(ModelError, match="no champion before version 1; give --to"):
        withdrawn(log, 1, step())


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.5", 500),
    ],
)
def test_times_are_iso_8601(text: str, ms: int) -> None:
    assert parse_time(text) == ms
