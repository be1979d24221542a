"""When quality becomes an alert: it fell, or labels do not follow from the scores as they should.

The second is what no estimate can see (`Gap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from udfs.alerts.records import AlertRecord, in_window, over
from udfs.quality.expected import ReferenceQuality
from udfs.quality.falls import LEAST_LABELS, Fall, advance, labels_until
from udfs.quality.records import Gap, QualityRecord

RULE = "concept-change"


class AlertState(msgspec.Struct, frozen=True):
    """Open alerts by id, the newest window that was judged by version, and what is known of falls by id."""

    opened: dict[str, AlertRecord] = {}
    judged: dict[int, str] = {}
    falls: dict[str, Fall] = {}


def judge(
    state: AlertState,
    records: Sequence[QualityRecord],
    fall: float = 0.05,
    trained: Mapping[int, ReferenceQuality] | None = None,
) -> tuple[AlertState, list[AlertRecord]]:
    """The state after these records, and the alerts that they change.

    A window is judged at each revision; one that is older than the newest that was judged says nothing new,
    nor does a partial one.
    Quality that is worse by a part of `fall` is an alert, if that is more than chance; `trained` is what
    training says of versions, for their first windows.
    """
    whole = [record for record in records if not record.partial]
    falls, changed = advance(state.falls, whole, fall, trained or {})
    opened, judged, of_gaps = _gaps(state, whole)
    ranked = [
        msgspec.structs.replace(alert, rank=rank) for rank, alert in enumerate([*changed, *of_gaps], start=1)
    ]
    return AlertState(opened, judged, falls), ranked


def _gaps(
    state: AlertState, records: Sequence[QualityRecord]
) -> tuple[dict[str, AlertRecord], dict[int, str], list[AlertRecord]]:
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
            changed.append(alert)
    return opened, judged, changed


def _change(opened: dict[str, AlertRecord], record: QualityRecord, gap: Gap) -> AlertRecord | None:
    name = f"{RULE}/{record.version}"
    known = opened.get(name)
    if gap.changed and known is None:
        opened[name] = _alert(name, record, gap)
        return opened[name]
    if not gap.changed and known is not None:
        del opened[name]
        return msgspec.structs.replace(
            known,
            state="resolved",
            window=record.window,
            message=over(known, record.window),
            at=labels_until(record),
        )
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
        message=in_window(message_of(record, gap), record.window),
        window=record.window,
        since=record.window.start,
        windows_bad=1,
        windows_seen=1,
        impact=min(abs(gap.part), 1.0) if gap.worse else 0.0,
        rank=1,
        examples=(),
        at=labels_until(record),
        damage="realized",
    )


def message_of(record: QualityRecord, gap: Gap) -> str:
    """For a person."""
    labels = record.labels.n if record.labels else 0
    side = "higher" if gap.realized > gap.expected else "lower"
    what = f"{gap.metric.replace('_', ' ')} {gap.realized:.3g} of {labels:,} labels"
    expected = f"{abs(gap.part):.0%} {side} than the {gap.expected:.3g} expected from the scores"
    return f"{what} is {expected}: outcomes no longer follow the scores"
