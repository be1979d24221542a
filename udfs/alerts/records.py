"""What is written to the alert topic, and the windows and segments that it names."""

from __future__ import annotations

from typing import Literal

import msgspec

Closed = Literal["watermark", "idle", "early"]
Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Damage = Literal["realized", "estimated", "records", "outputs", "inputs", "release"]
Change = Literal["larger", "turned", "severity"]


class WindowSpan(msgspec.Struct, frozen=True):
    """[start, end) in event time, and what closed it; `early` is an interim result."""

    start: str
    end: str
    closed: Closed = "watermark"


class Segment(msgspec.Struct, frozen=True):
    """The records whose `column` has this value; `OTHER` stands for all values beyond the limit."""

    column: str
    value: str | None


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A change of state. `id` names the thing that one alert at a time can be open for.

    An open alert is `updated` when it grows worse; `changed` says how: its value is twice what was last said,
    the values moved the other way, or its severity rose. `damage` is what it is about: quality with labels or
    without, records that are lost, the model's output, its inputs, or releases; null in records of before.

    `impact` estimates the effect on the model: the column's importance × its effect, 0 to 1. `rank` orders
    the alerts that one window changed, 1 first. `window` is the window that changed the state; its drift
    record is found by job, version, segment and start. `at` is the event time of a change that is
    known before the window ends.
    """

    schema: Literal["tailrace.alert/1"] = "tailrace.alert/1"
    job: str
    id: str
    rule: str
    state: Literal["firing", "updated", "resolved"]
    severity: Severity
    model: str
    version: int
    segment: Segment | None
    column: str | None
    statistic: str
    value: float
    threshold: float
    message: str
    window: WindowSpan
    since: str
    windows_bad: int
    windows_seen: int
    impact: float
    rank: int
    examples: tuple[str, ...]
    at: str | None = None
    changed: tuple[Change, ...] = ()
    damage: Damage | None = None


def moment_of(alert: AlertRecord) -> str:
    """The event time at which a change was known."""
    return alert.at or alert.window.end


def in_window(message: str, window: WindowSpan) -> str:
    """The message with the date that it is true of."""
    return f"{message}, in the window of {window.start[:16].replace('T', ' ')}"


def over(alert: AlertRecord, window: WindowSpan) -> str:
    """What is said when an alert is resolved: that it is over, and what it was."""
    return f"{in_window('back to normal', window)}; it was: {alert.message}"
