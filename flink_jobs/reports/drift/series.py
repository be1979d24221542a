"""Drift records set in order: a group per job, model and version, a series per segment; and a verdict on it.

[group] = grouped(records)
headline(group, open_alerts(alerts)).sentence     # "Since 2013-11-02 …"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flink_jobs.reports.text import day, plural
from udfs.alerts.incidents import by_damage
from udfs.alerts.records import AlertRecord, Segment, Severity, moment_of
from udfs.drift.records import ColumnReport, DriftRecord, named

Worry = Literal["alarm", "watch", "note", "calm", "unknown"]
OUTPUTS = ("prediction", "score")
# Of so many windows, and such a part of them, drift is how things are.
_STANDING_FROM, _STANDING = 8, 0.8


@dataclass(frozen=True)
class Point:
    """One column in one window; `report` is None where the window does not have the column."""

    window: DriftRecord
    report: ColumnReport | None


@dataclass(frozen=True)
class Line:
    """One column over all windows of a series, oldest first."""

    name: str
    points: tuple[Point, ...]

    @property
    def reports(self) -> list[ColumnReport]:
        return [point.report for point in self.points if point.report]

    @property
    def last(self) -> ColumnReport:
        return self.reports[-1]

    @property
    def latest(self) -> Point:
        return next(point for point in reversed(self.points) if point.report)

    @property
    def drifted(self) -> list[Point]:
        return [point for point in self.points if point.report and point.report.verdict == "drift"]

    @property
    def worst(self) -> Point:
        """The largest effect among the windows that drifted, else those with enough records, else all."""
        present = [point for point in self.points if point.report]
        enough = [point for point in present if point.report and point.report.verdict == "ok"]
        return max(reversed(self.drifted or enough or present), key=_effect)

    @property
    def since(self) -> str | None:
        """Start of the run of drift that lasts until now; windows with too few records do not end it."""
        start = None
        for point in reversed(self.points):
            if point.report is None or point.report.verdict == "insufficient_data":
                continue
            if point.report.verdict != "drift":
                break
            start = point.window.window.start
        return start


@dataclass(frozen=True)
class Series:
    """All windows of one segment, oldest first, and its columns: drifting ones first."""

    segment: Segment | None
    windows: tuple[DriftRecord, ...]
    lines: tuple[Line, ...]

    @property
    def now(self) -> list[Line]:
        return [line for line in self.lines if line.since]


@dataclass(frozen=True)
class VersionSeries:
    """One job, model and version: the series of all records and those of its segments, the worst first."""

    job: str
    model: str
    version: int
    series: tuple[Series, ...]

    @property
    def total(self) -> Series:
        return self.series[0]

    @property
    def segments(self) -> tuple[Series, ...]:
        return self.series[1:]


@dataclass(frozen=True)
class Headline:
    """Whether to worry, and the sentence to read first."""

    worry: Worry
    sentence: str


def grouped(records: Iterable[DriftRecord]) -> list[VersionSeries]:
    """The groups, the newest window first. Of a window that is there twice the later record holds."""
    latest = {(r.job, r.model, r.version, _segment_key(r.segment), r.window.start): r for r in records}
    groups: dict[tuple[str, str, int], dict[tuple[str, str], list[DriftRecord]]] = {}
    for key in sorted(latest):
        groups.setdefault(key[:3], {}).setdefault(key[3], []).append(latest[key])
    made = [_group(key, list(series.values())) for key, series in groups.items()]
    return sorted(made, key=lambda group: (group.total.windows[-1].window.start, group.version), reverse=True)


def open_alerts(alerts: Iterable[AlertRecord]) -> list[AlertRecord]:
    """The alerts that are not resolved, as they were last said, the most damage first."""
    state: dict[tuple[str, str], AlertRecord] = {}
    for alert in sorted(alerts, key=moment_of):
        state[alert.job, alert.id] = alert
    return by_damage(alert for alert in state.values() if alert.state != "resolved")


def impacts(alerts: Iterable[AlertRecord]) -> dict[str, float]:
    """The largest known impact of each column on the model, among all records."""
    found: dict[str, float] = {}
    for alert in alerts:
        if alert.column is not None and alert.segment is None:
            found[alert.column] = max(found.get(alert.column, 0.0), alert.impact)
    return found


def alerts_of(group: VersionSeries, alerts: Sequence[AlertRecord]) -> list[AlertRecord]:
    """Those of the group's job, model and version, in the same order."""
    key = (group.job, group.model, group.version)
    return [alert for alert in alerts if (alert.job, alert.model, alert.version) == key]


def headline(group: VersionSeries, firing: Sequence[AlertRecord]) -> Headline:
    """Whether to worry, in a sentence or two; `firing` are the open alerts of the group, the worst first.

    By the damage: critical alerts first, then the model's output; of inputs alone it is good to know.
    """
    series, now = group.total, group.total.now
    critical = [alert for alert in firing if alert.severity == "critical"]
    if critical:
        return Headline("alarm", _since(critical[0]) + _open(firing))
    if now:
        outputs = [line for line in now if line.last.role in OUTPUTS]
        worry = _WORRY["warning" if outputs else _worst_of(firing)]
        text = standing(series) or _drifting(series, now, outputs, firing)
        return Headline(worry, text + _open(firing))
    if firing:
        return Headline(_WORRY[_worst_of(firing)], _since(firing[0]) + _open(firing))
    return _quiet(group)


_WORRY: dict[Severity, Worry] = {"critical": "alarm", "warning": "watch", "info": "note"}


def standing(series: Series) -> str | None:
    """One sentence where nearly all windows drift: then it is about the reference, and no window is news."""
    judged = [window for window in series.windows if window.verdict != "insufficient_data"]
    drifted = [window for window in judged if window.verdict == "drift"]
    if len(judged) < _STANDING_FROM or len(drifted) < _STANDING * len(judged):
        return None
    return (
        f"{len(drifted)} of {plural(len(judged), 'window')} since {day(drifted[0].window.start)} differ from"
        " the reference. That is no news any more: the reference is of another season, or out of date."
    )


def _since(alert: AlertRecord) -> str:
    return f"Since {day(alert.since)}: {alert.message.rstrip('.')}."


def _worst_of(firing: Sequence[AlertRecord]) -> Severity:
    return "warning" if any(alert.severity == "warning" for alert in firing) else "info"


def segment_name(segment: Segment | None) -> str:
    """A segment as people read it."""
    if segment is None:
        return "all records"
    return f"{segment.column} = {'(null)' if segment.value is None else segment.value}"


def _group(key: tuple[str, str, int], found: list[list[DriftRecord]]) -> VersionSeries:
    series = [_series(windows) for windows in found]
    series.sort(key=lambda each: (each.segment is not None, -_worst(each), segment_name(each.segment)))
    return VersionSeries(*key, tuple(series))


def _series(windows: list[DriftRecord]) -> Series:
    reports = [{column.name: column for column in window.columns} for window in windows]
    names = dict.fromkeys(name for window in reports for name in window)
    lines = [
        Line(
            name,
            tuple(Point(window, found.get(name)) for window, found in zip(windows, reports, strict=True)),
        )
        for name in names
    ]
    lines.sort(key=_urgency)
    return Series(windows[0].segment, tuple(windows), tuple(lines))


def _urgency(line: Line) -> tuple[bool, bool, bool, float, str]:
    quiet = not line.drifted
    return (not line.since, quiet, line.last.role not in OUTPUTS, -_effect(line.worst), line.name)


def _worst(series: Series) -> float:
    return max((_effect(line.worst) for line in series.lines if line.drifted), default=0.0)


def _effect(point: Point) -> float:
    return point.report.effect if point.report else 0.0


def _segment_key(segment: Segment | None) -> tuple[str, str]:
    return (segment.column, "n" if segment.value is None else "v" + segment.value) if segment else ("", "")


def _drifting(series: Series, now: list[Line], outputs: list[Line], firing: Sequence[AlertRecord]) -> str:
    """What matters most to the model comes first, where an alert tells, else what moved the most."""
    first = min(line.since or "" for line in now)
    impact = impacts(firing)
    now = sorted(now, key=lambda line: (-impact.get(line.name, 0.0), -line.last.effect))
    names = _listed([line.name for line in now])
    is_output = ", the model's output among them" if outputs and len(now) > len(outputs) else ""
    verb = "has" if len(now) == 1 else "have"
    of = f" ({len(now)} of {plural(len(series.lines), 'column')}{is_output})"
    what = f": {now[0].last.direction}" if len(now) == 1 else f"; most of all {_moved_now(now[0])}"
    return f"Since {day(first)} {names}{of} {verb} drifted{what.rstrip('.')}."


def _moved_now(line: Line) -> str:
    return named(line.name, line.last.direction.rstrip("."))


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) <= 3:
        return ", ".join(names[:-1]) + " and " + names[-1]
    return f"{', '.join(names[:2])} and {len(names) - 2} more"


def _open(firing: Sequence[AlertRecord]) -> str:
    if not firing:
        return ""
    return f" {plural(len(firing), 'alert')} {'is' if len(firing) == 1 else 'are'} open."


def _quiet(group: VersionSeries) -> Headline:
    series = group.total
    total = len(series.windows)
    judged = [window for window in series.windows if window.verdict != "insufficient_data"]
    past = [window for window in judged if window.verdict == "drift"]
    last = series.windows[-1]
    drifting = [segment_name(each.segment) for each in group.segments if each.now]
    aside = (
        f" But among {plural(len(group.segments), 'segment')} {_listed(drifting)} drifted."
        if drifting
        else ""
    )
    if not judged:
        text = f"Nothing can be said: all {plural(total, 'window')} hold too few records to see a change."
        return Headline("watch" if drifting else "unknown", text + aside)
    if past and past[-1] is judged[-1]:
        return Headline("watch", _together(judged) + aside)
    if past:
        text = (
            f"The data is like the reference again since {day(past[-1].window.end)};"
            f" {len(past)} of {plural(total, 'window')} drifted before."
        )
    else:
        text = f"Nothing to worry about: no drift in {plural(total, 'window')} until {day(last.window.end)}."
    if last.verdict == "insufficient_data":
        text += " The last window holds too few records to tell."
    return Headline("watch" if drifting else "calm", text + aside)


def _together(judged: list[DriftRecord]) -> str:
    """Drift of the joint score alone."""
    start = judged[-1]
    for window in reversed(judged):
        if window.verdict != "drift":
            break
        start = window
    text = f"Since {day(start.window.start)} the columns no longer go together as in the reference"
    joint = judged[-1].joint
    if joint is None or not joint.pairs:
        return text + "."
    pair = joint.pairs[0]
    if pair.cell is not None:
        return f"{text}: {pair}."
    change = f"from {pair.reference:.2f} to {pair.current:.2f}"
    return f"{text}: the correlation of {pair.first} and {pair.second} went {change}."
