"""Alerts about versions that were refused, switched off or rolled back, until that has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from udfs.alerts.records import AlertRecord, Severity, WindowSpan
from udfs.rollout.events import Event, EventKind

RULES: Mapping[EventKind, str] = {
    "version_refused": "version-refused",
    "shadow_off": "shadow-off",
    "canary_without_key": "canary-without-key",
    "rolled_back": "canary-rolled-back",
    "log_refused": "release-log-refused",
}
CRITICAL = ("version_refused", "rolled_back", "log_refused")


def alerts_of(
    opened: Mapping[str, AlertRecord],
    events: Sequence[Event],
    span: WindowSpan,
    job: str,
    model: str,
    newest: int,
) -> tuple[dict[str, AlertRecord], list[AlertRecord]]:
    """The open alerts after these events, and the records to write.

    Each id fires once; it is resolved when `newest`, the number of the newest release, is a later one than
    that which it was about.
    """
    still: dict[str, AlertRecord] = {}
    changed: list[AlertRecord] = []
    for key, alert in opened.items():
        if newest > alert.value:
            changed.append(
                msgspec.structs.replace(
                    alert, state="resolved", window=span, message=f"over: {alert.message}"
                )
            )
        else:
            still[key] = alert
    for event in events:
        alert = _alert(event, span, job, model)
        if alert.id not in still:
            still[alert.id] = alert
            changed.append(alert)
    return still, [msgspec.structs.replace(alert, rank=rank) for rank, alert in enumerate(changed, 1)]


def _alert(event: Event, span: WindowSpan, job: str, model: str) -> AlertRecord:
    rule = RULES[event.kind]
    about = f"version {event.version}, release {event.release}"
    if event.kind == "log_refused":
        about = f"the release log is followed up to release {event.release}"
    severity: Severity = "critical" if event.kind in CRITICAL else "warning"
    return AlertRecord(
        job=job,
        id=f"{rule}/{event.version}",
        rule=rule,
        state="firing",
        severity=severity,
        model=model,
        version=event.version,
        segment=None,
        column=None,
        statistic="release",
        value=float(event.release),
        threshold=float(event.release),
        message=f"{about}: {event.message}",
        window=span,
        since=span.start,
        windows_bad=1,
        windows_seen=1,
        impact=1.0 if severity == "critical" else 0.0,
        rank=0,
        examples=(),
        damage="release",
    )
