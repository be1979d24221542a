"""Whether drift is reason enough to train again."""

from __future__ import annotations

import msgspec
import pytest

from flink_jobs.errors import InputError
from flink_jobs.training.decide import RetrainDecision, RetrainRule, decide
from flink_jobs.training.splits import parse_time
from tests.helpers.drift_records import DRIFT_FROM, drift_records
from udfs.drift.records import ColumnReport, DriftRecord

IMPORTANCE = {"dep_delay": 0.6, "distance": 0.1, "mean_delay": 0.1, "carrier": 0.2}
RECORDS = drift_records()


def decided(
    records: list[DriftRecord], rule: RetrainRule | None = None, after: str | None = None
) -> RetrainDecision:
    return decide(
        records,
        rule or RetrainRule(),
        version=1,
        importance=IMPORTANCE,
        after=parse_time(after, "after") if after else None,
    )


def with_drift(record: DriftRecord, *names: str) -> DriftRecord:
    """The record with drift of exactly these columns."""

    def one(column: ColumnReport) -> ColumnReport:
        return msgspec.structs.replace(column, verdict="drift" if column.name in names else "ok")

    return msgspec.structs.replace(
        record, columns=tuple(map(one, record.columns)), verdict="drift" if names else "ok", drifted=names
    )


def enough(count: int) -> list[DriftRecord]:
    return [record for record in RECORDS if record.verdict != "insufficient_data"][:count]


def test_a_year_that_drifts_at_its_end_is_learnt_again() -> None:
    decision = decided(RECORDS)
    assert decision.retrain
    assert decision.reason == "in 3 of the last 3 windows the output drifted (score); 2 are enough"
    assert [window.outputs for window in decision.windows] == [("score",)] * 3
    assert decision.until == RECORDS[-1].window.end


def test_before_the_drift_there_is_nothing_to_do() -> None:
    quiet = [with_drift(record) for record in RECORDS[:DRIFT_FROM]]
    decision = decided(quiet)
    assert not decision.retrain
    assert decision.reason == (
        "in 0 of the last 3 windows the output drifted, and in 0 too many inputs; 2 would be needed"
    )


@pytest.mark.parametrize(
    ("drifts", "rule", "retrain"),
    [
        ((("score",), (), ("score",)), RetrainRule(2, 3), True),
        ((("score",), ("score",), (), ()), RetrainRule(2, 3), False),
        ((("score",), ("score",), (), ()), RetrainRule(2, 4), True),
        ((("score",), ("score",)), RetrainRule(3, 3), False),
        ((("dep_delay",), ("dep_delay",)), RetrainRule(2, 3, 0.5), True),
        ((("dep_delay",), ("dep_delay",)), RetrainRule(2, 3, 0.6), False),
        ((("dep_delay", "distance"), ("carrier", "dep_delay")), RetrainRule(2, 3, 0.65), True),
        ((("dep_delay", "distance", "mean_delay", "carrier"),) * 3, RetrainRule(2, 3, 1.0), False),
        ((("score",), ("dep_delay",)), RetrainRule(2, 3), False),
        ((("score",),), RetrainRule(1, 1), True),
    ],
)
def test_the_rule(drifts: tuple[tuple[str, ...], ...], rule: RetrainRule, retrain: bool) -> None:
    records = [with_drift(record, *names) for record, names in zip(enough(len(drifts)), drifts, strict=True)]
    assert decided(records, rule).retrain is retrain


def test_windows_that_the_newest_version_has_seen_do_not_count_again() -> None:
    seen = decided(RECORDS, after=RECORDS[-1].window.end)
    assert not seen.retrain
    assert seen.windows == ()
    assert seen.reason == f"no window to judge by; the newest version has seen {seen.known}"
    assert seen.known == len(enough(26))
    one_more = decided(RECORDS, after=enough(26)[-2].window.end)
    assert not one_more.retrain
    assert len(one_more.windows) == 1
    assert (
        one_more.reason == "in 1 of 1 window the output drifted, and in 1 too many inputs; 2 would be needed"
    )


def test_other_versions_segments_interim_results_and_small_windows_do_not_count() -> None:
    last = with_drift(RECORDS[-1], "score")
    change = msgspec.structs.replace
    others = [
        change(last, version=2),
        change(last, window=change(last.window, closed="early")),
        change(last, verdict="insufficient_data"),
        *[record for record in drift_records(segments=["EWR"]) if record.segment],
    ]
    for other in others:
        decision = decided([other], RetrainRule(1, 1))
        assert (decision.retrain, decision.windows) == (False, ())


def test_of_a_window_that_is_there_twice_the_later_record_holds() -> None:
    first = enough(1)[0]
    assert not decided([with_drift(first, "score"), with_drift(first)], RetrainRule(1, 1)).retrain
    assert decided([with_drift(first), with_drift(first, "score")], RetrainRule(1, 1)).retrain


def test_rules_and_records_that_are_none() -> None:
    with pytest.raises(InputError, match="bad must be from 1 to of, which is 3; got 4"):
        RetrainRule(4, 3)
    with pytest.raises(InputError, match="input_share must be above 0 and at most 1; got 0"):
        RetrainRule(input_share=0)
    with pytest.raises(InputError, match="of one job; got flight-delay, other: choose one by its name"):
        decided([RECORDS[0], msgspec.structs.replace(RECORDS[1], job="other")])
