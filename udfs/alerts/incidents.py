"""Groups the alerts of a model into incidents: what moves at the same time is one thing to look at.

An incident begins with the first alert and ends when none is open. A person is told when it begins and ends,
and in between only when it becomes worse: it is more severe, another kind of damage is as severe, or what
leads it grew. A pure function of states and alerts. Alerts of releases are incidents by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from udfs.alerts.records import SEVERITIES, AlertRecord, Damage, Severity, moment_of

#: The worst first; a label is surer than an estimate, and what comes out matters more than what goes in.
DAMAGES: tuple[Damage, ...] = ("realized", "estimated", "records", "outputs", "inputs", "release")
# Of these a person learns the same thing.
_KINDS: Mapping[Damage, str] = {"realized": "quality", "estimated": "quality"}
SHOWN_PARTS = 50


class IncidentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one notification says.

    `parts` are the open alerts, the most damage first; those that were open last, when it is resolved.
    `id` is the same for all notifications of an incident. `severity` is that of its most severe part now, of
    the whole incident when resolved. `at` is the event time of the change; `left_out` counts parts beyond 50.
    """

    schema: Literal["tailrace.incident/1"] = "tailrace.incident/1"
    job: str
    model: str
    id: str
    state: Literal["firing", "updated", "resolved"]
    severity: Severity
    title: str
    since: str
    at: str
    parts: tuple[AlertRecord, ...]
    left_out: int = 0


class Incident(msgspec.Struct, frozen=True):
    """An open one: its parts by id, as they were last said, and the worst that it was."""

    id: str
    since: str
    severity: Severity
    parts: dict[str, AlertRecord]


#: By what they are about.
Incidents = dict[str, Incident]


def advance(incidents: Incidents, alerts: Sequence[AlertRecord]) -> tuple[Incidents, list[IncidentRecord]]:
    """The open incidents after alerts that changed at the same time, and what a person is told."""
    after, told = dict(incidents), []
    subjects = dict.fromkeys(map(_subject, alerts))
    for subject in subjects:
        changed = [alert for alert in alerts if _subject(alert) == subject]
        incident, record = _next(after.pop(subject, None), changed)
        if incident:
            after[subject] = incident
        told += [record] if record else []
    return after, told


def replayed(alerts: Iterable[AlertRecord]) -> list[IncidentRecord]:
    """What a person was told, from all alerts of a topic."""
    ordered = sorted(alerts, key=moment_of)
    incidents: Incidents = {}
    told = []
    for _, changed in groupby(ordered, key=moment_of):
        incidents, records = advance(incidents, list(changed))
        told += records
    return told


def by_damage(alerts: Iterable[AlertRecord]) -> list[AlertRecord]:
    """The most damage first; inputs by importance × effect."""
    return sorted(alerts, key=lambda alert: (DAMAGES.index(damage_of(alert)), -alert.impact, alert.id))


def worst_since(alert: AlertRecord) -> str:
    """When the worst part of an open alert began: it may have been open for long with less."""
    return alert.window.start if {"turned", "larger"} & {*alert.changed} else alert.since


def damage_of(alert: AlertRecord) -> Damage:
    """Records of before do not say it, so by what was known then."""
    if alert.damage:
        return alert.damage
    if alert.rule in ("dead-letters", "volume"):
        return "records"
    return "outputs" if alert.rule == "output-drift" else "inputs"


def _subject(alert: AlertRecord) -> str:
    return f"{alert.job}/{alert.id if alert.damage == 'release' else alert.model}"


def _next(
    incident: Incident | None, changed: Sequence[AlertRecord]
) -> tuple[Incident | None, IncidentRecord | None]:
    before = incident.parts if incident else {}
    resolved = {alert.id for alert in changed if alert.state == "resolved"}
    # Of an alert that changed twice at once, as when a restart repeats it, the last one holds.
    new = {alert.id: alert for alert in changed if alert.id not in resolved}
    parts = {key: alert for key, alert in (before | new).items() if key not in resolved}
    if not incident and not parts:
        return None, None
    first = min(alert.since for alert in (before | new).values())
    at = max(map(moment_of, changed))
    severity = _worst(parts.values()) if parts else None
    if incident is None:
        name = f"{_subject(changed[0])}/{at}"
        incident = Incident(name, first, _worst(parts.values()), parts)
        return incident, _record(incident, "firing", incident.severity, parts, at)
    kept = msgspec.structs.replace(
        incident, parts=parts, since=min(incident.since, first), severity=_worse(incident.severity, severity)
    )
    if severity is None:
        return None, _record(kept, "resolved", incident.severity, before, at)
    if _is_worse(before, parts, new):
        return kept, _record(kept, "updated", severity, parts, at)
    return kept, None


def _is_worse(
    before: Mapping[str, AlertRecord], parts: Mapping[str, AlertRecord], new: Mapping[str, AlertRecord]
) -> bool:
    severity = _worst(parts.values())
    if SEVERITIES.index(severity) > SEVERITIES.index(_worst(before.values())):
        return True
    known = {_kind(alert) for alert in before.values() if alert.severity == severity}
    if any(alert.severity == severity and _kind(alert) not in known for alert in new.values()):
        return True
    lead = by_damage(parts.values())[0]
    return lead.id in new and lead.id in before and lead.state == "updated"


def _kind(alert: AlertRecord) -> str:
    damage = damage_of(alert)
    return _KINDS.get(damage, damage)


def _worst(alerts: Iterable[AlertRecord]) -> Severity:
    return SEVERITIES[max(SEVERITIES.index(alert.severity) for alert in alerts)]


def _worse(first: Severity, second: Severity | None) -> Severity:
    return max(first, second or first, key=SEVERITIES.index)


def _record(
    incident: Incident,
    state: Literal["firing", "updated", "resolved"],
    severity: Severity,
    parts: Mapping[str, AlertRecord],
    at: str,
) -> IncidentRecord:
    ranked = by_damage(parts.values())
    lead = ranked[0]
    over = f"Over since {at[:16].replace('T', ' ')}: " if state == "resolved" else ""
    return IncidentRecord(
        job=lead.job,
        model=lead.model,
        id=incident.id,
        state=state,
        severity=severity,
        title=f"{over}{lead.message}{_others(ranked[1:])}",
        since=incident.since,
        at=at,
        parts=tuple(
            msgspec.structs.replace(alert, rank=rank)
            for rank, alert in enumerate(ranked[:SHOWN_PARTS], start=1)
        ),
        left_out=max(len(ranked) - SHOWN_PARTS, 0),
    )


def _others(rest: Sequence[AlertRecord]) -> str:
    if not rest:
        return ""
    names = list(dict.fromkeys(alert.column or alert.rule for alert in rest))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"; with it {shown}"
