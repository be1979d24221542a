"""When alerts fire, resolve, stay silent, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.drift_windows import record, report
from udfs.alerts.records import AlertRecord, Segment
from udfs.drift.alert_rules import DEFAULT_RULES, AlertRuleParams, Subject
from udfs.drift.alert_states import FORGET_AFTER, AlertState, advance
from udfs.drift.records import (
    DriftRecord,
    JointReport,
    PairChange,
    ProblemCount,
    Verdict,
    Volume,
)

HOUR = 3_600_000
DRIFT = AlertRuleParams("d", "drift")
MARKS: dict[str, Verdict] = {"b": "drift", "q": "ok", "?": "insufficient_data"}


def play(
    windows: Sequence[Sequence[DriftRecord]],
    *rules: AlertRuleParams,
    importance: dict[str, float] | None = None,
) -> tuple[dict[str, AlertState], list[tuple[int, AlertRecord]]]:
    states: dict[str, AlertState] = {}
    alerts: list[tuple[int, AlertRecord]] = []
    for i, records in enumerate(windows):
        states, changed = advance(states, rules, records, importance or {}, (i + 1) * HOUR)
        alerts += [(i, alert) for alert in changed]
    return states, alerts


def marked(marks: str) -> list[list[DriftRecord]]:
    return [[record(i, report(verdict=MARKS[mark]))] for i, mark in enumerate(marks)]


def changes(marks: str, rule: AlertRuleParams) -> list[tuple[int, str]]:
    return [(i, alert.state) for i, alert in play(marked(marks), rule)[1]]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("qqqq", []),
        ("bqqbqqb", []),
        ("bqb", [(2, "firing")]),
        ("bbbbb", [(1, "firing")]),
        ("bbqbqbq", [(1, "firing")]),
        ("bbqq", [(1, "firing"), (3, "resolved")]),
        ("bbqqbqq", [(1, "firing"), (3, "resolved")]),
        ("bbqqbb", [(1, "firing"), (3, "resolved"), (5, "firing")]),
        ("b?b", [(2, "firing")]),
        ("b??????b", [(7, "firing")]),
        ("bbq?q", [(1, "firing"), (4, "resolved")]),
        ("????", []),
    ],
)
def test_two_bad_windows_of_three_fire_and_two_quiet_ones_resolve(
    marks: str, expected: list[tuple[int, str]]
) -> None:
    assert changes(marks, DRIFT) == expected


@pytest.mark.parametrize(
    ("windows", "resolve_after", "marks", "expected"),
    [
        ((1, 1), 1, "bqb", [(0, "firing"), (1, "resolved"), (2, "firing")]),
        ((3, 5), 2, "bqbqb", [(4, "firing")]),
        ((3, 5), 2, "bqbqqb", []),
        ((1, 1), 3, "bqqbqqq", [(0, "firing"), (6, "resolved")]),
    ],
)
def test_other_numbers_of_windows(windows: Any, resolve_after: int, marks: str, expected: Any) -> None:
    assert (
        changes(marks, AlertRuleParams("d", "drift", windows=windows, resolve_after=resolve_after))
        == expected
    )


def test_no_firing_in_the_cooldown() -> None:
    rule = AlertRuleParams("d", "drift", windows=(1, 1), resolve_after=1, cooldown_ms=3 * HOUR)
    assert changes("bqbbbb", rule) == [(0, "firing"), (1, "resolved"), (4, "firing")]


def test_an_alert_says_what_moved_since_when() -> None:
    _, alerts = play(marked("qbqbqq"), DRIFT, importance={"x": 0.5})
    (_, firing), (_, resolved) = alerts
    assert (firing.id, firing.rule, firing.column, firing.version) == ("d/1/*/x", "d", "x", 1)
    assert firing.message == "x: UA rose from 12% to 19%, in the window of w003"
    assert firing.examples == ("UA: 12% → 19%", "AA: 38% → 31%")
    assert (firing.since, firing.window.start) == ("w001", "w003")
    assert (firing.windows_bad, firing.windows_seen) == (2, 3)
    assert (firing.statistic, firing.value, firing.threshold) == ("effect", 0.2, 0.02)
    assert firing.impact == pytest.approx(0.1)
    assert (resolved.since, resolved.window.start) == ("w001", "w005")
    assert resolved.message == f"back to normal, in the window of w005; it was: {firing.message}"


def test_alerts_are_ranked_by_impact_then_id() -> None:
    columns = [
        report("small", "drift", effect=0.9),
        report("score", "drift", effect=0.3, role="score"),
        report("b", "drift"),
        report("a", "drift"),
    ]
    windows = [[record(i, *columns)] for i in range(2)]
    _, alerts = play(windows, DRIFT, importance={"small": 0.1, "a": 0.4, "b": 0.4})
    assert [(alert.rank, alert.column) for _, alert in alerts] == [
        (1, "score"), (2, "small"), (3, "a"), (4, "b"),
    ]  # fmt: skip
    backwards = [[record(i, *reversed(columns))] for i in range(2)]
    assert play(backwards, DRIFT, importance={"small": 0.1, "a": 0.4, "b": 0.4})[1] == alerts


def test_segments_and_versions_are_apart_and_ids_do_not_collide() -> None:
    segments = [
        None,
        Segment("o", "A"),
        Segment("o", None),
        Segment("o", ""),
        Segment("o", "A/x"),
        Segment("*", None),
    ]
    windows = [
        [record(i, report("y", "drift"), segment=s, version=v) for s in segments for v in (1, 2)]
        for i in range(2)
    ]
    _, alerts = play(windows, msgspec.structs.replace(DRIFT, segments=True))
    assert len({alert.id for _, alert in alerts}) == len(alerts) == 12
    _, alerts = play(windows, DRIFT)
    assert len(alerts) == 2


def fires(rule: AlertRuleParams, *windows: DriftRecord) -> AlertRecord | None:
    _, alerts = play([[window] for window in windows], msgspec.structs.replace(rule, windows=(1, 1)))
    return alerts[-1][1] if alerts else None


def test_columns_roles_and_statistics_are_chosen() -> None:
    bad = record(0, report("x", "drift"), report("score", "drift", role="score"))
    only = fires(AlertRuleParams("d", "drift", roles=("score",)), bad)
    assert only is not None
    assert only.column == "score"
    assert fires(AlertRuleParams("d", "drift", columns=("z",)), bad) is None
    assert fires(AlertRuleParams("d", "drift", above=0.2), record(0, report())) is not None
    assert fires(AlertRuleParams("d", "drift", above=0.21), bad) is None
    assert fires(AlertRuleParams("d", "drift", statistic="psi"), bad) is None


def test_missing_values() -> None:
    rule = AlertRuleParams("m", "missing", above=0.05)
    alert = fires(rule, record(0, report(null_rate=0.12)))
    assert alert is not None
    assert (alert.statistic, alert.value) == ("null_rate", 0.12)
    assert alert.message == "x: nulls 0% → 12%, in the window of w000"
    assert fires(rule, record(0, report(null_rate=0.04))) is None
    assert fires(rule, record(0, report(null_rate=0.5, n=0, verdict="insufficient_data"))) is not None
    noisy = report(null_rate=0.56, reference_null_rate=0.5)
    assert fires(rule, record(0, noisy, records=Volume(100))) is None
    assert fires(rule, record(0, noisy, records=Volume(1_000))) is not None
    assert fires(rule, record(0, report(null_rate=1.0), records=Volume(29))) is None


def test_unseen_values() -> None:
    rule = AlertRuleParams("u", "unseen", above=0.01)
    alert = fires(rule, record(0, report(unseen=30, unseen_examples=("ZZ",))))
    assert alert is not None
    assert (alert.value, alert.examples) == (0.03, ("ZZ",))
    assert fires(rule, record(0, report(unseen=9))) is None
    assert fires(rule, record(0, report(unseen=29, n=29))) is None
    assert fires(rule, record(0, report(unseen=30, kind="numeric"))) is None


def test_joint_drift_is_weighed_by_the_columns_that_changed() -> None:
    joint = JointReport(100, 0.4, 0.1, 0.001, 0.001, "drift", (PairChange("a", "b", 0.5, -0.25),))
    windows = [[record(0, joint=joint)]]
    rule = AlertRuleParams("j", "joint", windows=(1, 1))
    ((_, alert),) = play(windows, rule, importance={"a": 0.3, "b": 0.2, "c": 0.5})[1]
    assert (alert.column, alert.impact) == (None, pytest.approx(0.2))
    assert alert.examples == ("a and b: 0.50 → -0.25",)
    assert fires(rule, record(0, joint=msgspec.structs.replace(joint, verdict="ok"))) is None


def test_dead_letters() -> None:
    rule = AlertRuleParams("dead", "dead_rate")
    problem = ProblemCount("contract", "missing", "$.origin", 60)
    alert = fires(rule, record(0, records=Volume(940, dead=60), problems=(problem,)))
    assert alert is not None
    assert alert.message == "6% of 1,000 records are dead letters, in the window of w000"
    assert alert.examples == ("60 contract missing $.origin",)
    assert fires(rule, record(0, records=Volume(951, dead=49))) is None
    assert fires(rule, record(0, records=Volume(0, dead=29))) is None
    assert fires(rule, record(0, records=Volume(0))) is None


@pytest.mark.parametrize(
    ("usual", "now", "bad"), [(100, 310, True), (100, 290, False), (100, 30, True), (100, 40, False),
                              (2, 6, False), (0, 0, False), (0, 50, True), (100, 0, True)]
)  # fmt: skip
def test_volume(usual: int, now: int, bad: bool) -> None:
    windows = [record(i, records=Volume(usual)) for i in range(4)]
    alert = fires(AlertRuleParams("v", "volume"), *windows, record(4, records=Volume(now)))
    assert (alert is not None) == bad


def test_volume_needs_some_windows_and_adds_the_versions_up() -> None:
    rule = AlertRuleParams("v", "volume")
    assert fires(rule, *(record(i, records=Volume(10 ** (i + 2))) for i in range(4))) is None
    moved = [
        [record(i, version=1, records=Volume(900 - 100 * i)), record(i, version=2, records=Volume(100 * i))]
        for i in range(9)
    ]
    assert play(moved, msgspec.structs.replace(rule, windows=(1, 1)))[1] == []


def test_what_is_not_seen_any_more_is_resolved_and_forgotten() -> None:
    other = [[record(i)] for i in range(2, 2 + FORGET_AFTER)]
    states, alerts = play(marked("bb") + other[:-1], DRIFT)
    assert [alert.state for _, alert in alerts] == ["firing"]
    assert list(states) == ["d/1/*/x"]
    states, alerts = play(marked("bb") + other, DRIFT)
    assert [(i, alert.state, alert.rank) for i, alert in alerts] == [
        (1, "firing", 1),
        (1 + FORGET_AFTER, "resolved", 1),
    ]
    assert alerts[1][1].message == f"no records in {FORGET_AFTER} windows"
    assert states == {}


def test_quiet_things_take_no_room() -> None:
    assert play(marked("qqq"), DRIFT)[0] == {}
    assert play(marked("bbqqq"), DRIFT)[0] == {}


def test_default_rules_on_a_bad_and_a_good_window() -> None:
    bad = [report(verdict="drift", null_rate=0.1, unseen=50), report("score", "drift", role="score")]
    _, alerts = play([[record(i, *bad, records=Volume(900, dead=100))] for i in range(2)], *DEFAULT_RULES)
    assert sorted(alert.rule for _, alert in alerts) == [
        "dead-letters", "input-drift", "missing", "output-drift", "unseen",
    ]  # fmt: skip
    assert {alert.rule: alert.severity for _, alert in alerts} == {
        "dead-letters": "critical",
        "output-drift": "warning",
        "missing": "warning",
        "input-drift": "info",
        "unseen": "info",
    }
    assert play([[record(i, report())] for i in range(9)], *DEFAULT_RULES)[1] == []


def test_every_subject_has_a_default_rule() -> None:
    assert {rule.on for rule in DEFAULT_RULES} == set(get_args(Subject))
    assert len({rule.name for rule in DEFAULT_RULES}) == len(DEFAULT_RULES)


@pytest.mark.parametrize("wrong", [{"windows": (3, 2)}, {"windows": (0, 2)}, {"resolve_after": 0}])
def test_rules_that_cannot_be_met_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rule d"):
        AlertRuleParams("d", "drift", **wrong)


marks = st.text("bq?-", max_size=60)
numbers = st.integers(1, 4)


@given(marks, numbers, numbers, numbers, st.integers(0, 3))
def test_firing_and_resolved_alternate_and_states_survive_as_json(
    text: str, bad: int, more: int, resolve_after: int, cooldown: int
) -> None:
    rule = AlertRuleParams(
        "d", "drift", windows=(bad, bad + more), resolve_after=resolve_after, cooldown_ms=cooldown * HOUR
    )
    states: dict[str, AlertState] = {}
    seen = []
    for i, mark in enumerate(text):
        records = [] if mark == "-" else [record(i, report(verdict=MARKS[mark]))]
        restored = msgspec.json.decode(msgspec.json.encode(states), type=dict[str, AlertState])
        assert restored == states
        states, alerts = advance(restored, [rule], records, {}, i * HOUR)
        seen += [alert.state for alert in alerts]
    assert seen == ["firing", "resolved"] * (len(seen) // 2) + ["firing"] * (len(seen) % 2)
