"""Drift records set in order: a group per job, model and version, a series per segment.

[group] = grouped(records)
group.total.lines[0].since      # "2013-11-02T00:00:00.000Z"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from udfs.alerts.incidents import by_damage
from udfs.alerts.records import AlertRecord, Segment, moment_of
from udfs.drift.records import ColumnReport, DriftRecord

OUTPUTS = ("prediction", "score")


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
