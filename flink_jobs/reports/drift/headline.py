"""Whether to worry about drift, in the sentence to read first.

headline(group, open_alerts(alerts)).sentence     # "Since 2013-11-02 …"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from flink_jobs.reports.drift.series import OUTPUTS, Line, Series, VersionSeries, impacts, segment_name
from flink_jobs.reports.drift.story import story
from flink_jobs.reports.text import begin, day, plural
from udfs.alerts.records import AlertRecord, Severity
from udfs.drift.records import DriftRecord, named

Worry = Literal["alarm", "watch", "note", "calm", "unknown"]
# Of so many windows, and such a part of them, drift is how things are; not if the newest is twice as large.
_STANDING_FROM, _STANDING, _NEWS = 8, 0.8, 2


@dataclass(frozen=True)
class Headline:
    """Whether to worry, and the sentence to read first."""

    worry: Worry
    sentence: str


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
    usual = median(map(_size, drifted))
    if usual and _size(judged[-1]) >= _NEWS * usual:
        return None
    return (
        f"{len(drifted)} of {plural(len(judged), 'window')} since {begin(drifted[0].window)} differ from"
        " the reference. That is no news any more: the reference is of another season, or out of date."
    )


def _size(window: DriftRecord) -> float:
    return max((column.effect for column in window.columns if column.verdict == "drift"), default=0.0)


def _since(alert: AlertRecord) -> str:
    return f"Since {day(alert.since, alert.window)}: {alert.message.rstrip('.')}."


def _worst_of(firing: Sequence[AlertRecord]) -> Severity:
    return "warning" if any(alert.severity == "warning" for alert in firing) else "info"


def _drifting(series: Series, now: list[Line], outputs: list[Line], firing: Sequence[AlertRecord]) -> str:
    """What matters most to the model comes first, where an alert tells, else what moved the most."""
    first, alone = min(line.since or "" for line in now), story(now[0])
    if len(now) == 1 and alone and alone.before:
        return alone.told()
    impact = impacts(firing)
    now = sorted(now, key=lambda line: (-impact.get(line.name, 0.0), -line.last.effect))
    names = _listed([line.name for line in now])
    is_output = ", the model's output among them" if outputs and len(now) > len(outputs) else ""
    verb = "has" if len(now) == 1 else "have"
    of = f" ({len(now)} of {plural(len(series.lines), 'column')}{is_output})"
    what = f": {now[0].last.direction}" if len(now) == 1 else f"; most of all {_moved_now(now[0])}"
    return f"Since {day(first, series.windows[-1].window)} {names}{of} {verb} drifted{what.rstrip('.')}."


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
    until = day(last.window.end, last.window)
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
            f"The data is like the reference again since {day(past[-1].window.end, last.window)};"
            f" {len(past)} of {plural(total, 'window')} drifted before."
        )
    else:
        text = f"Nothing to worry about: no drift in {plural(total, 'window')} until {until}."
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
    text = f"Since {begin(start.window)} the columns no longer go together as in the reference"
    joint = judged[-1].joint
    if joint is None or not joint.pairs:
        return text + "."
    pair = joint.pairs[0]
    if pair.cell is not None:
        return f"{text}: {pair}."
    change = f"from {pair.reference:.2f} to {pair.current:.2f}"
    return f"{text}: the correlation of {pair.first} and {pair.second} went {change}."
