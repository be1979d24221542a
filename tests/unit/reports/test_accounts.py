"""Accounts against outcomes that are lost, doubled, foreign or forged; the counts are by plain Python."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.kafka import Record
from flink_jobs.reports.accounts import (
    OUTCOMES,
    Accounts,
    origin_of_prediction,
    origin_of_whole,
    spans,
)

outcomes = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 3), st.integers(0, 40)), max_size=200)


@given(outcomes, st.sets(st.tuples(st.integers(0, 1), st.integers(5, 29))))
def test_each_record_is_accounted_for(
    found: list[tuple[str, int, int]], records: set[tuple[int, int]]
) -> None:
    """Partitions 0 and 1, offsets 5 to 29; `records` are what the source has beside those with outcomes."""
    accounts = Accounts({0: (5, 30), 1: (5, 30)}, "t")
    for outcome, partition, offset in found:
        accounts.add(outcome, ("t", partition, offset))
    for number, each in accounts.partitions.items():
        runs = each.unanswered()
        each.settle(o for p, o in records if p == number and any(a <= o < b for a, b in runs))
    seen = Counter((p, o) for _, p, o in found if p < 2 and 5 <= o < 30)
    missing = sorted(records - seen.keys())
    assert [(n, o) for n, p in accounts.partitions.items() for o in p.missing] == missing
    doubled = sorted(place for place, times in seen.items() if times > 1)
    assert [(n, o) for n, p in accounts.partitions.items() for o in p.doubled] == doubled
    assert sum(p.records for p in accounts.partitions.values()) == len(records | seen.keys())
    assert sum(sum(p.counts.values()) for p in accounts.partitions.values()) == seen.total()
    assert accounts.others == sum(partition > 1 for _, partition, _ in found)
    assert accounts.balanced == (not missing and not doubled)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=30), st.integers(1, 60))
def test_spans_have_all_runs_and_little_more(steps: list[tuple[int, int]], apart: int) -> None:
    runs, at = [], 0
    for gap, length in steps:
        runs.append((at + gap + 1, at + gap + 1 + length))
        at = runs[-1][1]
    found = list(spans(runs, apart))
    assert {o for a, b in runs for o in range(a, b)} <= {o for a, b in found for o in range(a, b)}
    assert all(second[0] - first[1] > apart for first, second in pairwise(found))


def test_many_outcomes_of_one_record_are_still_many() -> None:
    accounts = Accounts({0: (0, 1)}, "t")
    for _ in range(1_000):
        accounts.add("predicted", ("t", 0, 0))
    assert accounts.partitions[0].doubled == [0]


@given(
    st.none() | st.binary() | st.dictionaries(st.sampled_from(["topic", "partition", "offset"]), st.text())
)
def test_nothing_in_a_topic_of_predictions_raises(value: object) -> None:
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    assert origin_of_prediction(Record(raw, None, [], 0, 0, 0)) is None


@given(st.lists(st.tuples(st.sampled_from(["topic", "partition", "offset", "x"]), st.none() | st.binary())))
def test_no_header_raises(pairs: list[tuple[str, bytes | None]]) -> None:
    headers = [(f"tailrace.{name}", value) for name, value in pairs]
    found = origin_of_whole(Record(None, None, headers, 0, 0, 0))
    assert found is None or isinstance(found[2], int)


def test_a_record_says_where_it_comes_from() -> None:
    prediction = Record(b'{"topic": "t", "partition": 1, "offset": 7, "score": 0.5}', None, [], 0, 0, 0)
    assert origin_of_prediction(prediction) == ("t", 1, 7)
    own: list[tuple[str, bytes | None]] = [
        ("tailrace.topic", b"t"),
        ("tailrace.partition", b"1"),
        ("tailrace.offset", b"7"),
    ]
    assert origin_of_whole(Record(b"{}", None, own, 0, 0, 0)) == ("t", 1, 7)
