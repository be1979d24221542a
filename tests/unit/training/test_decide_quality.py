"""Whether the model has become worse: adversaries are labels that come late, and chance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.errors import InputError
from flink_jobs.training.decide_quality import QualityDecision, QualityRule, decide_quality
from flink_jobs.training.splits import parse_time
from tests.helpers.quality_records import record
from udfs.quality.records import LabelState, Metric, QualityRecord

RULE = QualityRule(metric="auc", reference=0.9)


def window(hour: int, auc: float, *, error: float = 0.02, **changes: Any) -> QualityRecord:
    """Final, of an hour; `error` is half of the interval."""
    metric = Metric(value=auc, low=auc - error, high=auc + error)
    found = record(hour, segment=changes.pop("segment", None), job=changes.pop("job", "flights"))
    return msgspec.structs.replace(found, **{"final": True, "realized": {"auc": metric}, **changes})


def with_labels(found: QualityRecord, coverage: float) -> QualityRecord:
    assert isinstance(found.labels, LabelState)
    state = msgspec.structs.replace(found.labels, n=int(1000 * coverage), coverage=coverage)
    return msgspec.structs.replace(found, final=False, labels=state)


def decided(
    records: list[QualityRecord], rule: QualityRule = RULE, after: str | None = None, **tested: float
) -> QualityDecision:
    seen = parse_time(after, "after") if after else None
    return decide_quality(records, rule, version=1, tested=tested, after=seen)


def test_two_bad_windows_of_three_are_learnt() -> None:
    decision = decided([window(0, 0.9), window(1, 0.8), window(2, 0.81)])
    assert decision.retrain
    assert decision.reason == (
        "in 2 of the last 3 windows the realized auc was worse than 0.9 (last 0.81); 2 are enough"
    )
    assert [each.worse for each in decision.windows] == [False, True, True]
    assert decision.until == "2026-01-01T03:00:00.000Z"


def test_a_value_that_is_worse_by_chance_alone_is_not() -> None:
    decision = decided([window(0, 0.88, error=0.03), window(1, 0.87, error=0.04)])
    assert not decision.retrain
    assert decision.reason.endswith("(last 0.87); 2 would be needed")


def test_early_labels_do_not_count_until_the_others_came() -> None:
    """A window that is bad by its first labels, and good by all of them."""
    early = [with_labels(window(hour, 0.6), 0.4) for hour in (0, 1)]
    waiting = decided(early)
    assert not waiting.retrain
    assert waiting.reason == "no window whose realized auc is known; labels of 2 are still to come"
    late = [msgspec.structs.replace(window(hour, 0.91), revision=2) for hour in (0, 1)]
    assert not decided([*late, *early]).retrain
    assert decided([*late, *early]).windows == decided(late).windows
    covered = [with_labels(window(hour, 0.6), 0.96) for hour in (0, 1)]
    assert decided(covered).retrain


def test_an_estimate_waits_for_no_labels() -> None:
    rule = QualityRule(metric="auc", source="estimated", reference=0.95)
    records = [with_labels(window(hour, 0.9), 0.1) for hour in (0, 1)]
    assert decided(records, rule).retrain
    assert not decided(records, QualityRule(metric="auc", reference=0.95)).retrain


@pytest.mark.parametrize(
    ("metric", "value", "worse"), [("auc", 0.8, True), ("auc", 0.99, False), ("log_loss", 0.8, True)]
)
def test_which_side_is_worse(metric: str, value: float, worse: bool) -> None:
    found = Metric(value=value, low=value - 0.01, high=value + 0.01)
    records = [msgspec.structs.replace(window(hour, 0.9), realized={metric: found}) for hour in (0, 1)]
    reference = 0.9 if metric == "auc" else 0.5
    assert decided(records, QualityRule(metric=metric, reference=reference)).retrain is worse
    wide = QualityRule(metric=metric, reference=reference, margin=0.5)
    assert not decided(records, wide).retrain


def test_the_reference_is_what_the_champion_was_tested_with() -> None:
    records = [window(0, 0.8), window(1, 0.8)]
    rule = QualityRule(metric="auc")
    assert decided(records, rule, test_auc=0.9).reference == 0.9
    assert decided(records, rule, holdout_auc=0.7, test_auc=0.9).retrain
    assert not decided(records, rule, holdout_auc=0.7).retrain
    with pytest.raises(InputError, match="version 1 has neither test_auc nor holdout_auc"):
        decided(records, rule, test_log_loss=0.3)


def test_what_the_newest_version_has_seen_counts_no_more() -> None:
    records = [window(0, 0.8), window(1, 0.8), window(2, 0.8)]
    seen = decided(records, after="2026-01-01T02:00:00Z")
    assert (seen.retrain, seen.known, len(seen.windows)) == (False, 2, 1)
    none = decided(records, after="2026-01-01T03:00:00Z")
    assert none.reason == "no window whose realized auc is known; the newest version has seen 3"


def test_segments_other_versions_and_windows_without_labels_do_not_count() -> None:
    other = msgspec.structs.replace(window(0, 0.5), version=2)
    without = msgspec.structs.replace(window(1, 0.5), labels=None)
    undefined = msgspec.structs.replace(window(2, 0.5), realized={"auc": Metric()})
    assert decided([other, without, undefined, window(3, 0.5, segment="EWR")]).windows == ()
    with pytest.raises(InputError, match="quality records must be of one job; got a, b"):
        decided([window(0, 0.5, job="a"), window(1, 0.5, job="b")])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "aucc"}, "metric must be one of .*; got 'aucc'; did you mean 'auc'"),
        ({"bad": 4}, "bad must be from 1 to of, which is 3; got 4"),
        ({"margin": -0.1}, "margin must be 0 or more"),
        ({"margin": float("nan")}, "margin must be 0 or more"),
        ({"coverage": 0.0}, "coverage must be above 0"),
    ],
)
def test_a_rule_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        QualityRule(**wrong)


@given(st.permutations(range(6)), st.lists(st.floats(0.5, 0.99), min_size=6, max_size=6))
def test_the_order_in_which_records_are_read_decides_nothing(order: list[int], values: list[float]) -> None:
    """Partitions come in any order; revisions, too."""
    records = [
        msgspec.structs.replace(window(place // 2, value), revision=place % 2)
        for place, value in enumerate(values)
    ]
    assert decided([records[place] for place in order]) == decided(records)
