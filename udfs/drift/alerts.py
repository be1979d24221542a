"""When drift becomes an alert, and when the alert is over: a pure function of states and drift records.

    states, alerts = advance(states, DEFAULT_RULES, records_of_a_window, importance, window_end_ms)

An alert fires after N bad windows of M, resolves after as many quiet ones in a row, and is open once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import msgspec

from udfs.drift.records import AlertRecord, ColumnReport, DriftRecord, Role, Segment

Subject = Literal["drift", "missing", "unseen", "joint", "dead_rate", "volume"]
Severity = Literal["info", "warning", "critical"]

FORGET_AFTER = 100
MIN_ROWS = 30
VOLUME_WINDOWS = 8
DEFAULT_DEAD_RATE = 0.05
DEFAULT_VOLUME_FACTOR = 3.0


class Rule(msgspec.Struct, frozen=True):
    """Fires after `windows` = (bad, of). No `columns` or `roles` means all.

    With `segments` each segment has alerts of its own; by default there are none, since a segment is compared
    with the reference of all rows, from which it may always differ.

    From `above` on a window is bad: of the column's `statistic` (drift), the rise of the null rate (missing),
    the share of the values (unseen), the score (joint), the share of the records (dead_rate), or the factor
    to the median of the last 8 windows, up or down (volume). With `above` null the record's verdict decides,
    the column's `min_effect`, 5% dead letters, or a factor of 3.
    """

    name: str
    on: Subject
    columns: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    statistic: str = "effect"
    above: float | None = None
    severity: Severity = "warning"
    windows: tuple[int, int] = (2, 3)
    resolve_after: int = 2
    cooldown_ms: int = 0
    segments: bool = False

    def __post_init__(self) -> None:
        bad, of = self.windows
        if not 1 <= bad <= of:
            raise ValueError(f"rule {self.name}: bad windows must be 1 to {of}; got {bad}")
        if self.resolve_after < 1:
            raise ValueError(f"rule {self.name}: resolve_after must be positive; got {self.resolve_after}")


DEFAULT_RULES = (
    Rule("output-drift", "drift", roles=("prediction", "score"), severity="critical"),
    Rule("input-drift", "drift", roles=("input", "feature")),
    Rule("missing", "missing", above=0.05),
    Rule("unseen", "unseen", above=0.01),
    Rule("joint-drift", "joint"),
    Rule("dead-letters", "dead_rate", above=DEFAULT_DEAD_RATE, severity="critical"),
    Rule("volume", "volume", above=DEFAULT_VOLUME_FACTOR),
)


class AlertState(msgspec.Struct, frozen=True):
    """What is remembered of one id.

    `recent` are the last judged windows: their start where bad, null where quiet. `opened` is the firing
    record of the open alert. `unseen_for` counts the windows without a record of this id.
    """

    recent: tuple[str | None, ...] = ()
    quiet: int = 0
    opened: AlertRecord | None = None
    closed_ms: int | None = None
    volumes: tuple[int, ...] = ()
    unseen_for: int = 0


@dataclass(frozen=True)
class Finding:
    """What one rule says of one thing in one window; `bad` is None where the data do not suffice."""

    id: str
    rule: Rule
    record: DriftRecord
    column: str | None
    bad: bool | None
    statistic: str
    value: float
    threshold: float
    message: str
    impact: float
    examples: tuple[str, ...] = ()
    volume: int | None = None


def advance(
    states: dict[str, AlertState],
    rules: Sequence[Rule],
    records: Sequence[DriftRecord],
    importance: Mapping[str, float],
    window_end_ms: int,
) -> tuple[dict[str, AlertState], list[AlertRecord]]:
    """The states after the records of one window, and the alerts that changed, ranked by impact.

    An open alert whose id is not seen for 100 windows is resolved and forgotten.
    """
    after: dict[str, AlertState] = {}
    changed: list[AlertRecord] = []
    for finding in _all_findings(rules, records, states, importance):
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
    return kept, _ranked(changed)


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
        if state.quiet < rule.resolve_after:
            return state, None
        alert = _alert(finding, "resolved", state.opened.since, recent)
        return replace(state, recent=(), quiet=0, opened=None, closed_ms=window_end_ms), alert
    cooling = state.closed_ms is not None and window_end_ms < state.closed_ms + rule.cooldown_ms
    if not finding.bad or len(bad) < rule.windows[0] or cooling:
        return state, None
    alert = _alert(finding, "firing", bad[0], recent)
    return replace(state, opened=alert), alert


def _says_nothing(state: AlertState, cooldown_ms: int, window_end_ms: int) -> bool:
    """Whether a state is as good as none, so that only what was bad lately takes room."""
    cooling = state.closed_ms is not None and window_end_ms < state.closed_ms + cooldown_ms
    return not (state.opened or any(state.recent) or state.volumes or cooling)


def _alert(
    finding: Finding, state: Literal["firing", "resolved"], since: str, recent: Sequence[str | None]
) -> AlertRecord:
    record = finding.record
    over = "back to normal: " if state == "resolved" else ""
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
        message=f"{_where(record.segment)}{over}{finding.message}",
        window=record.window,
        since=since,
        windows_bad=sum(window is not None for window in recent),
        windows_seen=len(recent),
        impact=min(max(finding.impact, 0.0), 1.0),
        rank=0,
        examples=finding.examples,
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
    )


def _ranked(alerts: Sequence[AlertRecord]) -> list[AlertRecord]:
    order = sorted(alerts, key=lambda alert: (-alert.impact, alert.id))
    return [msgspec.structs.replace(alert, rank=rank) for rank, alert in enumerate(order, 1)]


def _where(segment: Segment | None) -> str:
    if segment is None:
        return ""
    return f"{segment.column} {'null' if segment.value is None else segment.value}: "


def _id(rule: Rule, version: int | str, segment: Segment | None, column: str | None) -> str:
    """rule/version/segment/column, `*` for all; parts are percent-encoded, so that ids cannot collide."""
    place = "*"
    if segment is not None:
        value = "" if segment.value is None else f"={quote(segment.value, safe='')}"
        place = quote(segment.column, safe="") + value
    return (
        f"{quote(rule.name, safe='')}/{version}/{place}/{'*' if column is None else quote(column, safe='')}"
    )


def _all_findings(
    rules: Sequence[Rule],
    records: Sequence[DriftRecord],
    states: Mapping[str, AlertState],
    importance: Mapping[str, float],
) -> Iterator[Finding]:
    for rule in rules:
        watched = [record for record in records if rule.segments or record.segment is None]
        if rule.on == "volume":
            yield from _volumes(rule, watched, states)
            continue
        for record in watched:
            if rule.on == "joint":
                yield from _joint(rule, record, importance)
            elif rule.on == "dead_rate":
                yield _dead(rule, record)
            else:
                yield from _columns(rule, record, importance)


def _columns(rule: Rule, record: DriftRecord, importance: Mapping[str, float]) -> Iterator[Finding]:
    for column in record.columns:
        if (rule.columns and column.name not in rule.columns) or (
            rule.roles and column.role not in rule.roles
        ):
            continue
        output = column.role in ("prediction", "score")
        weight = 1.0 if output else importance.get(column.name, 0.0)
        if rule.on == "missing":
            yield _missing(rule, record, column, weight)
        elif rule.on == "drift":
            yield from _drift(rule, record, column, weight)
        elif column.kind == "categorical":
            yield _unseen(rule, record, column, weight)


def _drift(rule: Rule, record: DriftRecord, column: ColumnReport, weight: float) -> Iterator[Finding]:
    value, threshold = column.effect, column.min_effect
    if rule.statistic != "effect":
        if rule.statistic not in column.statistics:
            return
        statistic = column.statistics[rule.statistic]
        value, threshold = statistic.value, statistic.threshold
    bad: bool | None = column.verdict == "drift"
    if rule.above is not None:
        threshold, bad = rule.above, value >= rule.above
    if column.verdict == "insufficient_data":
        bad = None
    name = column.name
    message = column.direction if column.direction.startswith(name) else f"{name}: {column.direction}"
    key = _id(rule, record.version, record.segment, name)
    impact = weight * column.effect
    yield Finding(
        key, rule, record, name, bad, rule.statistic, value, threshold, message, impact, _examples(column)
    )


def _examples(column: ColumnReport) -> tuple[str, ...]:
    """Unseen values, else the three bins that moved the most."""
    if column.unseen_examples:
        return column.unseen_examples
    bins = list(zip(column.bins.labels, column.bins.reference, column.bins.current, strict=True))
    moved = sorted((part for part in bins if part[1] != part[2]), key=lambda part: -abs(part[2] - part[1]))
    return tuple(f"{label}: {_share(before)} → {_share(now)}" for label, before, now in moved[:3])


def _missing(rule: Rule, record: DriftRecord, column: ColumnReport, weight: float) -> Finding:
    expected, rows = column.reference_null_rate, record.records.predicted
    value = column.null_rate - expected
    # Three standard errors, so that few rows do not make an alert by chance.
    noise = 3 * math.sqrt(expected * (1 - expected) / max(rows, 1))
    threshold = max(column.min_effect if rule.above is None else rule.above, noise)
    bad = value >= threshold if rows >= MIN_ROWS else None
    message = f"{column.name}: nulls {_share(expected)} → {_share(column.null_rate)}"
    key = _id(rule, record.version, record.segment, column.name)
    return Finding(
        key, rule, record, column.name, bad, "null_rate", value, threshold, message, weight * value
    )


def _unseen(rule: Rule, record: DriftRecord, column: ColumnReport, weight: float) -> Finding:
    value = column.unseen / column.n if column.n else 0.0
    threshold = column.min_effect if rule.above is None else rule.above
    bad = value >= threshold if column.n >= MIN_ROWS else None
    message = f"{column.name}: {_share(value)} of the values are not in the reference"
    key = _id(rule, record.version, record.segment, column.name)
    return Finding(
        key,
        rule,
        record,
        column.name,
        bad,
        "unseen",
        value,
        threshold,
        message,
        weight * value,
        column.unseen_examples,
    )


def _joint(rule: Rule, record: DriftRecord, importance: Mapping[str, float]) -> Iterator[Finding]:
    joint = record.joint
    if joint is None:
        return
    threshold = joint.threshold if rule.above is None else rule.above
    bad: bool | None = joint.verdict == "drift" if rule.above is None else joint.value >= rule.above
    if joint.verdict == "insufficient_data":
        bad = None
    names = {name for pair in joint.pairs for name in (pair.first, pair.second)}
    weight = math.fsum(importance.get(name, 0.0) for name in names)
    changes = tuple(f"{p.first} and {p.second}: {p.reference:.2f} → {p.current:.2f}" for p in joint.pairs)
    message = "columns move together differently; correlation of " + ("; ".join(changes[:1]) or "none")
    key = _id(rule, record.version, record.segment, None)
    yield Finding(
        key,
        rule,
        record,
        None,
        bad,
        "correlation",
        joint.value,
        threshold,
        message,
        weight * joint.value,
        changes,
    )


def _dead(rule: Rule, record: DriftRecord) -> Finding:
    dead, total = record.records.dead, record.records.predicted + record.records.dead
    value = dead / total if total else 0.0
    threshold = DEFAULT_DEAD_RATE if rule.above is None else rule.above
    bad = value >= threshold if total >= MIN_ROWS else None
    reasons = tuple(
        f"{part.count:,} {part.stage} {part.reason}{f' {part.field}' if part.field else ''}"
        for part in record.problems[:3]
    )
    key = _id(rule, record.version, record.segment, None)
    message = f"{_share(value)} of {total:,} records are dead letters"
    return Finding(key, rule, record, None, bad, "dead_rate", value, threshold, message, value, reasons)


def _volumes(
    rule: Rule, records: Sequence[DriftRecord], states: Mapping[str, AlertState]
) -> Iterator[Finding]:
    """All versions together: a release moves records from one to the other."""
    places: dict[str, list[DriftRecord]] = {}
    for record in records:
        places.setdefault(_id(rule, "*", record.segment, None), []).append(record)
    for key, same in places.items():
        newest = max(same, key=lambda record: record.version)
        volume = sum(r.records.predicted + r.records.dead + r.records.late for r in same)
        before = states.get(key, AlertState()).volumes
        usual = float(statistics.median(before)) if before else 0.0
        ratio = max(volume, 1) / max(usual, 1.0)
        value = max(ratio, 1 / ratio)
        threshold = DEFAULT_VOLUME_FACTOR if rule.above is None else rule.above
        # Beyond chance as well: counts vary by about their square root.
        bad = value >= threshold and abs(volume - usual) >= 3 * math.sqrt(max(usual, 1.0))
        known = len(before) >= VOLUME_WINDOWS // 2
        message = f"{volume:,} records, usually {usual:,.0f}"
        yield Finding(
            key,
            rule,
            newest,
            None,
            bad if known else None,
            "volume",
            value,
            threshold,
            message,
            1 - 1 / value,
            volume=volume,
        )


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"
