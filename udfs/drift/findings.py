"""Applies each rule to the segments and columns that it watches in one window."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import quote

from udfs.alerts.records import Damage, Segment
from udfs.drift.alert_rules import DEFAULT_DEAD_RATE, DEFAULT_VOLUME_FACTOR, AlertRuleParams
from udfs.drift.records import ColumnReport, DriftRecord, named

MIN_ROWS = 30
VOLUME_WINDOWS = 8
OUTPUTS = ("prediction", "score")


@dataclass(frozen=True)
class Finding:
    """What one rule says of one thing in one window; `bad` is None where the data do not suffice.

    `moved` is which way it went.
    """

    id: str
    rule: AlertRuleParams
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
    moved: tuple[float, ...] = ()
    damage: Damage = "inputs"


def alert_id(rule: str, version: int | str, segment: Segment | None, column: str | None) -> str:
    """rule/version/segment/column, `*` for all; parts are percent-encoded, so that ids cannot collide."""
    where = "*"
    if segment is not None:
        value = "" if segment.value is None else f"={quote(segment.value, safe='')}"
        where = quote(segment.column, safe="") + value
    return f"{quote(rule, safe='')}/{version}/{where}/{'*' if column is None else quote(column, safe='')}"


def find(
    rules: Sequence[AlertRuleParams],
    records: Sequence[DriftRecord],
    volumes: Mapping[str, Sequence[int]],
    importance: Mapping[str, float],
) -> Iterator[Finding]:
    """What all rules say of the records of one window; `volumes` are those of the windows before, by id."""
    for rule in rules:
        watched = [record for record in records if rule.segments or record.segment is None]
        if rule.on == "volume":
            yield from _volumes(rule, [record for record in watched if not record.partial], volumes)
            continue
        for record in watched:
            if (record.partial or record.learning) and rule.on != "dead_rate":
                continue
            if rule.on == "joint":
                yield from _joint(rule, record, importance)
            elif rule.on == "dead_rate":
                yield _dead(rule, record)
            else:
                yield from _columns(rule, record, importance)


def _columns(
    rule: AlertRuleParams, record: DriftRecord, importance: Mapping[str, float]
) -> Iterator[Finding]:
    for column in record.columns:
        if (rule.columns and column.name not in rule.columns) or (
            rule.roles and column.role not in rule.roles
        ):
            continue
        weight = 1.0 if column.role in OUTPUTS else importance.get(column.name, 0.0)
        if rule.on == "missing":
            yield _missing(rule, record, column, weight)
        elif rule.on == "drift":
            yield from _drift(rule, record, column, weight)
        elif column.kind == "categorical":
            yield _unseen(rule, record, column, weight)


def _drift(
    rule: AlertRuleParams, record: DriftRecord, column: ColumnReport, weight: float
) -> Iterator[Finding]:
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
    key = alert_id(rule.name, record.version, record.segment, name)
    impact = weight * column.effect
    yield Finding(
        key,
        rule,
        record,
        name,
        bad,
        rule.statistic,
        value,
        threshold,
        named(name, column.direction),
        impact,
        _examples(column),
        moved=_moved(column),
        damage="outputs" if column.role in OUTPUTS else "inputs",
    )


def _moved(column: ColumnReport) -> tuple[float, ...]:
    """By how much the share of each value changed, or of the rows up to the end of each bin of numbers."""
    changes = [now - before for before, now in zip(column.bins.reference, column.bins.current, strict=True)]
    return tuple(accumulate(changes)) if column.kind == "numeric" else tuple(changes)


def _examples(column: ColumnReport) -> tuple[str, ...]:
    """Unseen values, else the three bins that moved the most."""
    if column.unseen_examples:
        return column.unseen_examples
    bins = list(zip(column.bins.labels, column.bins.reference, column.bins.current, strict=True))
    moved = sorted((part for part in bins if part[1] != part[2]), key=lambda part: -abs(part[2] - part[1]))
    return tuple(f"{label}: {_share(before)} → {_share(now)}" for label, before, now in moved[:3])


def _missing(rule: AlertRuleParams, record: DriftRecord, column: ColumnReport, weight: float) -> Finding:
    expected, rows = column.reference_null_rate, record.records.predicted
    value = column.null_rate - expected
    # Three standard errors, so that few rows do not make an alert by chance.
    noise = 3 * math.sqrt(expected * (1 - expected) / max(rows, 1))
    threshold = max(column.min_effect if rule.above is None else rule.above, noise)
    bad = value >= threshold if rows >= MIN_ROWS else None
    message = f"{column.name}: nulls {_share(expected)} → {_share(column.null_rate)}"
    key = alert_id(rule.name, record.version, record.segment, column.name)
    return Finding(
        key, rule, record, column.name, bad, "null_rate", value, threshold, message, weight * value
    )


def _unseen(rule: AlertRuleParams, record: DriftRecord, column: ColumnReport, weight: float) -> Finding:
    share = column.unseen / column.n if column.n else 0.0
    # A reference with a tail does not have them all.
    value = max(share - column.reference_unseen, 0.0)
    threshold = column.min_effect if rule.above is None else rule.above
    tested = column.statistics.get("unseen")
    sure = tested is None or tested.p is None or tested.p <= record.level
    bad = value >= threshold and sure if column.n >= MIN_ROWS else None
    message = f"{column.name}: {_share(share)} of the values are not in the reference"
    if column.reference_unseen:
        message += f", expected {_share(column.reference_unseen)}"
    key = alert_id(rule.name, record.version, record.segment, column.name)
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


def _joint(rule: AlertRuleParams, record: DriftRecord, importance: Mapping[str, float]) -> Iterator[Finding]:
    joint = record.joint
    if joint is None:
        return
    threshold = joint.threshold if rule.above is None else rule.above
    bad: bool | None = joint.verdict == "drift" if rule.above is None else joint.value >= rule.above
    if joint.verdict == "insufficient_data":
        bad = None
    names = {name for pair in joint.pairs for name in (pair.first, pair.second)}
    weight = math.fsum(importance.get(name, 0.0) for name in names)
    changes = tuple(map(str, joint.pairs))
    of = "correlation of " if joint.test == "correlations" else ""
    message = f"columns go together differently; {of}" + ("; ".join(changes[:1]) or "none")
    key = alert_id(rule.name, record.version, record.segment, None)
    yield Finding(
        key,
        rule,
        record,
        None,
        bad,
        "correlation" if joint.test == "correlations" else "pairs",
        joint.value,
        threshold,
        message,
        weight * joint.value,
        changes,
    )


def _dead(rule: AlertRuleParams, record: DriftRecord) -> Finding:
    dead, total = record.records.dead, record.records.predicted + record.records.dead
    value = dead / total if total else 0.0
    threshold = DEFAULT_DEAD_RATE if rule.above is None else rule.above
    bad = value >= threshold if total >= MIN_ROWS else None
    reasons = tuple(
        f"{part.count:,} {part.stage} {part.reason}{f' {part.field}' if part.field else ''}"
        for part in record.problems[:3]
    )
    key = alert_id(rule.name, record.version, record.segment, None)
    message = f"{_share(value)} of {total:,} records are dead letters"
    return Finding(
        key,
        rule,
        record,
        None,
        bad,
        "dead_rate",
        value,
        threshold,
        message,
        value,
        reasons,
        damage="records",
    )


def _volumes(
    rule: AlertRuleParams, records: Sequence[DriftRecord], volumes: Mapping[str, Sequence[int]]
) -> Iterator[Finding]:
    """All versions together: a release moves records from one to the other."""
    by_segment: dict[str, list[DriftRecord]] = {}
    for record in records:
        by_segment.setdefault(alert_id(rule.name, "*", record.segment, None), []).append(record)
    for key, same in by_segment.items():
        newest = max(same, key=lambda record: record.version)
        volume = sum(r.records.predicted + r.records.dead + r.records.late for r in same)
        before = volumes.get(key, ())
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
            moved=(math.copysign(1.0, volume - usual),),
            damage="records",
        )


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"
