"""Comparisons as one HTML page that needs nothing but itself.

    Path("release.html").write_text(render(records))

All text of records is hostile input: it reaches the page only through `svg.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from flink_jobs.reports.markup import page, table, wide_table
from flink_jobs.reports.running import MEASURES, Step, running_steps, signed, thinned
from flink_jobs.reports.style import STYLE
from flink_jobs.reports.svg import HEIGHT, WIDTH, Frame, svg, text
from flink_jobs.reports.text import day, percent, plural
from udfs.rollout.compare import add_up
from udfs.rollout.records import ComparisonRecord, GateReport, VersionReport

_OWN_STYLE = ".area{fill:var(--cur);opacity:.18}.zero{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 3}"
_LOOKS = {"pass": "calm", "fail": "alarm", "wait": "watch"}
_WORDS = {"pass": "Passes.", "fail": "Fails.", "wait": "Not known yet."}
# Beyond it a bound would flatten the picture.
_FARTHEST = 4.0
_ROWS = 40


def render(records: Sequence[ComparisonRecord]) -> str:
    """The page, as one string; the same for the same records, of which there must be one at least."""
    total, steps = add_up(records), running_steps(records)
    gate = next((record.gate for record in reversed(records) if record.gate), None)
    title = f"{text(total.job)}: versions of {text(total.model)}"
    span = f"{plural(len(records), 'window')}, {day(total.window.start)} to {day(total.window.end)} (UTC)"
    body = (
        f'<main><h1>{title}</h1>{_headline(gate, steps)}<p class="dim">{text(span)}</p>{_over_time(steps)}'
        f"<h2>Versions</h2>{_versions(total.versions)}{_actions(records)}</main>"
    )
    return page(title, STYLE + _OWN_STYLE, body)


def _headline(gate: GateReport | None, steps: Sequence[Step]) -> str:
    if gate is None:
        return '<p class="headline unknown"><b>No version waits for its promotion.</b></p>'
    who = f"Version {gate.version}" + (f", {gate.role} beside {gate.champion}" if gate.champion else "")
    why = "; ".join(gate.reasons)
    if steps and not why:
        found = steps[-1].quality
        why = f"{MEASURES[found.measure]} {signed(found.low)} to {signed(found.high)} of the champion's"
    said = f"<b>{text(who)}: {_WORDS[gate.outcome]}</b> {text(why)}"
    return f'<p class="headline {_LOOKS[gate.outcome]}">{said}</p>'


def _over_time(steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    measure = MEASURES[steps[-1].quality.measure]
    caption = (
        f"By what part of the champion's its {measure} is higher by all labels until then (line), and "
        "between which values that is (area): true at all windows together with the gate's confidence. "
        "Dotted: equal; dashed: allowed. It passes when the area is below what is allowed."
    )
    rows = "".join(_row(step) for step in thinned(steps, _ROWS))
    titles = (
        "until",
        ">labels",
        f">{measure}",
        ">champion",
        ">worse by",
        ">at least",
        ">at most",
        ">allowed",
        "gate",
    )
    return (
        f'<h2>Over time</h2><div class="charts"><figure>{_picture(steps)}<figcaption>{text(caption)}'
        f'</figcaption></figure></div><details class="print"><summary>Windows</summary>'
        f"{wide_table(titles, rows)}</details>"
    )


def _picture(steps: Sequence[Step]) -> str:
    parts = [step.quality.part for step in steps]
    low = [max(step.quality.low if step.quality.low is not None else -1.0, -1.0) for step in steps]
    high = [
        min(step.quality.high if step.quality.high is not None else _FARTHEST, _FARTHEST) for step in steps
    ]
    allowed = [step.gate.allowed for step in steps]
    top = max([*high, *(a for a in allowed if a is not None and a <= _FARTHEST)])
    frame = Frame(len(steps), min([*low, 0.0]), top)
    corners = [(place, value) for place, value in enumerate(high)]
    corners += [(place, low[place]) for place in range(len(low) - 1, -1, -1)]
    points = " ".join(f"{frame.x(place):.1f},{frame.y(value):.1f}" for place, value in corners)
    limits = [a if a is not None and a <= _FARTHEST else None for a in allowed]
    body = (
        frame.axes(day(steps[0].end), day(steps[-1].end), lambda value: f"{value:+.0%}")
        + f'<polygon class="area" points="{points}"/>'
        + frame.level(0.0, "zero")
        + frame.path(limits, "limit")
        + frame.path(parts, "now")
    )
    last = steps[-1].quality
    label = f"worse by {signed(last.part)}, between {signed(last.low)} and {signed(last.high)}, at the end"
    return svg(WIDTH, HEIGHT, body, "running", text(label))


def _row(step: Step) -> str:
    found = step.quality
    numbers = [f"{found.n:,}", f"{found.loss:.4g}", f"{found.champion_loss:.4g}"]
    numbers += [signed(value) for value in (found.part, found.low, found.high, step.gate.allowed)]
    cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
    return f'<tr><td class="short">{text(day(step.end))}</td>{cells}<td>{step.gate.outcome}</td></tr>'


def _versions(versions: Sequence[VersionReport]) -> str:
    rows = "".join(
        f'<tr><td>{report.version}</td><td>{report.role}</td><td class="n">{report.records:,}</td>'
        f'<td class="n">{"" if report.share is None else percent(report.share)}</td>'
        f'<td class="n">{report.errors:,}</td><td class="n">{_loss(report)}</td></tr>'
        for report in versions
    )
    return table(("version", "role", ">records", ">share", ">errors", ">loss"), rows)


def _loss(report: VersionReport) -> str:
    if report.labels is None:
        return ""
    loss = report.labels.rmse if report.labels.rmse is not None else report.labels.log_loss
    return "" if loss is None else f"{loss:.4g}"


def _actions(records: Sequence[ComparisonRecord]) -> str:
    rows = "".join(
        f'<tr><td class="short">{text(day(record.window.start))}</td><td>{text(record.action)}</td></tr>'
        for record in records
        if record.action
    )
    return f"<h2>What the job did</h2>{table(('window', 'what'), rows)}" if rows else ""
