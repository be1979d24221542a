"""Drift as a page of a terminal: what became of the records, how right the model is, and what moved.

print_report(Console(), grouped(records), alerts, quality=versions)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flink_jobs.reports.drift.beside import beside
from flink_jobs.reports.drift.headline import Worry, headline
from flink_jobs.reports.drift.page_alerts import said, size_of
from flink_jobs.reports.drift.series import (
    Line,
    Series,
    VersionSeries,
    alerts_of,
    open_alerts,
    segment_name,
)
from flink_jobs.reports.drift.summary import advice, worst_recent
from flink_jobs.reports.quality.evidence import facts
from flink_jobs.reports.quality.section import alarmed
from flink_jobs.reports.quality.summary import VersionQuality, by_labels, quality_alert
from flink_jobs.reports.quality.summary import headline as quality_headline
from flink_jobs.reports.quality.table import STYLE as QUALITY_STYLE
from flink_jobs.reports.text import begin, day, percent, plural
from flink_jobs.system.terminal import plain
from udfs.alerts.incidents import worst_since
from udfs.alerts.records import AlertRecord
from udfs.drift.records import DriftRecord, named

BARS = "▁▂▃▄▅▆▇█"
TOO_FEW = "·"
VERDICTS = {"ok": ("ok", "green"), "drift": ("drift", "bold red"), "insufficient_data": ("too few", "yellow")}
SHOWN_COLUMNS = 30
SHOWN_ALERTS = 10
SHOWN_SEGMENTS = 10
_NAME_WIDTH = 20
_LEAST_SCALE = 0.2
# What the other columns take at the widest: verdict, windows, effect with its day, since; and the gaps.
_OTHERS = 56
_STYLE: dict[Worry, str] = {
    "alarm": "bold red",
    "watch": "bold yellow",
    "note": "bold cyan",
    "calm": "bold green",
    "unknown": "bold",
}


def print_report(
    console: Console,
    groups: Sequence[VersionSeries],
    alerts: Sequence[AlertRecord],
    quality: Sequence[VersionQuality] = (),
) -> None:
    """All groups, the newest first; a column's line is squeezed to the console's width."""
    if not groups:
        console.print("No window is complete yet.")
    firing = open_alerts(alerts)
    for group in groups:
        known = [each for each in quality if (each.job, each.version) == (group.job, group.version)]
        _print_group(console, groups, group, alerts_of(group, firing), known)


def sparkline(values: Sequence[float | None], width: int, scale: float) -> str:
    """One sign per window, or per few windows (their largest value) where there are more than `width`.

    `None` (too few records) is a dot.
    """
    count = min(width, len(values))
    cuts = [place * len(values) // count for place in range(count + 1)] if count else []
    chunks = [values[start:end] for start, end in pairwise(cuts)]
    return "".join(_bar([value for value in chunk if value is not None], scale) for chunk in chunks)


def _bar(values: list[float], scale: float) -> str:
    return BARS[min(7, int(max(values) / scale * 8))] if values else TOO_FEW


def _told(
    groups: Sequence[VersionSeries],
    group: VersionSeries,
    firing: Sequence[AlertRecord],
    quality: VersionQuality,
) -> list[str]:
    """Beside an alarm of quality: what to do, and why."""
    found, alert = beside(groups, group, quality, firing), quality_alert(group.job, group.version, firing)
    return [found.what_to_do, *found.facts, *(facts(quality, alert) if alert else [])]


def _print_group(
    console: Console,
    groups: Sequence[VersionSeries],
    group: VersionSeries,
    firing: Sequence[AlertRecord],
    quality: Sequence[VersionQuality],
) -> None:
    _print_facts(console, group)
    for each in quality:
        worry, sentence = quality_headline(each, firing)
        console.print(Text(f"{plain(sentence[:1].upper() + sentence[1:])}.", QUALITY_STYLE[worry]))
    alarms = [each for each in quality if alarmed(each, firing)]
    for sentence in _told(groups, group, firing, alarms[0]) if alarms else ():
        console.print(Text(plain(sentence), "dim"))
    if not alarms:
        judged = headline(group, firing)
        console.print(Text(plain(judged.sentence), _STYLE[judged.worry]))
        for sentence in advice(group, firing, labelled=any(map(by_labels, quality))):
            console.print(Text(plain(sentence), "dim"))
    _print_worst(console, group.total)
    scale = max([_LEAST_SCALE, *map(_worst_effect, group.total.lines)])
    _print_title(console, f"Effect per window: share of rows that moved; a full bar is {percent(scale)}")
    console.print(_columns(group.total, console.width, scale))
    _print_moves(console, group.total)
    if firing:
        _print_alerts(console, firing)
    if group.segments:
        _print_title(console, "Segments, the largest drift first (--segment VALUE shows one)")
        console.print(_segments(group, console.width))
    console.print()


def _print_facts(console: Console, group: VersionSeries) -> None:
    windows = group.total.windows
    among = f", {plain(segment_name(group.total.segment))}" if group.total.segment else ""
    model = f", model {plain(group.model)} version {group.version}{among}"
    title = Text.assemble((plain(group.job), "bold"), model)
    console.print(title)
    last = windows[-1].window
    span = f"{begin(windows[0].window)} to {day(last.end, last)}"
    console.print(Text(f"{plural(len(windows), 'window')}, {span}; {_volume(windows)}", "dim"))


def _print_worst(console: Console, series: Series) -> None:
    found = worst_recent(series)
    if not found:
        return
    _print_title(console, "Worst recent windows: the largest share of rows that moved, and in what")
    for bad in found:
        moved = "; ".join(bad.moved) or "the columns together"
        more = f"; and {plural(bad.left_out, 'more column')}" if bad.left_out else ""
        _print_item(console, Text(plain(f"{begin(bad.window.window)}  {percent(bad.size)}  {moved}{more}")))


def _volume(windows: Sequence[DriftRecord]) -> str:
    sums = {name: sum(getattr(w.records, name) for w in windows) for name in ("predicted", "dead", "late")}
    every = max(sum(sums.values()), 1)
    dead, late = (f"{sums[name]:,} {name} ({percent(sums[name] / every)})" for name in ("dead", "late"))
    return f"{sums['predicted']:,} records predicted, {dead}, {late}"


def _columns(series: Series, width: int, scale: float) -> Table:
    shown = series.lines[:SHOWN_COLUMNS]
    table = _table()
    names = min(_NAME_WIDTH, max((len(plain(line.name)) for line in shown), default=0))
    table.add_column("column", width=max(6, names), overflow="fold")
    table.add_column("windows", no_wrap=True)
    for title in ("last", "drifted", "largest", "on", "since"):
        table.add_column(title, no_wrap=True, justify="right" if title in ("drifted", "largest") else "left")
    for line in shown:
        table.add_row(*_column_row(line, max(8, width - max(6, names) - _OTHERS), scale))
    if left := series.lines[SHOWN_COLUMNS:]:
        table.caption = f"and {plural(len(left), 'column')} with smaller changes (--column NAME shows one)"
        table.caption_justify = "left"
    return table


def _column_row(line: Line, width: int, scale: float) -> list[Text]:
    effects = [
        point.report.effect if point.report and point.report.verdict != "insufficient_data" else None
        for point in line.points
    ]
    worst = line.worst
    effect = worst.report.effect if worst.report else 0.0
    return [
        Text(plain(line.name)),
        Text(sparkline(effects, width, scale)),
        Text(*VERDICTS[line.last.verdict]),
        Text(f"{len(line.drifted)}/{len(line.points)}"),
        Text(percent(effect)),
        Text(worst.window.window.start[:10]),
        Text(line.since[:10] if line.since else ""),
    ]


def _print_moves(console: Console, series: Series) -> None:
    lines = [line for line in series.lines[:SHOWN_COLUMNS] if line.drifted]
    if not lines:
        return
    _print_title(console, "What moved, in the window of the largest effect")
    for line in lines:
        worst = line.worst
        if worst.report:
            text = f"{begin(worst.window.window)}  {named(line.name, worst.report.direction)}"
            _print_item(console, Text(plain(text)))


def _print_alerts(console: Console, firing: Sequence[AlertRecord]) -> None:
    _print_title(console, "Open alerts, the most damage first")
    for place, alert in enumerate(firing[:SHOWN_ALERTS], start=1):
        style = {"critical": "bold red", "warning": "yellow", "info": "cyan"}[alert.severity]
        among = f" [{segment_name(alert.segment)}]" if alert.segment else ""
        text = Text.assemble(
            f"{place}. ", (alert.severity, style), f" since {day(worst_since(alert), alert.window)}"
        )
        text.append(plain(f"{among}  {said(alert)}"))
        text.append(f"  {size_of(alert)}", "dim")
        _print_item(console, text)
    if left := firing[SHOWN_ALERTS:]:
        _print_item(console, Text(f"and {len(left)} more"))


def _segments(group: VersionSeries, width: int) -> Table:
    table = _table()
    table.add_column("segment", max_width=max(20, width - 60), overflow="fold")
    for title in ("last", "windows drifted", "largest", "column"):
        table.add_column(title, justify="right" if title in ("windows drifted", "largest") else "left")
    for series in group.segments[:SHOWN_SEGMENTS]:
        table.add_row(*_segment_row(series))
    if left := group.segments[SHOWN_SEGMENTS:]:
        table.caption = f"and {plural(len(left), 'segment')} with smaller changes"
        table.caption_justify = "left"
    return table


def _segment_row(series: Series) -> list[Text]:
    drifted = sum(window.verdict == "drift" for window in series.windows)
    worst = max((line for line in series.lines if line.drifted), key=_worst_effect, default=None)
    return [
        Text(plain(segment_name(series.segment))),
        Text(*VERDICTS[series.windows[-1].verdict]),
        Text(f"{drifted}/{len(series.windows)}"),
        Text(percent(_worst_effect(worst)) if worst else ""),
        Text(plain(worst.name) if worst else "", overflow="ellipsis"),
    ]


def _worst_effect(line: Line) -> float:
    report = line.worst.report
    return report.effect if report else 0.0


def _print_item(console: Console, text: Text) -> None:
    console.print(Padding(text, (0, 0, 0, 2), expand=False))


def _print_title(console: Console, title: str) -> None:
    console.print("", Text(title, "bold"), sep="\n")


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0))
