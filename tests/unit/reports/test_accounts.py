"""Accounts against outcomes that are lost, doubled, foreign or forged; the counts are by plain Python."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.errors import WorkError
from flink_jobs.kafka import Record
from flink_jobs.reports.accounts import (
    OUTCOMES,
    Accounts,
    Partition,
    accounts_of,
    origin_of_whole,
    spans,
    within,
)
from flink_jobs.reports.predictions import told_by_json
from udfs.scoring.accounts import Accounting, RangeAccount, checksum
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED

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


@given(st.sets(st.integers(0, 59)), st.integers(0, 60), st.integers(0, 60))
def test_what_is_gone_are_runs_between_an_outcome_and_what_the_source_still_has(
    answered: set[int], start: int, since: int
) -> None:
    """The oracle walks; offsets from `start` on are there, and before `since` outcomes may be deleted."""
    accounts = Accounts({0: (start, 60)}, "t")
    for offset in answered:
        accounts.add("predicted", ("t", 0, offset))
    first = min((offset for offset in answered if offset < start), default=start)
    expected, run = [], list[int]()
    for offset in [*range(max(first, since), start), None]:
        if offset is not None and offset not in answered:
            run.append(offset)
            continue
        if len(run) > 1:
            expected.append((run[0], run[-1] + 1))
        run = []
    assert accounts.partitions[0].gone(since) == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=30), st.integers(1, 60))
def test_spans_have_all_runs_and_little_more(steps: list[tuple[int, int]], apart: int) -> None:
    runs, at = [], 0
    for gap, length in steps:
        runs.append((at + gap + 1, at + gap + 1 + length))
        at = runs[-1][1]
    found = list(spans(runs, apart))
    assert {o for a, b in runs for o in range(a, b)} <= {o for a, b in found for o in range(a, b)}
    assert all(second[0] - first[1] > apart for first, second in pairwise(found))


@given(st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 3)), max_size=20), st.data())
def test_records_far_apart_are_found_in_their_runs(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    runs, at = [], 0
    for gap, length in steps:
        runs.append((at + gap, at + gap + length))
        at = runs[-1][1]
    unanswered = [offset for start, stop in runs for offset in range(start, stop)]
    others = data.draw(st.lists(st.integers(0, at + 10), max_size=20))
    source = sorted({*others, *unanswered[::2]})
    records = [Record(None, None, [], 0, offset, 0) for offset in source]
    read = [r for a, b in spans(runs) for r in within(runs, (r for r in records if a <= r.offset < b))]
    assert [r.offset for r in read] == [offset for offset in source if offset in set(unanswered)]


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
    told = told_by_json(raw)
    assert told is None or told.origin is None


@given(st.lists(st.tuples(st.sampled_from(["topic", "partition", "offset", "x"]), st.none() | st.binary())))
def test_no_header_raises(pairs: list[tuple[str, bytes | None]]) -> None:
    headers = [(f"tailrace.{name}", value) for name, value in pairs]
    found = origin_of_whole(Record(None, None, headers, 0, 0, 0))
    assert found is None or isinstance(found[2], int)


def test_a_record_says_where_it_comes_from() -> None:
    told = told_by_json(b'{"topic": "t", "partition": 1, "offset": 7, "score": 0.5}')
    assert told
    assert told.origin == ("t", 1, 7)
    own: list[tuple[str, bytes | None]] = [
        ("tailrace.topic", b"t"),
        ("tailrace.partition", b"1"),
        ("tailrace.offset", b"7"),
    ]
    assert origin_of_whole(Record(b"{}", None, own, 0, 0, 0)) == ("t", 1, 7)


KINDS = {"predicted": PREDICTED, "dead": DEAD, "late": LATE}


def batches(places: list[tuple[int, str]], cuts: list[int], windowed: bool) -> list[RangeAccount]:
    """The accounts of (offset, outcome) in batches that end at these positions, as a job writes them."""
    made: list[RangeAccount] = []
    edges = sorted({0, len(places), *(cut % (len(places) + 1) for cut in cuts)})
    for start, stop in pairwise(edges):
        offsets = np.array([offset for offset, _ in places[start:stop]], np.int64)
        kinds = np.array([KINDS[outcome] for _, outcome in places[start:stop]], np.int8)
        data = Accounting("j", "t", windowed=windowed).of(np.zeros(len(kinds), np.int64), offsets, kinds)
        made += accounts_of(Record(data, None, [], 0, 0, 0), "t")
    return made


@st.composite
def answered(draw: st.DrawFn) -> list[tuple[int, str]]:
    offsets = draw(st.sets(st.integers(0, 60), min_size=3))
    return [(offset, draw(st.sampled_from(OUTCOMES))) for offset in sorted(offsets)]


@given(answered(), st.lists(st.integers(0, 60), max_size=6), st.booleans(), st.data())
def test_the_jobs_own_accounts_agree_unless_one_record_is_changed(
    places: list[tuple[int, str]], cuts: list[int], windowed: bool, data: st.DataObject
) -> None:
    said = batches(places, cuts, windowed)
    assert sum(each.read for each in said) == len(places)

    def differing(found: list[tuple[int, str]]) -> bool:
        partition = Partition(0, 100)
        for offset, outcome in found:
            partition.add(outcome, offset)
        return bool(partition.disagreements(said))

    assert not differing(places)
    at = data.draw(st.integers(0, len(places) - 1))
    assert differing(places[:at] + places[at + 1 :])
    offset, outcome = places[at]
    other = data.draw(st.sampled_from([each for each in OUTCOMES if each != outcome]))
    if not windowed:  # of a record that waits for a window the account does not say what it will be
        assert differing([*places[:at], (offset, other), *places[at + 1 :]])
    said = [each for each in said if not each.start <= offset < each.stop]
    if said and said[0].start < offset < said[-1].stop:
        assert differing(places)  # a batch that no account has


def test_a_batch_that_is_accounted_twice_is_told() -> None:
    said = batches([(0, "predicted"), (1, "dead"), (2, "late")], [], False)
    partition = Partition(0, 3)
    for offset, outcome in enumerate(OUTCOMES):
        partition.add(outcome, offset)
    assert [each.why for each in partition.disagreements([*said, *said])] == ["accounted twice"]


def test_the_checksum_is_that_of_the_page() -> None:
    """As docs/outputs.md gives it, in plain Python."""

    def mixed(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    places = [(0, 0), (7, 1), (2**61, 2)]
    offsets, kinds = np.array([o for o, _ in places], np.int64), np.array([k for _, k in places], np.int8)
    expected = sum(mixed(4 * offset + kind) for offset, kind in places) % 2**64
    assert checksum(offsets, kinds) == checksum(offsets[::-1], kinds[::-1]) == f"{expected:016x}"


def test_a_batch_of_several_partitions_has_an_account_of_each() -> None:
    partitions = np.array([3, 1, 3, 1], np.int64)
    kinds = np.array([PREDICTED, DEAD, LATE, PREDICTED], np.int8)
    data = Accounting("j", "t").of(partitions, np.array([5, 0, 9, 1], np.int64), kinds)
    told = json.loads(data)
    assert (told["schema"], told["job"], told["topic"]) == ("tailrace.account/1", "j", "t")
    rows = [(p["partition"], p["from"], p["to"], p["read"], p["dead"], p["late"]) for p in told["partitions"]]
    assert rows == [(1, 0, 2, 2, 1, 0), (3, 5, 10, 2, 0, 1)]


def test_what_is_no_account_is_said() -> None:
    with pytest.raises(WorkError, match=r"the record at 0:0 is no tailrace.account/1"):
        list(accounts_of(Record(b"{}", None, [], 0, 0, 0), "t"))
