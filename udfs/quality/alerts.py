"""The alert that labels do not follow from the scores as they should: the estimate is blind to that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from udfs.alerts.records import AlertRecord
from udfs.quality.records import Gap, QualityRecord

RULE = "concept-change"
# Fewer labels say too little of a window.
LEAST_LABELS = 100


class AlertState(msgspec.Struct, frozen=True):
    """Open alerts by id, and the newest window that was judged, by version."""

    opened: dict[str, AlertRecord] = {}
    judged: dict[int, str] = {}


def judge(state: AlertState, records: Sequence[QualityRecord]) -> tuple[AlertState, list[AlertRecord]]:
    """The state after these records, and the alerts that they change.

    A window is judged at each revision; one that is older than the newest that was judged says nothing new.
    """
    opened, judged = dict(state.opened), dict(state.judged)
    changed: list[AlertRecord] = []
    for record in records:
        gap = record.gap
        if record.segment or gap is None or record.labels is None or record.labels.n < LEAST_LABELS:
            continue
        start = record.window.start
        if start < judged.get(record.version, ""):
            continue
        judged[record.version] = start
        if alert := _change(opened, record, gap):
            changed.append(msgspec.structs.replace(alert, rank=len(changed) + 1))
    return AlertState(opened, judged), changed


def _change(opened: dict[str, AlertRecord], record: QualityRecord, gap: Gap) -> AlertRecord | None:
    name = f"{RULE}/{record.version}"
    known = opened.get(name)
    if gap.changed and known is None:
        opened[name] = _alert(name, record, gap)
        return opened[name]
    if not gap.changed and known is not None:
        del opened[name]
        message = f"over: {known.message}"
        return msgspec.structs.replace(known, state="resolved", window=record.window, message=message)
    return None


def _alert(name: str, record: QualityRecord, gap: Gap) -> AlertRecord:
    return AlertRecord(
        job=record.job,
        id=name,
        rule=RULE,
        state="firing",
        severity="critical" if gap.worse else "info",
        model=record.model,
        version=record.version,
        segment=None,
        column=None,
        statistic=gap.metric,
        value=gap.realized,
        threshold=gap.expected,
        message=message_of(record, gap),
        window=record.window,
        since=record.window.start,
        windows_bad=1,
        windows_seen=1,
        impact=min(abs(gap.part), 1.0) if gap.worse else 0.0,
        rank=1,
        examples=(),
    )


def message_of(record: QualityRecord, gap: Gap) -> str:
    """For a person."""
    labels = record.labels.n if record.labels else 0
    side = "higher" if gap.realized > gap.expected else "lower"
    what = f"{gap.metric.replace('_', ' ')} {gap.realized:.3g} of {labels:,} labels"
    expected = f"{abs(gap.part):.0%} {side} than the {gap.expected:.3g} that the scores made expect"
    return f"{what} is {expected}: labels do not follow from the scores as they should"
