"""What windows may still hold, against a walk through all that was predicted."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.reports.accounts import Accounts
from flink_jobs.reports.held import Passed
from flink_jobs.reports.predictions import Told, told_by_json
from udfs.times import iso

NOW = 1_767_225_600_000
predicted = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


@given(predicted, st.integers(0, 30), st.integers(0, 30))
def test_what_a_later_prediction_has_passed_is_held_by_nothing(
    found: list[tuple[int, int]], offset: int, time: int
) -> None:
    """The adversary is a record that was lost amid others, in whatever order outputs are read."""
    passed = Passed()
    for each in found:
        passed.add(*each)
    assert passed.has(offset, time) == any(o > offset and t >= time for o, t in found)


def test_a_prediction_passes_only_records_of_its_partition_and_topic() -> None:
    accounts = Accounts({0: (0, 9), 1: (0, 9)}, "t")
    told = {"topic": "t", "partition": 1, "offset": 7, "event_time": iso(NOW)}
    found = told_by_json(json.dumps(told).encode())
    assert found
    assert found.time == NOW
    assert told_by_json(b"oops") is None
    assert Told(event_time="oops").time is None
    accounts.pass_by(("t", 1, 7), NOW)
    accounts.pass_by(("elsewhere", 0, 7), NOW)
    assert [accounts.partitions[number].passed.has(3, NOW) for number in range(2)] == [False, True]
    accounts.partitions[1].settle([3, 8], {8})
    assert (accounts.partitions[1].missing, accounts.partitions[1].waiting) == ([3], [8])
