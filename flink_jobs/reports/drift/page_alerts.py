"""What the page says of alerts: the open ones, incidents that were told, and what is resolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flink_jobs.reports.drift.series import segment_name
from flink_jobs.reports.markup import stacked_table
from flink_jobs.reports.svg import text
from flink_jobs.reports.text import day, percent
from udfs.alerts.incidents import IncidentRecord, replayed
from udfs.alerts.records import SEVERITIES, AlertRecord

SHOWN = 50


def alert_table(alerts: Sequence[AlertRecord]) -> str:
    """The most damage first."""
    if not alerts:
        return '<p class="dim">No alert is open.</p>'
    rows = [
        [
            (f"short {alert.severity}", alert.severity),
            ("short", text(day(alert.since))),
            ("any", text(segment_name(alert.segment))),
            ("any", f"{text(alert.message)}{_examples(alert)}"),
            ("n short", _bad_windows(alert)),
            ("n short", percent(alert.impact)),
        ]
        for alert in alerts
    ]
    titles = ("severity", "since", "where", "what", ">bad windows", ">impact on the model")
    return stacked_table(titles, rows)


def incidents(alerts: Sequence[AlertRecord]) -> str:
    """What a person was told of, the latest first."""
    told: dict[str, list[IncidentRecord]] = {}
    for record in replayed(alerts):
        told.setdefault(record.id, []).append(record)
    if not told:
        return ""
    latest = sorted(told.values(), key=lambda records: (records[-1].at, records[-1].id), reverse=True)
    rows = [_incident(records) for records in latest[:SHOWN]]
    titles = ("severity", "since", "until", ">told", "what it was at its worst")
    return (
        f"<details><summary><b>Incidents</b> {len(told):,}: what moved at the same time, told together"
        f"</summary>{stacked_table(titles, rows)}</details>"
    )


def _incident(records: Sequence[IncidentRecord]) -> list[tuple[str, str]]:
    last = records[-1]
    worst = max(
        (record for record in records if record.state != "resolved"),
        key=lambda record: (SEVERITIES.index(record.severity), record.at),
        default=last,
    )
    return [
        (f"short {worst.severity}", worst.severity),
        ("short", text(day(last.since))),
        ("short", text(day(last.at)) if last.state == "resolved" else "open"),
        ("n short", f"{len(records):,} ×"),
        ("any", text(worst.title)),
    ]


def _bad_windows(alert: AlertRecord) -> str:
    """An alert of the sequential detector comes before its window ends."""
    return f"{alert.windows_bad} of {alert.windows_seen}" if alert.windows_seen else "–"


def _examples(alert: AlertRecord) -> str:
    if not alert.examples:
        return ""
    return f'<br><span class="dim">for example {text(", ".join(alert.examples))}</span>'


def resolved_alerts(alerts: Iterable[AlertRecord]) -> str:
    """What was resolved, the latest first."""
    resolved = sorted(
        (alert for alert in alerts if alert.state == "resolved"),
        key=lambda alert: (alert.window.end, alert.id),
        reverse=True,
    )
    if not resolved:
        return ""
    rows = [
        [
            ("short", text(day(alert.since))),
            ("short", text(day(alert.window.end))),
            ("any", text(segment_name(alert.segment))),
            ("any", text(alert.message)),
        ]
        for alert in resolved[:SHOWN]
    ]
    table = stacked_table(("since", "until", "where", "what"), rows)
    return f"<details><summary><b>Resolved alerts</b> {len(resolved):,}</summary>{table}</details>"
