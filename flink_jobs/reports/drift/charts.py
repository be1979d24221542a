"""The pictures of the page, as inline SVG; colours are the page's CSS classes, which follow its theme.

heat_map(series, series.lines), effect_chart(line), distribution(report)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from flink_jobs.reports.drift.series import Line, Point, Series
from flink_jobs.reports.svg import HEIGHT, WIDTH, Frame, svg, text
from flink_jobs.reports.text import begin, day, percent
from flink_jobs.system.terminal import plain
from udfs.drift.records import ColumnReport

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.35)
_CELL_HEIGHT, _NAMES = 18, 136
_RANGE, _TINY = re.compile(r"(\d\S{0,24}?e-\d{1,3}) to (\d[\d.e+-]{0,24})"), 1e-6


def heat_map(series: Series, lines: Sequence[Line]) -> str:
    """Columns down, windows across: the deeper the colour, the larger the effect; a frame marks drift."""
    cell = max(5.0, min(20.0, 700 / len(series.windows)))
    width, height = _NAMES + cell * len(series.windows), _CELL_HEIGHT * len(lines) + 22
    rows = "".join(_heat_row(line, place * _CELL_HEIGHT, cell) for place, line in enumerate(lines))
    axis = _axis(series, cell, width, height - 6)
    return svg(max(width, _NAMES + 210), height, rows + axis, "heat", "effect per column and window")


def _axis(series: Series, cell: float, width: float, y: float) -> str:
    """A label where each month begins, or, where that is too few, the first and the last day."""
    starts = [window.window.start for window in series.windows]
    months: list[str] = []
    free = 0.0
    for place, (before, start) in enumerate(pairwise([starts[0], *starts])):
        x = _NAMES + place * cell
        if (not place or before[:7] != start[:7]) and x >= free and x + 52 <= width:
            name = begin(series.windows[0].window) if not place else start[:7]
            months.append(f'<text x="{x:.0f}" y="{y}">{text(name)}</text>')
            free = x + (90 if not place else 58)
    if len(months) > 2:
        return "".join(months)
    end = series.windows[-1].window
    until = day(end.end, end)
    # Of one day the time says enough, and leaves room.
    until = until.removeprefix(f"{starts[0][:10]} ")
    last = f'<text x="{width:.0f}" y="{y}" class="end">{text(until)}</text>'
    first = f'<text x="{_NAMES}" y="{y}">{text(begin(series.windows[0].window))}</text>'
    return first + (last if len(starts) > 1 else "")


def _heat_row(line: Line, y: int, cell: float) -> str:
    name = plain(line.name)
    shown = name if len(name) <= 20 else name[:19] + "…"
    cells = "".join(
        _heat_cell(point, _NAMES + place * cell, y, cell)
        for place, point in enumerate(line.points)
        if point.report
    )
    label = f"<title>{escape(name[:200])}</title>{escape(shown)}"
    return f'<text x="{_NAMES - 6}" y="{y + 13}" class="end">{label}</text>{cells}'


def _heat_cell(point: Point, x: float, y: int, cell: float) -> str:
    report = point.report
    if report is None:
        return ""
    size = f'x="{x:.1f}" y="{y}" width="{cell - 1:.1f}" height="{_CELL_HEIGHT - 1}"'
    if report.verdict == "insufficient_data":
        return f'<rect {size} class="few"><title>{text(begin(point.window.window))} too few</title></rect>'
    level = sum(report.effect >= bound for bound in LEVELS)
    mark = " d" if report.verdict == "drift" else ""
    title = f"{text(begin(point.window.window))} {percent(report.effect)}"
    return f'<rect {size} class="h{level}{mark}"><title>{title}</title></rect>'


def effect_chart(line: Line) -> str:
    """The effect per window, a dot where it is drift, against what counts as drift at the window's size."""
    effects = [_of(point, lambda report: report.effect) for point in line.points]
    needed = [_of(point, lambda r: max(r.min_effect, r.visible_effect)) for point in line.points]
    top = max(0.05, *(value for value in (*effects, *needed) if value is not None))
    frame = Frame(len(line.points), 0.0, top)
    dots = "".join(
        frame.dot(place, point.report.effect)
        for place, point in enumerate(line.points)
        if point.report and point.report.verdict == "drift"
    )
    body = frame.axes(*_ends(line), percent) + frame.path(needed, "limit") + frame.path(effects, "now") + dots
    return svg(WIDTH, HEIGHT, body, "line", "effect per window")


def value_chart(line: Line) -> str:
    """Numbers: the mean between the quantiles, the reference's as level lines. Empty without any mean."""
    means = [_of(point, lambda report: report.mean) for point in line.points]
    if all(mean is None for mean in means):
        return ""
    low, high = _outer(line)
    bands = [[_quantile(point, name) for point in line.points] for name in (low, high) if name]
    level = line.last.reference_mean
    every = [v for values in (*bands, means) for v in values if v is not None]
    every += [level] if level is not None else []
    bottom, top = min(every), max(every)
    frame = Frame(len(line.points), bottom, top)
    marks = frame.level(level) if level is not None else ""
    body = (
        frame.axes(*_ends(line), "{:.3g}".format)
        + marks
        + "".join(frame.path(band, "band") for band in bands)
    )
    return svg(WIDTH, HEIGHT, body + frame.path(means, "now"), "line", "mean per window")


def null_chart(line: Line) -> str:
    """The share of nulls per window; empty when there are none at all."""
    rates = [_of(point, lambda report: report.null_rate) for point in line.points]
    level = line.last.reference_null_rate
    top = max([level, *(rate for rate in rates if rate is not None)])
    if top == 0:
        return ""
    frame = Frame(len(line.points), 0.0, top)
    body = frame.axes(*_ends(line), percent) + frame.level(level) + frame.path(rates, "now")
    return svg(WIDTH, HEIGHT, body, "line", "share of nulls per window")


def distribution(report: ColumnReport) -> str:
    """Shares per bin, the reference beside the window; bins that are empty in both are left out."""
    bins = report.bins
    every = zip(bins.labels, bins.reference, bins.current, strict=False)
    triples = [(_readable(name), old, new) for name, old, new in every if old or new]
    if not triples:
        return ""
    scale = 250 / max(1e-9, *bins.reference, *bins.current)
    rows = "".join(_bars(place * 22, *triple, scale) for place, triple in enumerate(triples))
    return svg(480, 22 * len(triples), rows, "bars", "shares of the rows per bin")


def _readable(label: str) -> str:
    """A range from next to nothing begins at 0: 3.16e-12 to 0.00178 says no more."""
    found = _RANGE.fullmatch(label)
    if found and 0 < float(found[1]) < _TINY * abs(float(found[2])):
        return f"0 to {found[2]}"
    return label


def _bars(y: int, label: str, reference: float, current: float, scale: float) -> str:
    name = plain(label)
    shown = name if len(name) <= 18 else name[:17] + "…"
    return (
        f'<text x="124" y="{y + 14}" class="end"><title>{escape(name[:200])}</title>{escape(shown)}</text>'
        f'<rect x="130" y="{y + 2}" width="{reference * scale:.1f}" height="8" class="ref"/>'
        f'<rect x="130" y="{y + 11}" width="{current * scale:.1f}" height="8" class="cur"/>'
        f'<text x="{136 + max(reference, current) * scale:.1f}" y="{y + 14}">'
        f"{percent(reference)} → {percent(current)}</text>"
    )


def _ends(line: Line) -> tuple[str, str]:
    return begin(line.points[0].window.window), begin(line.points[-1].window.window)


def _of(point: Point, take: Callable[[ColumnReport], float | None]) -> float | None:
    return take(point.report) if point.report else None


def _outer(line: Line) -> tuple[str | None, str | None]:
    """The names of the lowest and highest quantile that the column's records have."""
    names = sorted({name for report in line.reports for name in report.quantiles})
    known = [name for name in names if _rank(name) is not None]
    known.sort(key=lambda name: _rank(name) or 0.0)
    return (known[0], known[-1]) if known else (None, None)


def _rank(name: str) -> float | None:
    try:
        return float(name.lstrip("pq"))
    except ValueError:
        return None


def _quantile(point: Point, name: str) -> float | None:
    return point.report.quantiles.get(name) if point.report else None
