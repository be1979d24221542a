"""What a person needs first: what changed in which month or day, and what to do about it.

periods(group.total, alerts)[-1]        # Period("December 2013", 4, 5, ("score moved up (18%)", …))
advice(group, open_alerts(alerts))      # ("The model's output moved: …",)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flink_jobs.reports.drift.headline import standing
from flink_jobs.reports.drift.series import (
    OUTPUTS,
    Line,
    Point,
    Series,
    VersionSeries,
    impacts,
)
from flink_jobs.reports.quality.summary import WHAT_TO_DO, fell
from flink_jobs.reports.text import begin, percent
from udfs.alerts.records import AlertRecord
from udfs.drift.records import ColumnReport, DriftRecord, named

SHOWN, NAMED, LITTLE, NULLS = 12, 4, 0.01, 0.02
RECENT, WORST = 14, 5
_STALE = (
    "If quality holds, renew the reference: train on newer data (tailrace retrain), which makes a new one;"
    " where the stream follows the hours of the week, set drift.seasonal; or compare with what the job saw"
    " lately (drift.reference: trailing 28d). Until then look at the worst windows, below."
)
_MONTHS_FROM, _DAYS_FROM = timedelta(days=60), timedelta(days=3)


@dataclass(frozen=True)
class Period:
    """A month, a day or a window: how many of its windows drifted; what moved, the most important first."""

    name: str
    drifted: int
    windows: int
    moved: tuple[str, ...]
    left_out: int


def periods(series: Series, alerts: Sequence[AlertRecord]) -> list[Period]:
    """The last 12, by the start of the windows; months where they span two months, days from three days."""
    starts = [datetime.fromisoformat(window.window.start) for window in series.windows]
    span = max(starts) - min(starts)
    places: dict[str, list[int]] = {}
    for place, start in enumerate(starts):
        shown = start.strftime("%B %Y") if span >= _MONTHS_FROM else start.date().isoformat()
        name = shown if span >= _DAYS_FROM else begin(series.windows[place].window)
        places.setdefault(name, []).append(place)
    known = impacts(alerts)
    return [_period(name, series, found, known) for name, found in list(places.items())[-SHOWN:]]


@dataclass(frozen=True)
class BadWindow:
    """`size` is the largest share of the rows that moved in a column that drifted; those are in `moved`."""

    window: DriftRecord
    size: float
    moved: tuple[str, ...]
    left_out: int


def worst_recent(series: Series) -> list[BadWindow]:
    """Among the last 14 windows the five that drifted the most, the largest first."""
    places = range(max(len(series.windows) - RECENT, 0), len(series.windows))
    found = [_bad_window(series, place) for place in places if series.windows[place].verdict == "drift"]
    return sorted(found, key=lambda bad: (-bad.size, bad.window.window.start))[:WORST]


def _bad_window(series: Series, place: int) -> BadWindow:
    points = [(line, line.points[place]) for line in series.lines]
    drifted = [(line, point) for line, point in points if point.report and point.report.verdict == "drift"]
    drifted.sort(key=lambda pair: (-_effect(pair[1]), pair[0].name))
    moved = tuple(_moved(line, point) for line, point in drifted[:NAMED])
    joint = series.windows[place].joint
    size = _effect(drifted[0][1]) if drifted else joint.value if joint else 0.0
    return BadWindow(series.windows[place], size, moved, max(len(drifted) - NAMED, 0))


def advice(group: VersionSeries, firing: Sequence[AlertRecord], *, labelled: bool = False) -> list[str]:
    """What to do, in sentences; `firing` are the open alerts of the group, the worst first.

    While an alarm of quality is open that is what to act on, and drift advises nothing else. `labelled`:
    whether quality by labels is known, so that nobody has to wait for it.
    """
    now = group.total.now
    found: list[str] = []
    if any(map(fell, firing)):
        return [f"Quality is worse than expected. {WHAT_TO_DO}"]
    if not now:
        return [_without_columns(group, firing)]
    if standing(group.total):
        found.append(_STALE)
    outputs = [line.name for line in now if line.last.role in OUTPUTS]
    if outputs and labelled:
        found.append("The model's output moved, while quality by labels is as expected: watch quality.")
    elif outputs:
        found.append(
            "The model's output moved. As soon as labels are known, see if it is still right (tailrace"
            " backtest); if not, train it with newer data (tailrace retrain)."
        )
    gone = [line.name for line in now if _nulls(line.last)]
    if gone:
        found.append(
            f"Values of {_names(gone)} are missing more often than in the reference: look where they come "
            "from. That is more often a fault than a change of the world."
        )
    strange = [line for line in now if line.last.unseen_examples]
    if strange:
        found.append(
            f"The model has never seen some values of {_names([line.name for line in strange])}, such as "
            f"{strange[0].last.unseen_examples[0]}: it cannot know what they mean."
        )
    return found + _inputs(now, firing, outputs)


def _inputs(now: Sequence[Line], firing: Sequence[AlertRecord], outputs: Sequence[str]) -> list[str]:
    """Inputs whose impact is known, by whether they matter to the model."""
    known = impacts(firing)
    inputs = [line.name for line in now if line.name not in outputs and line.name in known]
    matter = [name for name in inputs if known[name] >= LITTLE]
    little = [name for name in inputs if known[name] < LITTLE]
    found = []
    if matter:
        found.append(f"Of the inputs {_names(matter)} matter{'s' if len(matter) == 1 else ''} to the model.")
    if little:
        verb = "weighs" if len(little) == 1 else "weigh"
        found.append(
            f"{_names(little)} moved too, but {verb} little in the model: no need to act on that alone."
        )
    return found


def _without_columns(group: VersionSeries, firing: Sequence[AlertRecord]) -> str:
    windows = group.total.windows
    if firing or any(series.now for series in group.segments):
        return "See the open alerts and the segments below; the columns of all records are as they were."
    if windows[-1].verdict == "drift":
        return "Look at the columns together, below: each by itself is as it was."
    if all(window.verdict == "insufficient_data" for window in windows):
        return "Wait for more records, or choose longer windows (drift.window in the job file)."
    return "Nothing."


def _period(name: str, series: Series, places: Sequence[int], known: dict[str, float]) -> Period:
    windows = [series.windows[place] for place in places]
    moved = []
    for line in series.lines:
        there = [line.points[place] for place in places]
        drifted = [point for point in there if point.report and point.report.verdict == "drift"]
        if drifted:
            moved.append((line, max(drifted, key=_effect)))
    moved.sort(key=lambda pair: _weight(pair[0].name, pair[1], known))
    texts = tuple(_moved(line, point) for line, point in moved[:NAMED])
    count = sum(window.verdict == "drift" for window in windows)
    return Period(name, count, len(windows), texts, max(len(moved) - NAMED, 0))


def _weight(name: str, point: Point, known: dict[str, float]) -> tuple[bool, float, float, str]:
    output = point.report is not None and point.report.role in OUTPUTS
    return (not output, -known.get(name, 0.0), -_effect(point), name)


def _moved(line: Line, point: Point) -> str:
    direction = point.report.direction.split(";")[0] if point.report else ""
    return f"{named(line.name, direction)} ({percent(_effect(point))})"


def _effect(point: Point) -> float:
    return point.report.effect if point.report else 0.0


def _nulls(report: ColumnReport) -> bool:
    return report.null_rate - report.reference_null_rate >= NULLS


def _names(names: Sequence[str]) -> str:
    shown = list(names[:NAMED]) + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
