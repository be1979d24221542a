"""Drift as one HTML page that needs nothing but itself: for a browser, a mail, a printer.

    Path("drift.html").write_text(render(grouped(records), alerts))

All text of records is hostile input: it reaches the page only through `charts.text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flink_jobs.reports.drift.charts import LEVELS, heat_map
from flink_jobs.reports.drift.page_columns import VERDICTS, column_section
from flink_jobs.reports.drift.series import (
    Line,
    Series,
    VersionSeries,
    alerts_of,
    headline,
    open_alerts,
    segment_name,
)
from flink_jobs.reports.drift.summary import Period, advice, periods
from flink_jobs.reports.markup import page, wide_table
from flink_jobs.reports.style import SCRIPT, STYLE
from flink_jobs.reports.svg import text
from flink_jobs.reports.text import day, percent, plural
from udfs.alerts.records import AlertRecord
from udfs.drift.records import DriftRecord, named

SEGMENTS, SEGMENT_COLUMNS, CLOSED_ALERTS, PROBLEMS = 50, 12, 50, 20
_WORRY = {"alarm": "Worry.", "watch": "Look into it.", "calm": "No need to worry.", "unknown": "Unknown."}
_HATCH = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 5L5 0"/></pattern>'
    "</defs></svg>"
)
_EMPTY = "<p>No window is complete yet.</p>"
_PURPOSE = (
    "Each window of the stream is compared with the reference: the data that the model was checked with when"
    " it was made. Where they differ more than chance explains, the model sees data that it was not made for,"
    " and its predictions may be worse than they were."
)


def render(groups: Sequence[VersionSeries], alerts: Sequence[AlertRecord], lead: str = "") -> str:
    """The page, as one string; the same for the same records. `lead` comes first, as it is."""
    firing = open_alerts(alerts)
    title = f"Drift of {text(groups[0].job)}" if groups else "Drift"
    chapters = "".join(
        _chapter(group, alerts_of(group, firing), alerts_of(group, alerts)) for group in groups
    )
    return page(title, STYLE, f"{_HATCH}{lead}{chapters or _EMPTY}<script>{SCRIPT}</script>")


def _chapter(group: VersionSeries, firing: Sequence[AlertRecord], alerts: Sequence[AlertRecord]) -> str:
    judged = headline(group, firing)
    total = group.total
    sections = "".join(
        column_section(line, opened=place < 5 and bool(line.drifted))
        for place, line in enumerate(total.lines)
    )
    return (
        f"<main>{_title(group)}"
        f'<p class="headline {judged.worry}"><b>{_WORRY[judged.worry]}</b> {text(judged.sentence)}</p>'
        f"{_what_to_do(advice(group, firing))}"
        f'<p class="dim">{_facts(total.windows)} {_PURPOSE}</p>'
        f"<h2>In short</h2>{_periods(periods(total, alerts))}"
        f"<h2>Open alerts</h2>{_alertwide_table(firing)}"
        f"<h2>What changed, and when</h2>{_key()}"
        f'<div class="wide">{heat_map(total, total.lines)}</div>{_moves(total)}{_joint(total)}'
        f"{_segments(group)}<h2>Columns</h2>{sections}"
        f"{_problems(total.windows)}{_closed(alerts)}</main>"
    )


def _title(group: VersionSeries) -> str:
    among = f", {text(segment_name(group.total.segment))}" if group.total.segment else ""
    return f"<h1>{text(group.job)}: model {text(group.model)} version {group.version}{among}</h1>"


def _what_to_do(sentences: Sequence[str]) -> str:
    return f"<p><b>What to do.</b> {text(' '.join(sentences))}</p>"


def _periods(found: Sequence[Period]) -> str:
    rows = "".join(
        f'<tr><td class="short">{text(period.name)}</td>'
        f'<td class="n short {"drift" if period.drifted else "ok"}">{period.drifted} of {period.windows}</td>'
        f'<td class="any">{_moved_then(period)}</td></tr>'
        for period in found
    )
    titles = ("when", "windows drifted", "what moved (share of its rows), the most important first")
    return wide_table(titles, rows)


def _moved_then(period: Period) -> str:
    if not period.moved:
        columns = "no single column" if period.drifted else "nothing that matters"
        return f'<span class="dim">{columns}</span>'
    more = f"; and {plural(period.left_out, 'more column')}" if period.left_out else ""
    return text("; ".join(period.moved) + more)


def _facts(windows: Sequence[DriftRecord]) -> str:
    sums = {name: sum(getattr(w.records, name) for w in windows) for name in ("predicted", "dead", "late")}
    repeats = [w.records.duplicates for w in windows if w.records.duplicates is not None]
    again = f", {sum(repeats):,} repeated" if repeats else ""
    span = f"{text(day(windows[0].window.start))} to {text(day(windows[-1].window.end))} (UTC)"
    return (
        f"{plural(len(windows), 'window')} from {span}: {sums['predicted']:,} records predicted,"
        f" {sums['dead']:,} refused (dead letters), {sums['late']:,} late{again}."
    )


def _key() -> str:
    bounds = (0.0, *LEVELS)
    labels = [f"below {LEVELS[0]:.0%}", *(f"from {bound:.0%}" for bound in bounds[1:])]
    items = [(f"h{level}", label) for level, label in enumerate(labels)]
    items += [("h0 d", "framed: drift"), ("few", "hatched: too few records to tell")]
    marks = "".join(
        '<span><svg width="14" height="14">'
        f'<rect x="1" y="1" width="12" height="12" class="{name}"/></svg>{label}</span>'
        for name, label in items
    )
    return f'<p class="key"><span>Share of the rows that moved:</span>{marks}</p>'


def _alertwide_table(alerts: Sequence[AlertRecord]) -> str:
    if not alerts:
        return '<p class="dim">No alert is open.</p>'
    rows = "".join(
        f'<tr><td class="short {alert.severity}">{alert.severity}</td>'
        f'<td class="short">{text(day(alert.since))}</td>'
        f'<td class="any">{text(segment_name(alert.segment))}</td>'
        f'<td class="any">{text(alert.message)}{_examples(alert)}</td>'
        f'<td class="n short">{_bad_windows(alert)}</td>'
        f'<td class="n">{percent(alert.impact)}</td></tr>'
        for alert in alerts
    )
    return wide_table(("severity", "since", "where", "what", "bad windows", "impact on the model"), rows)


def _bad_windows(alert: AlertRecord) -> str:
    """An alert of the sequential detector comes before its window ends."""
    return f"{alert.windows_bad} of {alert.windows_seen}" if alert.windows_seen else "–"


def _examples(alert: AlertRecord) -> str:
    if not alert.examples:
        return ""
    return f'<br><span class="dim">for example {text(", ".join(alert.examples))}</span>'


def _moves(series: Series) -> str:
    """For each column that drifted, a sentence."""
    drifted = [line for line in series.lines if line.drifted]
    if not drifted:
        return '<p class="dim">No column drifted in any window.</p>'
    rows = "".join(_move(line) for line in drifted)
    titles = ("column", "now", "windows drifted", "since", "largest effect", "what it was then")
    return wide_table(titles, rows)


def _move(line: Line) -> str:
    worst, report = line.worst, line.worst.report
    if report is None:
        return ""
    now = f'<td class="short {line.last.verdict}">{VERDICTS[line.last.verdict]}</td>'
    return (
        f'<tr><td class="any">{text(line.name)}</td>{now}'
        f'<td class="n short">{len(line.drifted)} of {len(line.points)}</td>'
        f'<td class="short">{text(day(line.since)) if line.since else "over"}</td>'
        f'<td class="short">{percent(report.effect)} on {text(day(worst.window.window.start))}</td>'
        f'<td class="any">{text(named(line.name, report.direction))}</td></tr>'
    )


def _chance(q: float) -> str:
    return "<0.001" if q < 0.001 else f"{q:.3f}"


def _joint(series: Series) -> str:
    """The windows in which the columns' correlations changed, the latest first."""
    changed = [
        (window, window.joint)
        for window in series.windows
        if window.joint and window.joint.verdict == "drift"
    ]
    if not changed:
        return ""
    rows = "".join(
        f'<tr><td class="short">{text(day(window.window.start))}</td><td class="n">{joint.value:.2f}</td>'
        f'<td class="n">{joint.threshold:.2f}</td><td class="n">{_chance(joint.q)}</td><td class="any">'
        + "; ".join(
            f"{text(pair.first)} and {text(pair.second)}: {pair.reference:.2f} → {pair.current:.2f}"
            for pair in joint.pairs
        )
        + "</td></tr>"
        for window, joint in changed[::-1][:10]
    )
    lead = (
        f"In {plural(len(changed), 'window')} the columns went together otherwise than in the reference:"
        " the root-mean-square difference of their correlations is above what chance explains."
    )
    titles = ("window", "difference", "threshold", "q", "pairs that changed most (reference → window)")
    return f"<h3>Columns together</h3><p>{lead}</p>{wide_table(titles, rows)}"


def _segments(group: VersionSeries) -> str:
    if not group.segments:
        return ""
    shown = group.segments[:SEGMENTS]
    left = len(group.segments) - len(shown)
    more = f'<p class="dim">{plural(left, "segment")} with smaller changes left out.</p>' if left else ""
    return (
        "<h2>Segments</h2><p>The records split by a column's value; the largest drift first.</p>"
        f'<div class="segments">{"".join(map(_segment, shown))}</div>{more}'
    )


def _segment(series: Series) -> str:
    drifted = sum(window.verdict == "drift" for window in series.windows)
    last = series.windows[-1].verdict
    lines = series.lines[:SEGMENT_COLUMNS]
    rest = len(series.lines) - len(lines)
    more = f'<p class="dim">{plural(rest, "column")} with smaller changes left out.</p>' if rest else ""
    return (
        f"<details><summary><b>{text(segment_name(series.segment))}</b>"
        f'<span class="{last}">{VERDICTS[last]}</span>'
        f'<span class="dim">, {drifted} of {plural(len(series.windows), "window")} drifted</span></summary>'
        f'<p class="dim">{_facts(series.windows)}</p>'
        f'<div class="wide">{heat_map(series, lines)}</div>{more}{_moves(series)}</details>'
    )


def _problems(windows: Sequence[DriftRecord]) -> str:
    """Why records were refused, the most frequent first."""
    sums: dict[tuple[str, str, str], int] = {}
    for window in windows:
        for problem in window.problems:
            key = (problem.stage, problem.reason, problem.field or "")
            sums[key] = sums.get(key, 0) + problem.count
    if not sums:
        return ""
    most = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:PROBLEMS]
    rows = "".join(
        f'<tr><td class="n">{count:,}</td>{"".join(f"<td>{text(part)}</td>" for part in key)}</tr>'
        for key, count in most
    )
    return f"<h2>Refused records</h2>{wide_table(('records', 'stage', 'reason', 'field'), rows)}"


def _closed(alerts: Iterable[AlertRecord]) -> str:
    """What was resolved, the latest first."""
    resolved = sorted(
        (alert for alert in alerts if alert.state == "resolved"),
        key=lambda alert: (alert.window.end, alert.id),
        reverse=True,
    )
    if not resolved:
        return ""
    rows = "".join(
        f"<tr><td>{text(day(alert.since))}</td><td>{text(day(alert.window.end))}</td>"
        f"<td>{text(segment_name(alert.segment))}</td><td>{text(alert.message)}</td></tr>"
        for alert in resolved[:CLOSED_ALERTS]
    )
    return f"<h2>Resolved alerts</h2>{wide_table(('since', 'until', 'where', 'what'), rows)}"
