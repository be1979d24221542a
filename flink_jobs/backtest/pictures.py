"""The pictures of a backtest's page, as inline SVG; colours are the page's CSS classes.

metric_over_time(windows, "auc"), difference_over_time(windows, "auc"), mark(metric, reach([metric]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flink_jobs.backtest.narrate import metric_of, number, signed
from flink_jobs.backtest.records import Differences, Estimate, MetricComparison, Side, Slice
from flink_jobs.reports.svg import HEIGHT, WIDTH, Frame, svg
from flink_jobs.reports.text import day, percent

MARK_WIDTH, _MARK_HEIGHT = 150, 16
STYLE = """
.sideA{stroke:var(--ref)}.sideB{stroke:var(--cur)}.areaA{fill:var(--ref);opacity:.18}
.areaB{fill:var(--cur);opacity:.18}.zero{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 3;fill:none}
.bar{stroke:var(--ref);stroke-width:3;stroke-linecap:round}circle.none{fill:var(--ref)}
.bar.better{stroke:var(--good)}circle.better{fill:var(--good)}
.bar.worse{stroke:var(--bad)}circle.worse{fill:var(--bad)}
.better{color:var(--good);font-weight:600}.worse{color:var(--bad);font-weight:600}
.chipA,.chipB{display:inline-block;width:.8em;height:.8em;border-radius:2px;background:var(--ref)}
.chipB{background:var(--cur)}td svg{display:inline-block;vertical-align:middle}
.mix{fill:var(--cur)}td,th{white-space:nowrap}
.charts figure{flex:1 1 44%;max-width:560px}@media(max-width:700px){.charts figure{flex-basis:100%}}
"""
_SIDES: dict[Side | None, str] = {"b": "better", "a": "worse", None: "none"}


def side_class(better: Side | None) -> str:
    """The colour of a verdict about B."""
    return _SIDES[better]


def reach(metrics: Sequence[MetricComparison | None]) -> float:
    """The half width of a scale that all these differences fit on."""
    found = [metric.difference for metric in metrics if metric]
    ends = [abs(v) for each in found for v in (each.value, each.low, each.high) if v is not None]
    return max(ends, default=0.0) or 1.0


def mark(metric: MetricComparison, scale: float) -> str:
    """The difference and its interval on a line with 0 in the middle, from -scale to scale."""
    apart, name = metric.difference, side_class(metric.better)
    middle, y = MARK_WIDTH / 2, _MARK_HEIGHT / 2

    def x(value: float) -> float:
        return middle + value / scale * (middle - 8)

    body = f'<line class="zero" x1="{middle}" x2="{middle}" y1="0" y2="{_MARK_HEIGHT}"/>'
    if apart.low is not None and apart.high is not None:
        ends = f'x1="{x(apart.low):.1f}" x2="{x(apart.high):.1f}"'
        body += f'<line class="bar {name}" {ends} y1="{y}" y2="{y}"/>'
    if apart.value is not None:
        body += f'<circle class="{name}" cx="{x(apart.value):.1f}" cy="{y}" r="4"/>'
    label = f"difference {signed(apart.value)}"
    return svg(MARK_WIDTH, _MARK_HEIGHT, body, "mark", label)


def metric_over_time(windows: Sequence[Slice], name: str) -> str:
    """Both versions' metric per window, with the areas of their intervals."""
    found = [metric_of(part, name) for part in windows]
    sides = [[None if metric is None else metric.a for metric in found]]
    sides.append([None if metric is None else metric.b for metric in found])
    return _lines(windows, sides, "AB", number)


def difference_over_time(windows: Sequence[Slice], name: str) -> str:
    """B - A per window, with the area of its interval, against 0."""
    found = [metric_of(part, name) for part in windows]
    values = [None if metric is None else metric.difference for metric in found]
    return _lines(windows, [values], "B", signed, zero=True)


def changed_over_time(windows: Sequence[Slice]) -> str:
    """The share of other predictions per window."""
    values = [Estimate(part.differences.changed) for part in windows]
    return _lines(windows, [values], "B", percent, zero=True)


def scores_over_time(windows: Sequence[Slice]) -> str:
    """Both versions' mean score per window."""
    sides = [[Estimate(part.score_mean_a) for part in windows]]
    sides.append([Estimate(part.score_mean_b) for part in windows])
    return _lines(windows, sides, "AB", number)


def spread(apart: Differences) -> str:
    """The quantiles of the score differences on one line: 1 to 99%, 5 to 95%, 25 to 75%, and the median."""
    found = apart.quantiles
    if not found:
        return ""
    scale = max(abs(value) for value in found.values()) or 1.0
    middle = WIDTH / 2

    def x(name: str) -> float:
        return middle + found[name] / scale * (middle - 40)

    bars = "".join(
        f'<rect class="mix" opacity="{shade}" x="{x(low):.1f}" width="{max(1.0, x(high) - x(low)):.1f}" '
        f'y="{y}" height="{size}"/>'
        for low, high, shade, y, size in (
            ("p1", "p99", 0.25, 16, 8),
            ("p5", "p95", 0.45, 13, 14),
            ("p25", "p75", 0.9, 10, 20),
        )
    )
    zero = f'<line class="zero" x1="{middle}" x2="{middle}" y1="2" y2="38"/>'
    texts = "".join(
        f'<text x="{x(name):.1f}" y="52" class="{anchor}">{signed(found[name])}</text>'
        for name, anchor in (("p1", "start"), ("p99", "end"))
    )
    return svg(WIDTH, 58, bars + zero + texts, "line", "quantiles of the score differences")


def _lines(
    windows: Sequence[Slice],
    sides: Sequence[Sequence[Estimate | None]],
    names: str,
    label: Callable[[float], str],
    *,
    zero: bool = False,
) -> str:
    every = [v for side in sides for e in side if e for v in (e.value, e.low, e.high) if v is not None]
    if not every or len(windows) < 2:
        return ""
    low, high = min([*every, *([0.0] if zero else [])]), max([*every, *([0.0] if zero else [])])
    frame = Frame(len(windows), low, high)
    body = frame.axes(day(windows[0].start or ""), day(windows[-1].start or ""), label)
    if zero:
        body += frame.level(0.0, "zero")
    for side, name in zip(sides, names, strict=True):
        body += _area(frame, side, f"area{name}")
    for side, name in zip(sides, names, strict=True):
        body += frame.path([None if e is None else e.value for e in side], f"side{name}")
    return svg(WIDTH, HEIGHT, body, "line", "per window")


def _area(frame: Frame, side: Sequence[Estimate | None], name: str) -> str:
    """The interval as a polygon over each run of windows that have one."""
    polygons, run = [], []
    for place, each in enumerate([*side, None]):
        if each is not None and each.low is not None and each.high is not None:
            run.append((frame.x(place), frame.y(each.low), frame.y(each.high)))
            continue
        if len(run) > 1:
            points = [(x, high) for x, _, high in run] + [(x, low) for x, low, _ in reversed(run)]
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            polygons.append(f'<polygon class="{name}" points="{text}"/>')
        run = []
    return "".join(polygons)
