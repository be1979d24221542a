"""What the page says of alerts: the open ones, incidents that were told, and what is resolved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flink_jobs.reports.drift.series import segment_name
from flink_jobs.reports.markup import beginning, stacked_table
from flink_jobs.reports.quality.summary import label
from flink_jobs.reports.svg import text
from flink_jobs.reports.text import day, percent
from udfs.alerts.incidents import IncidentRecord, damage_of, replayed, worst_since
from udfs.alerts.records import SEVERITIES, AlertRecord

SHOWN = 50


def alert_table(alerts: Sequence[AlertRecord]) -> str:
    """The most damage first."""
    if not alerts:
        return '<p class="dim">No alert is open.</p>'
    rows = [
        [
            (f"short {alert.severity}", alert.severity),
            _since(alert, alert.since),
            ("any", text(segment_name(alert.segment))),
            ("any", f"{text(said(alert))}{_examples(alert)}"),
            ("any", text(size_of(alert))),
        ]
        for alert in alerts
    ]
    return stacked_table(("severity", "since", "where", "what was said last", "size"), rows)


def size_of(alert: AlertRecord) -> str:
    """What `impact` is a share of; of quality the message says it better."""
    if damage_of(alert) == "outputs":
        return f"{percent(alert.impact)} of the rows moved"
    if damage_of(alert) == "inputs":
        return f"{percent(alert.impact)}: share of the rows that moved × importance"
    return ""


def _since(alert: AlertRecord, first: str) -> tuple[str, str]:
    worst = worst_since(alert)
    return beginning(text(day(worst, alert.window)), text(day(min(first, worst), alert.window)))


def said(alert: AlertRecord) -> str:
    """Labels that came since are in the table of quality."""
    return f"when it opened: {alert.message}" if alert.damage == "realized" else alert.message


def incidents(alerts: Sequence[AlertRecord]) -> str:
    """What a person was told of, the latest first."""
    told: dict[str, list[IncidentRecord]] = {}
    for record in replayed(alerts):
        told.setdefault(record.id, []).append(record)
    if not told:
        return ""
    latest = sorted(told.values(), key=lambda records: (records[-1].at, records[-1].id), reverse=True)
    rows = [_incident(records) for records in latest[:SHOWN]]
    titles = ("severity", "since", "until", ">notifications", "what, the worst first")
    return (
        f"<details><summary><b>Incidents</b> {len(told):,}: alerts of the same time, notified as one"
        f"</summary>{stacked_table(titles, rows)}</details>"
    )


def _incident(records: Sequence[IncidentRecord]) -> list[tuple[str, str]]:
    last = records[-1]
    worst = max(
        (record for record in records if record.state != "resolved"),
        key=lambda record: (SEVERITIES.index(record.severity), record.at),
        default=last,
    )
    lead = worst.parts[0]
    return [
        (f"short {worst.severity}", worst.severity),
        _since(lead, last.since),
        ("short", text(day(last.at, lead.window)) if last.state == "resolved" else "open"),
        ("n short", f"{len(records):,}"),
        ("any", text(", ".join(dict.fromkeys(map(_part, worst.parts))))),
    ]


def _part(alert: AlertRecord) -> str:
    """An alert in a word or two; its text is above, or below."""
    if alert.damage in ("realized", "estimated"):
        return f"{label(alert.statistic)} {'by labels' if alert.damage == 'realized' else 'estimated'}"
    return alert.column or alert.rule


def _examples(alert: AlertRecord) -> str:
    """Values that are new; shares of bins are in the pictures."""
    if not alert.examples or any("→" in example for example in alert.examples):
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
            ("short", text(day(alert.since, alert.window))),
            ("short", text(day(alert.window.end, alert.window))),
            ("any", text(segment_name(alert.segment))),
            ("any", text(alert.message)),
        ]
        for alert in resolved[:SHOWN]
    ]
    table = stacked_table(("since", "until", "where", "what"), rows)
    return f"<details><summary><b>Resolved alerts</b> {len(resolved):,}</summary>{table}</details>"
