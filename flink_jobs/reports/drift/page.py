"""Drift as one HTML page that needs nothing but itself: for a browser, a mail, a printer.

    Path("drift.html").write_text(render(grouped(records), alerts, versions, made="2026-03-01T12:00:00Z"))

All text of records is hostile input: it reaches the page only through `charts.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from flink_jobs.reports.drift.beside import beside
from flink_jobs.reports.drift.charts import LEVELS, heat_map
from flink_jobs.reports.drift.headline import headline
from flink_jobs.reports.drift.page_alerts import alert_table, incidents, resolved_alerts
from flink_jobs.reports.drift.page_columns import VERDICTS, column_section
from flink_jobs.reports.drift.series import (
    Line,
    Series,
    VersionSeries,
    alerts_of,
    open_alerts,
    segment_name,
)
from flink_jobs.reports.drift.story import story
from flink_jobs.reports.drift.summary import Period, advice, periods, worst_recent
from flink_jobs.reports.markup import beginning, contents, page, stacked_table, wide_table
from flink_jobs.reports.quality.section import alarmed, quality_lead
from flink_jobs.reports.quality.summary import VersionQuality, by_labels
from flink_jobs.reports.style import SCRIPT, STYLE
from flink_jobs.reports.svg import text
from flink_jobs.reports.text import begin, day, percent, plural
from udfs.alerts.records import AlertRecord
from udfs.drift.records import DriftRecord, named

SEGMENTS, SEGMENT_COLUMNS, PROBLEMS, MOVED = 50, 12, 20, 4
# A part of the records that a person should see.
MANY = 0.05
_WORRY = {
    "alarm": "Act.",
    "watch": "Look into it.",
    "note": "Good to know.",
    "calm": "No need to worry.",
    "unknown": "Unknown.",
}
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


def render(
    groups: Sequence[VersionSeries],
    alerts: Sequence[AlertRecord],
    quality: Sequence[VersionQuality] = (),
    made: str | None = None,
) -> str:
    """The page, as one string; the same for the same records. `made` is the time of now, in UTC.

    Quality leads. While an alarm of it is open, the page advises once, there; drift explains.
    """
    firing = open_alerts(alerts)
    alarms = {(each.job, each.version): each for each in quality if alarmed(each, firing)}
    beside_alarms = {
        key: beside(groups, group, alarms[key], alerts_of(group, firing))
        for group in groups
        if (key := (group.job, group.version)) in alarms
    }
    lead = quality_lead(quality, firing, beside_alarms)
    labelled = {(each.job, each.version) for each in quality if by_labels(each)}
    title = f"Drift of {text(groups[0].job)}" if groups else "Drift"
    links = [("quality", "Quality")] if lead and groups else []
    chapters = []
    for number, group in enumerate(groups, start=1):
        key, open_of_group = (group.job, group.version), alerts_of(group, firing)
        explains = key in alarms
        judged = _explained(group) if explains else _judged(group, open_of_group, key in labelled)
        chapters.append(
            _chapter(group, open_of_group, alerts_of(group, alerts), number, judged, explains=explains)
        )
        links += [(f"{place}-{number}", name) for place, name in _places(group, several=len(groups) > 1)]
    first = f'<div id="quality">{lead}</div>' if lead else ""
    accounts = _accounts(groups, made) if groups else ""
    body = f"{accounts}{contents(links) if links else ''}{first}{''.join(chapters) or _EMPTY}"
    return page(title, STYLE, f"{_HATCH}{body}<script>{SCRIPT}</script>")


def _places(group: VersionSeries, *, several: bool) -> list[tuple[str, str]]:
    of = f" (version {group.version})" if several else ""
    found = [("drift", f"Drift{of}"), ("alerts", f"Alerts{of}"), ("changed", f"What changed{of}")]
    found += [("segments", f"Segments{of}")] if group.segments else []
    return [*found, ("columns", f"Columns{of}")]


def _accounts(groups: Sequence[VersionSeries], made: str | None) -> str:
    """What became of all records, in a line for each version, and until when."""
    windows = [group.total.windows[-1].window for group in groups]
    last = max(windows, key=lambda window: window.end)
    page_made = f"; page made {text(made[:16].replace('T', ' '))}" if made else ""
    lines = "".join(
        f"<p><b>{text(group.model)} version {group.version}</b>, {text(_watched(group))}:"
        f" {_facts(group.total.windows)} {_newest(group.total.windows[-1])}</p>"
        for group in groups
    )
    return (
        f'<header id="accounts"><h1>{text(groups[0].job)}</h1><p>Data until {text(day(last.end, last))}'
        f"{page_made}. All times are UTC.</p>{lines}</header>"
    )


def _watched(group: VersionSeries) -> str:
    return f"{plural(len(group.total.lines), 'column')} watched"


def _newest(window: DriftRecord) -> str:
    """Of the newest window only what is lost, where much of it is."""
    records = window.records
    every = max(records.predicted + records.dead + records.late, 1)
    parts = [("refused", records.dead / every), ("late", records.late / every)]
    many = [f"{percent(share)} {name}" for name, share in parts if share >= MANY]
    return f'<span class="drift">In the newest window: {", ".join(many)}.</span>' if many else ""


def _judged(group: VersionSeries, firing: Sequence[AlertRecord], labelled: bool) -> str:
    judged = headline(group, firing)
    return (
        f'<p class="headline {judged.worry}"><b>{_WORRY[judged.worry]}</b> {text(judged.sentence)}</p>'
        f"{_what_to_do(advice(group, firing, labelled=labelled))}"
    )


def _explained(group: VersionSeries) -> str:
    """What moved, while what to do is said above."""
    stories = [found for line in group.total.lines if (found := story(line))]
    told = [found.told() for found in stories[:MOVED]]
    more = [f"{plural(len(stories) - MOVED, 'more column')} moved, below."] if len(stories) > MOVED else []
    lines = "".join(f"<li>{text(each)}</li>" for each in [*told, *more])
    moved = f"<ul>{lines}</ul>" if lines else "<p>No column moved.</p>"
    return f'{moved}<p class="dim">What to do is said at the top, with quality.</p>'


def _chapter(
    group: VersionSeries,
    firing: Sequence[AlertRecord],
    alerts: Sequence[AlertRecord],
    number: int,
    judged: str,
    *,
    explains: bool,
) -> str:
    """`judged` says what it means; where the chapter only explains, more of it is folded."""
    total = group.total
    sections = "".join(
        column_section(line, opened=not explains and place < 5 and bool(line.drifted))
        for place, line in enumerate(total.lines)
    )
    return (
        f'<main id="drift-{number}">{_title(group)}{judged}{_worst(total, folded=explains)}'
        f'<h2 id="alerts-{number}">Open alerts</h2>{alert_table(firing)}{incidents(alerts)}'
        f'<h2 id="changed-{number}">What changed, and when</h2><p class="dim">{_PURPOSE}</p>{_key()}'
        f'<div class="wide">{heat_map(total, total.lines)}</div>{_moves(total)}{_joint(total)}'
        f"<details><summary><b>By month, day or window</b></summary>{_periods(periods(total, alerts))}"
        "</details>"
        f"{_segments(group, number)}"
        f'<h2 id="columns-{number}">Columns</h2>{sections}'
        f"{_problems(total.windows)}{resolved_alerts(alerts)}</main>"
    )


def _worst(series: Series, *, folded: bool) -> str:
    """The windows to look at first."""
    found = worst_recent(series)
    if not found:
        return ""
    rows = [
        [
            ("short", text(begin(bad.window.window))),
            ("n short", percent(bad.size)),
            ("any", text("; ".join(bad.moved) or "the columns together") + _more(bad.left_out)),
        ]
        for bad in found
    ]
    titles = ("window", ">largest effect", "what moved (share of its rows)")
    table = stacked_table(titles, rows)
    if folded:
        return f"<details><summary><b>Worst recent windows</b></summary>{table}</details>"
    return f"<h2>Worst recent windows</h2>{table}"


def _more(left_out: int) -> str:
    return f"; and {plural(left_out, 'more column')}" if left_out else ""


def _title(group: VersionSeries) -> str:
    among = f", {text(segment_name(group.total.segment))}" if group.total.segment else ""
    return f"<h1>{text(group.job)}: drift of model {text(group.model)} version {group.version}{among}</h1>"


def _what_to_do(sentences: Sequence[str]) -> str:
    return f"<p><b>What to do.</b> {text(' '.join(sentences))}</p>" if sentences else ""


def _periods(found: Sequence[Period]) -> str:
    rows = [
        [
            ("short", text(period.name)),
            (f"n short {'drift' if period.drifted else 'ok'}", f"{period.drifted} of {period.windows}"),
            ("any", _moved_then(period)),
        ]
        for period in found
    ]
    titles = ("when", ">windows drifted", "what moved (share of its rows), the most important first")
    return stacked_table(titles, rows)


def _moved_then(period: Period) -> str:
    if not period.moved:
        columns = "no single column" if period.drifted else "nothing that matters"
        return f'<span class="dim">{columns}</span>'
    return text("; ".join(period.moved)) + _more(period.left_out)


def _facts(windows: Sequence[DriftRecord]) -> str:
    sums = {name: sum(getattr(w.records, name) for w in windows) for name in ("predicted", "dead", "late")}
    repeats = [w.records.duplicates for w in windows if w.records.duplicates is not None]
    again = f", {sum(repeats):,} repeated" if repeats else ""
    last = windows[-1].window
    span = f"{text(begin(windows[0].window))} to {text(day(last.end, last))}"
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


def _moves(series: Series) -> str:
    """For each column that drifted, a sentence."""
    drifted = [line for line in series.lines if line.drifted]
    if not drifted:
        return '<p class="dim">No column drifted in any window.</p>'
    titles = ("column", "now", "since", "windows that drifted", "largest share of rows", "what it was then")
    return stacked_table(titles, [_move(line) for line in drifted])


def _move(line: Line) -> list[tuple[str, str]]:
    worst, report = line.worst, line.worst.report
    assert report  # What drifted has a report.
    return [
        ("any", text(line.name)),
        (f"short {line.last.verdict}", VERDICTS[line.last.verdict]),
        _since(line),
        ("short", f"{len(line.drifted)} of the {len(line.points)} here"),
        ("short", f"{percent(report.effect)}, {text(begin(worst.window.window))}"),
        ("any", text(named(line.name, report.direction))),
    ]


def _since(line: Line) -> tuple[str, str]:
    found = story(line)
    if found is None:
        return "when", "over"
    first = (found.before or found.worst)[0]
    return beginning(text(begin(found.worst[0].window.window)), text(begin(first.window.window)))


_NOT_TOGETHER = (
    "Whether columns still vary together as in the reference was not tested. It takes two inputs or more, and"
    " a reference of all rows that counts pairs of columns: make older profiles anew (tailrace profile)."
)


def _chance(q: float) -> str:
    return "<0.001" if q < 0.001 else f"{q:.3f}"


def _joint(series: Series) -> str:
    """The windows in which columns went together otherwise, the latest first."""
    changed = [
        (window, window.joint)
        for window in series.windows
        if window.joint and window.joint.verdict == "drift"
    ]
    if not changed:
        untested = series.windows and not any(window.joint for window in series.windows)
        return f'<p class="dim">{_NOT_TOGETHER}</p>' if untested else ""
    rows = "".join(
        f'<tr><td class="short"><span>{text(begin(window.window))}</span></td>'
        f'<td class="n">{joint.value:.2f}</td>'
        f'<td class="n spare">{joint.threshold:.2f}</td><td class="n spare">{_chance(joint.q)}</td><td>'
        + "; ".join(text(str(pair)) for pair in joint.pairs)
        + "</td></tr>"
        for window, joint in changed[::-1][:10]
    )
    lead = (
        f"In {plural(len(changed), 'window')} the columns did not vary together as in the reference:"
        " the root-mean-square difference of the correlations of numbers, or the share of the rows that moved"
        " in the table of two columns, is above what chance explains."
    )
    titles = ("window", ">difference", "~>threshold", "~>q", "pairs that changed most (reference → window)")
    return f"<h3>Columns together</h3><p>{lead}</p>{wide_table(titles, rows, fit=True)}"


def _segments(group: VersionSeries, number: int) -> str:
    if not group.segments:
        return ""
    shown = group.segments[:SEGMENTS]
    left = len(group.segments) - len(shown)
    more = f'<p class="dim">{plural(left, "segment")} with smaller changes left out.</p>' if left else ""
    return (
        f'<h2 id="segments-{number}">Segments</h2>'
        "<p>The records split by a column's value; the largest drift first.</p>"
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
    return f"<h2>Refused records</h2>{wide_table(('records', 'stage', 'reason', 'field'), rows, fit=True)}"
