"""How a column that drifts got there: when the worst part of it began, which way, and what was before.

    story(line).told()      # "score suddenly moved down at 2026-01-01 10:00: 22% of the rows …"

A small drift that has been open for long and a break of today are two things, though one follows the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flink_jobs.reports.drift.series import Line, Point
from flink_jobs.reports.text import begin, percent, plural
from udfs.drift.records import ColumnReport

_SIDES = {"moved up": "up", "moved down": "down", "spread out": "both ways", "narrowed": "inwards"}
_WAY = re.compile("|".join(_SIDES))
# The worst part are the windows beside the worst that moved the same way and at least half as far.
_PART = 0.5


@dataclass(frozen=True)
class Story:
    """The run of drift that lasts until now, in two: `worst`, and all windows `before` it.

    It is `sudden` if the window before the worst part is known, and was less than half as far or another way;
    else all of the run is one.
    """

    name: str
    worst: tuple[Point, ...]
    before: tuple[Point, ...]
    sudden: bool

    @property
    def since(self) -> str:
        """Start of the first window of the worst part."""
        return self.worst[0].window.window.start

    def sentence(self) -> str:
        """What happened last, first."""
        largest = max(self.worst, key=_effect)
        sudden = " suddenly" if self.sudden else ""
        when = f"{'at' if sudden else 'since'} {begin(self.worst[0].window.window)}"
        moved = {"up": "moved up", "down": "moved down"}.get(side(largest), "changed")
        return f"{self.name}{sudden} {moved} {when}: {_size(largest)}."

    def told(self, aside: str = "") -> str:
        """What happened last, and what was before; `aside` is said of that."""
        earlier = self.earlier()
        return f"{self.sentence()} {earlier}{aside}." if earlier else self.sentence()

    def earlier(self) -> str:
        """What was before the worst part; empty where nothing was."""
        if not self.before:
            return ""
        sides = {side(point) for point in self.before}
        way = f" {sides.pop()}" if len(sides) == 1 else ""
        sizes = _range([_effect(point) for point in self.before], percent)
        means = [change for point in self.before if (change := _mean_change(point)) is not None]
        mean = f"mean {_range(means, '{:+.0%}'.format)}, " if len(means) == len(self.before) else ""
        count = plural(len(self.before), "window")
        return f"Before that, for {count},{way or ' moved'}: {mean}{sizes} of the rows"


def story(line: Line) -> Story | None:
    """Of drift that lasts until now; None where there is none."""
    if line.since is None:
        return None
    run = [point for point in line.drifted if point.window.window.start >= line.since]
    place = max(range(len(run)), key=lambda i: (_effect(run[i]), i))
    way, least = side(run[place]), _PART * _effect(run[place])
    first = place
    while first and side(run[first - 1]) == way and _effect(run[first - 1]) >= least:
        first -= 1
    sudden = _sudden(line, run[first])
    first = first if sudden else 0
    return Story(line.name, tuple(run[first:]), tuple(run[:first]), sudden)


def _sudden(line: Line, start: Point) -> bool:
    judged = [point for point in line.points if point.report and point.report.verdict != "insufficient_data"]
    place = judged.index(start)
    if not place:
        return False
    before = judged[place - 1]
    turned = before in line.drifted and side(before) != side(start)
    return turned or _effect(before) < _PART * _effect(start)


def side(point: Point) -> str:
    """Which way the values went; what is no number changed in a value that the text names."""
    text = point.report.direction if point.report else ""
    found = _WAY.search(text)
    return _SIDES[found.group()] if found else text.split(" from ")[0]


def _size(point: Point) -> str:
    report = point.report
    assert report  # What drifted has a report.
    share = f"{percent(report.effect)} of the rows moved"
    if report.mean is None or report.reference_mean is None:
        return f"{share} ({report.direction.split(';')[0]})"
    change = _mean_change(point)
    by = f" ({change:+.0%})" if change is not None else ""
    return f"mean {report.mean:.3g}, in the reference {report.reference_mean:.3g}{by}; {share}"


def _mean_change(point: Point) -> float | None:
    """As a part of the reference's mean, for what is not below zero and not far from its mean."""
    report = point.report
    if report is None or not _positive(report):
        return None
    return (report.mean or 0.0) / (report.reference_mean or 1.0) - 1


def _positive(report: ColumnReport) -> bool:
    if report.mean is None or report.reference_mean is None or report.reference_mean <= 0 or report.mean < 0:
        return False
    return (report.reference_std or 0.0) <= 3 * report.reference_mean


def _range(values: Sequence[float], shown: Callable[[float], str]) -> str:
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low} to {high}"


def _effect(point: Point) -> float:
    return point.report.effect if point.report else 0.0
