"""Decides when drift becomes an alert and when that is over, as a pure function of states and drift records.

An alert fires after N bad windows of M, resolves after as many quiet ones in a row, and is open once. It is
updated when it grows worse: when its value is twice what was last said, when the values moved the other way
and half as far again, or when its rule has become more severe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from udfs.alerts.records import SEVERITIES, AlertRecord, Change, Segment, in_window, over
from udfs.drift.alert_rules import AlertRuleParams
from udfs.drift.findings import VOLUME_WINDOWS, Finding, find
from udfs.drift.records import DriftRecord

FORGET_AFTER = 100
# Mostly the opposite, by the cosine of both changes; and so much further that a swing says it once.
_TURNED, _FURTHER = -0.5, 1.5


class AlertState(msgspec.Struct, frozen=True):
    """What is remembered of one id.

    `recent` are the last judged windows: their start where bad, null where quiet. `opened` is what was last
    said of the open alert, and `moved` which way the values had gone then. `unseen_for` counts the windows
    without a record of this id.
    """

    recent: tuple[str | None, ...] = ()
    quiet: int = 0
    opened: AlertRecord | None = None
    closed_ms: int | None = None
    volumes: tuple[int, ...] = ()
    unseen_for: int = 0
    moved: tuple[float, ...] = ()


def advance(
    states: dict[str, AlertState],
    rules: Sequence[AlertRuleParams],
    records: Sequence[DriftRecord],
    importance: Mapping[str, float],
    window_end_ms: int,
) -> tuple[dict[str, AlertState], list[AlertRecord]]:
    """The states after the records of one window, and the alerts that changed, ranked by impact.

    An open alert whose id is not seen for 100 windows is resolved and forgotten.
    """
    after: dict[str, AlertState] = {}
    changed: list[AlertRecord] = []
    volumes = {key: state.volumes for key, state in states.items()}
    for finding in find(rules, records, volumes, importance):
        after[finding.id], alert = _next(states.get(finding.id, AlertState()), finding, window_end_ms)
        changed += [alert] if alert else []
    for key in states.keys() - after.keys():
        state = msgspec.structs.replace(states[key], unseen_for=states[key].unseen_for + 1)
        if state.unseen_for < FORGET_AFTER:
            after[key] = state
        elif state.opened:
            changed.append(_forgotten(state.opened, records))
    cooldowns = {quote(rule.name, safe=""): rule.cooldown_ms for rule in rules}
    kept = {
        key: state
        for key, state in sorted(after.items())
        if not _says_nothing(state, cooldowns.get(key.partition("/")[0], 0), window_end_ms)
    }
    return kept, ranked(changed)


def _next(state: AlertState, finding: Finding, window_end_ms: int) -> tuple[AlertState, AlertRecord | None]:
    rule = finding.rule
    replace = msgspec.structs.replace
    if finding.volume is not None:
        state = replace(state, volumes=(*state.volumes, finding.volume)[-VOLUME_WINDOWS:])
    state = replace(state, unseen_for=0)
    if finding.bad is None:
        return state, None
    start = finding.record.window.start if finding.bad else None
    recent = (*state.recent, start)[-rule.windows[1] :]
    state = replace(state, recent=recent, quiet=0 if finding.bad else state.quiet + 1)
    bad = [window for window in recent if window is not None]
    if state.opened:
        if state.quiet >= rule.resolve_after:
            alert = _resolved(state.opened, finding, recent)
            closed = {"recent": (), "quiet": 0, "opened": None, "moved": ()}
            return replace(state, **closed, closed_ms=window_end_ms), alert
        changed = _worse(state.opened, state.moved, finding)
        if not changed:
            return state, None
        alert = replace(_alert(finding, "updated", state.opened.since, recent), changed=changed)
        if "turned" in changed:
            alert = replace(alert, message=f"{alert.message}; before that it had moved the other way")
        return replace(state, opened=alert, moved=finding.moved), alert
    cooling = state.closed_ms is not None and window_end_ms < state.closed_ms + rule.cooldown_ms
    if not finding.bad or len(bad) < rule.windows[0] or cooling:
        return state, None
    alert = _alert(finding, "firing", bad[0], recent)
    return replace(state, opened=alert, moved=finding.moved), alert


def _worse(opened: AlertRecord, moved: Sequence[float], finding: Finding) -> tuple[Change, ...]:
    """How a bad window is worse than what was last said of the alert."""
    if not finding.bad:
        return ()
    turned = finding.value >= _FURTHER * opened.value and _cosine(moved, finding.moved) <= _TURNED
    severer = SEVERITIES.index(finding.rule.severity) > SEVERITIES.index(opened.severity)
    found: dict[Change, bool] = {
        "larger": finding.value >= 2 * opened.value,
        "turned": turned,
        "severity": severer,
    }
    return tuple(change for change, holds in found.items() if holds)


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Of two changes; 0 where they are of other bins, or nothing changed."""
    lengths = math.hypot(*first) * math.hypot(*second)
    if not lengths or len(first) != len(second):
        return 0.0
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / lengths


def _says_nothing(state: AlertState, cooldown_ms: int, window_end_ms: int) -> bool:
    """Whether a state is as good as none, so that only what was bad lately takes room."""
    cooling = state.closed_ms is not None and window_end_ms < state.closed_ms + cooldown_ms
    return not (state.opened or any(state.recent) or state.volumes or cooling)


def _resolved(opened: AlertRecord, finding: Finding, recent: Sequence[str | None]) -> AlertRecord:
    """It is as severe as it was; its values are those of now."""
    alert = _alert(finding, "resolved", opened.since, recent)
    message = over(opened, finding.record.window)
    return msgspec.structs.replace(alert, message=message, severity=opened.severity)


def _alert(
    finding: Finding,
    state: Literal["firing", "updated", "resolved"],
    since: str,
    recent: Sequence[str | None],
) -> AlertRecord:
    record = finding.record
    return AlertRecord(
        job=record.job,
        id=finding.id,
        rule=finding.rule.name,
        state=state,
        severity=finding.rule.severity,
        model=record.model,
        version=record.version,
        segment=record.segment,
        column=finding.column,
        statistic=finding.statistic,
        value=finding.value,
        threshold=finding.threshold,
        message=in_window(f"{_where(record.segment)}{finding.message}", record.window),
        window=record.window,
        since=since,
        windows_bad=sum(window is not None for window in recent),
        windows_seen=len(recent),
        impact=min(max(finding.impact, 0.0), 1.0),
        rank=0,
        examples=finding.examples,
        damage=finding.damage,
    )


def _forgotten(opened: AlertRecord, records: Sequence[DriftRecord]) -> AlertRecord:
    """Resolved for want of records, so that it does not stay open for ever."""
    window = records[0].window if records else opened.window
    message = f"{_where(opened.segment)}no records in {FORGET_AFTER} windows"
    return msgspec.structs.replace(
        opened,
        state="resolved",
        message=message,
        window=window,
        windows_bad=0,
        windows_seen=0,
        impact=0.0,
        examples=(),
        changed=(),
    )


def ranked(alerts: Sequence[AlertRecord]) -> list[AlertRecord]:
    """The alerts that change together, by impact."""
    order = sorted(alerts, key=lambda alert: (-alert.impact, alert.id))
    return [msgspec.structs.replace(alert, rank=rank) for rank, alert in enumerate(order, 1)]


def _where(segment: Segment | None) -> str:
    if segment is None:
        return ""
    return f"{segment.column} {'null' if segment.value is None else segment.value}: "
