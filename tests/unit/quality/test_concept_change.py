"""The alert on labels that do not follow from the scores: once, resolved later, whatever comes in between."""

from __future__ import annotations

import msgspec

from tests.helpers.quality_records import record
from udfs.quality.alerts import AlertState, judge
from udfs.quality.records import QualityRecord


def states(records: list[QualityRecord]) -> list[tuple[str, str, str]]:
    """One at a time, as windows are published; the state goes through bytes as Flink's does."""
    state = AlertState()
    found: list[tuple[str, str, str]] = []
    for each in records:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState)
        state, alerts = judge(state, [each])
        found += [(alert.state, alert.severity, alert.window.start[11:13]) for alert in alerts]
    return found


def test_it_fires_once_and_is_over_in_a_window_that_is_as_expected() -> None:
    hours = [record(0), record(1, changed=True), record(2, changed=True), record(3)]
    assert states(hours) == [("firing", "critical", "01"), ("resolved", "critical", "03")]


def test_a_revision_may_take_it_back() -> None:
    first = record(1, changed=True)
    later = msgspec.structs.replace(record(1), revision=2)
    assert states([first, later]) == [("firing", "critical", "01"), ("resolved", "critical", "01")]


def test_a_late_revision_of_an_older_window_says_nothing_new() -> None:
    assert states([record(5, changed=True), record(2), record(1, changed=True)]) == [
        ("firing", "critical", "05")
    ]


def test_few_labels_segments_and_better_labels_do_not_alarm() -> None:
    assert states([record(1, changed=True, labels=99)]) == []
    assert states([record(1, changed=True, segment="EWR")]) == []
    assert states([record(1, changed=True, worse=False)]) == [("firing", "info", "01")]


def test_versions_have_alerts_of_their_own() -> None:
    state, alerts = judge(AlertState(), [record(1, changed=True), record(1, changed=True, version=2)])
    assert [alert.id for alert in alerts] == ["concept-change/1", "concept-change/2"]
    assert [alert.rank for alert in alerts] == [1, 2]
    assert "log loss 0.6 of 500 labels is 50% higher than the 0.4" in alerts[0].message
    assert state.opened.keys() == {"concept-change/1", "concept-change/2"}
