"""An open alert follows what it is about: it says more when that grows worse, and else nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.drift_windows import record, report
from udfs.alerts.records import AlertRecord
from udfs.drift.alert_rules import AlertRuleParams
from udfs.drift.alert_states import AlertState, advance
from udfs.drift.records import Bins, DriftRecord, Verdict, Volume

HOUR = 3_600_000
RULE = AlertRuleParams("d", "drift", windows=(1, 1), resolve_after=2)
REFERENCE = (0.25, 0.25, 0.25, 0.25)


def moved(i: int, share: float) -> list[DriftRecord]:
    """A window in which such a share of the rows moved up, or down; none is a quiet one."""
    bins = Bins(("a", "b", "c", "d"), REFERENCE, (0.25 - share, 0.25, 0.25, 0.25 + share))
    direction = "moved up" if share > 0 else "moved down"
    verdict: Verdict = "drift" if share else "ok"
    return [record(i, report("x", verdict, effect=abs(share), bins=bins, direction=direction))]


def play(shares: Sequence[float], *, restarts: bool = False) -> list[AlertRecord]:
    states: dict[str, AlertState] = {}
    found: list[AlertRecord] = []
    for i, share in enumerate(shares):
        if restarts:
            states = msgspec.msgpack.decode(msgspec.msgpack.encode(states), type=dict[str, AlertState])
        states, alerts = advance(states, [RULE], moved(i, share), {"x": 0.5}, (i + 1) * HOUR)
        found += alerts
    return found


def told(shares: Sequence[float]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(alert.state, alert.window.start, alert.changed) for alert in play(shares)]


def test_twice_the_effect_is_said_and_less_is_not() -> None:
    assert told([0.03, 0.05, 0.059, 0.06, 0.11, 0.12]) == [
        ("firing", "w000", ()),
        ("updated", "w003", ("larger",)),
        ("updated", "w005", ("larger",)),
    ]


def test_a_turn_is_said_at_once_with_what_is_true_now() -> None:
    first, second = play([0.04, -0.2])
    assert (first.message, first.value) == ("x: moved up, in the window of w000", 0.04)
    assert (second.state, second.changed, second.value) == ("updated", ("larger", "turned"), 0.2)
    assert second.message == "x: moved down, in the window of w001; before that it had moved the other way"
    assert (second.since, second.impact) == ("w000", pytest.approx(0.1))


def test_numbers_turn_round_though_most_of_their_bins_change_alike() -> None:
    """From both ends to the middle, but downwards in all: bins alone would not tell."""
    labels = ("a", "b", "c", "d")
    states: dict[str, AlertState] = {}
    found: list[AlertRecord] = []
    for i, current in enumerate([(0.24, 0.25, 0.25, 0.26), (0.3, 0.5, 0.2, 0.0)]):
        column = report(
            "x", "drift", kind="numeric", effect=0.01 + 0.29 * i, bins=Bins(labels, REFERENCE, current)
        )
        states, alerts = advance(states, [RULE], [record(i, column)], {}, (i + 1) * HOUR)
        found += alerts
    assert [alert.changed for alert in found] == [(), ("larger", "turned")]


def test_a_rhythm_that_swings_to_and_fro_is_not_an_alert_each_time() -> None:
    """What is up by day and down by night turns twice a day for ever."""
    assert len(told([0.1, -0.14] * 20)) == 1
    assert told([0.1, -0.16, 0.1, -0.16, 0.1, -0.16])[1:] == [("updated", "w001", ("turned",))]


def test_it_is_over_after_quiet_windows_and_says_what_it_was() -> None:
    *_, updated, resolved = play([0.04, -0.2, 0.0, 0.0])
    assert resolved.state == "resolved"
    assert resolved.message == f"back to normal, in the window of w003; it was: {updated.message}"
    assert (resolved.changed, resolved.severity) == ((), "warning")
    assert [alert.state for alert in play([0.04, 0.0, 0.0, 0.04])] == ["firing", "resolved", "firing"]


def test_a_rule_that_became_more_severe_is_said_and_one_that_became_less_is_not() -> None:
    states, _ = advance({}, [RULE], moved(0, 0.1), {}, HOUR)
    for severity, changed in (("critical", [("severity",)]), ("info", [])):
        rule = msgspec.structs.replace(RULE, severity=severity)
        _, alerts = advance(states, [rule], moved(1, 0.1), {}, 2 * HOUR)
        assert [alert.changed for alert in alerts] == changed


def test_records_that_vanish_after_there_were_too_many_turn_round() -> None:
    rule = AlertRuleParams("v", "volume", windows=(1, 1))
    states: dict[str, AlertState] = {}
    found: list[AlertRecord] = []
    for i, volume in enumerate((100, 100, 100, 100, 400, 5)):
        states, alerts = advance(states, [rule], [record(i, records=Volume(volume))], {}, (i + 1) * HOUR)
        found += alerts
    assert [(alert.state, alert.changed) for alert in found] == [
        ("firing", ()),
        ("updated", ("larger", "turned")),
    ]


shares = st.lists(st.sampled_from([0.0, 0.03, 0.05, 0.1, 0.2, -0.03, -0.07, -0.2]), max_size=40)


@given(shares)
def test_a_restart_after_every_window_changes_no_byte(found: list[float]) -> None:
    assert msgspec.json.encode(play(found, restarts=True)) == msgspec.json.encode(play(found))


@given(shares)
def test_updates_come_while_it_is_open_only_and_are_few(found: list[float]) -> None:
    """Each says half as much again as the one before: from .03 to .2 that is four times."""
    opened, updates = False, 0
    for alert in play(found):
        assert alert.state in (("updated", "resolved") if opened else ("firing",))
        updates = updates + 1 if alert.state == "updated" else 0
        assert bool(alert.changed) == (alert.state == "updated")
        assert updates <= math.log(0.2 / 0.03) / math.log(1.5)
        opened = alert.state != "resolved"
