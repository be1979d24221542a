"""The body of a notification, as the service expects it that the webhook is for.

Slack: incoming webhooks (docs.slack.dev, "Sending messages using incoming webhooks", Block Kit). PagerDuty:
Events API v2. Alertmanager: API v2, POST /api/v2/alerts. Texts hold what the records hold, such as values
that were never seen: each service gets them as text, not as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec

from udfs.alerts.incidents import IncidentRecord, worst_since
from udfs.alerts.records import AlertRecord, Severity
from udfs.times import iso, parse_time

Format = Literal["incident", "alert", "slack", "pagerduty", "alertmanager"]
_TITLE, _HEADER, _SECTION, _SUMMARY, _KEY, _PARTS = 3_000, 150, 3_000, 1_024, 255, 10
_ICONS: Mapping[str, str] = {
    "critical": ":red_circle:",
    "warning": ":large_yellow_circle:",
    "info": ":large_blue_circle:",
}
_PAGERDUTY: Mapping[Severity, str] = {"critical": "critical", "warning": "warning", "info": "info"}
# An alert without an end is over for Alertmanager after five minutes, unless it is sent again.
_LASTS = timedelta(days=365)


class _Schema(msgspec.Struct):
    schema: str = ""


_SCHEMA = msgspec.json.Decoder(_Schema)
_INCIDENT = msgspec.json.Decoder(IncidentRecord)


class ShapeParams(msgspec.Struct, frozen=True):
    """`runbook_url` is where people read what to do; `routing_key` is PagerDuty's, a secret."""

    format: Format = "incident"
    runbook_url: str | None = None
    routing_key: str | None = None

    def __repr__(self) -> str:
        return f"ShapeParams({self.format!r})"


def shaped(params: ShapeParams, body: bytes) -> bytes:
    """What is sent for an incident's record; anything else goes as it is."""
    make = _SHAPES.get(params.format)
    if make is None or _SCHEMA.decode(body).schema != "tailrace.incident/1":
        return body
    return msgspec.json.encode(make(params, _INCIDENT.decode(body)))


def _slack(params: ShapeParams, incident: IncidentRecord) -> dict[str, Any]:
    state = {"firing": incident.severity, "updated": f"now {incident.severity}", "resolved": "over"}[
        incident.state
    ]
    icon = ":white_check_mark:" if incident.state == "resolved" else _ICONS[incident.severity]
    head = f"{icon} *{_mrkdwn(incident.job)}* ({state}): {_mrkdwn(incident.title)}"
    lines = [f"• {part.severity}: {_mrkdwn(part.message)}" for part in incident.parts[1:_PARTS]]
    facts = f"{_since(incident)} · model {_mrkdwn(incident.model)}"
    if params.runbook_url:
        facts += f" · <{_mrkdwn(params.runbook_url)}|what to do>"
    blocks = [_section(head)]
    if lines:
        blocks.append(_section("\n".join(lines)))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": facts[:_SECTION]}]})
    return {"text": head[:_TITLE], "blocks": blocks}


def _since(incident: IncidentRecord) -> str:
    """When what leads it began, and the first sign where that was before."""
    worst, first = (time[:16].replace("T", " ") for time in (worst_since(incident.parts[0]), incident.since))
    return f"since {worst}" if worst == first else f"since {worst} (first sign {first})"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}}


def _mrkdwn(text: str) -> str:
    """Slack's own three escapes; what it makes bold or a link is told apart by them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty(params: ShapeParams, incident: IncidentRecord) -> dict[str, Any]:
    event: dict[str, Any] = {
        "routing_key": params.routing_key or "",
        "event_action": "resolve" if incident.state == "resolved" else "trigger",
        "dedup_key": incident.id[-_KEY:],
        "payload": {
            "summary": incident.title[:_SUMMARY],
            "source": incident.job,
            "severity": _PAGERDUTY[incident.severity],
            "timestamp": incident.at,
            "component": incident.model,
            "class": incident.parts[0].damage or "inputs",
            "custom_details": {
                "since": incident.since,
                "parts": [f"{part.severity}: {part.message}" for part in incident.parts[:_PARTS]],
            },
        },
        "client": "Tailrace",
    }
    if params.runbook_url:
        event["links"] = [{"href": params.runbook_url, "text": "What to do"}]
    return event


def _alertmanager(params: ShapeParams, incident: IncidentRecord) -> list[dict[str, Any]]:
    """Alertmanager knows an alert by its labels, so those are what stays; it ends when `endsAt` is past."""
    end = incident.at if incident.state == "resolved" else _later(incident.at)
    annotations = {
        "severity": incident.severity,
        "summary": incident.title,
        "description": "\n".join(_line(part) for part in incident.parts[:_PARTS]),
    }
    if params.runbook_url:
        annotations["runbook_url"] = params.runbook_url
    labels = {
        "alertname": "TailraceIncident",
        "job_name": incident.job,
        "model": incident.model,
        "incident": incident.id,
    }
    return [{"labels": labels, "annotations": annotations, "startsAt": incident.since, "endsAt": end}]


def _later(at: str) -> str:
    return iso(parse_time(at) + round(_LASTS.total_seconds() * 1_000))


def _line(part: AlertRecord) -> str:
    return f"{part.rank}. {part.severity}: {part.message}"


_SHAPES: Mapping[Format, Callable[[ShapeParams, IncidentRecord], Any]] = {
    "slack": _slack,
    "pagerduty": _pagerduty,
    "alertmanager": _alertmanager,
}
