"""Quality as the first part of the page on drift: what it is now, and over time beside the estimate.

    render(grouped(records), alerts, lead=quality_lead(versions, open_alerts(alerts)))

All text of records is hostile input: it reaches the page only through `svg.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from flink_jobs.reports.markup import wide_table
from flink_jobs.reports.quality.summary import (
    LESS_RIGHT,
    SHOWN,
    VersionQuality,
    headline,
    label,
    number,
    spread,
)
from flink_jobs.reports.svg import HEIGHT, WIDTH, Frame, svg, text
from flink_jobs.reports.text import day, percent
from udfs.alerts.records import AlertRecord
from udfs.quality.records import Metric, QualityRecord

ROWS, MOVED = 14, 3
_WORRY = {"alarm": "Act.", "calm": "As expected.", "unknown": "Not sure."}


def quality_lead(versions: Sequence[VersionQuality], firing: Sequence[AlertRecord] = ()) -> str:
    """One part for each version; nothing without any. `firing` are the open alerts, the worst first."""
    return "".join(_version(group, firing) for group in versions if group.total)


def _version(group: VersionQuality, firing: Sequence[AlertRecord]) -> str:
    worry, sentence = headline(group, firing)
    return (
        f"<main><h1>{text(group.job)}: how right model {text(group.model)} version {group.version} is</h1>"
        f'<p class="headline {worry}"><b>{_WORRY[worry]}</b> {text(sentence[:1].upper() + sentence[1:])}.</p>'
        f"{_what_to_do(group, firing) if worry == 'alarm' else ''}{_chart(group)}{_windows(group)}</main>"
    )


def _what_to_do(group: VersionQuality, firing: Sequence[AlertRecord]) -> str:
    """With what else moved at the same time, as that may be why."""
    moved = [
        alert.message.split(";")[0]
        for alert in firing
        if (alert.job, alert.version) == (group.job, group.version)
        and alert.damage in ("records", "outputs", "inputs")
    ]
    why = f"At the same time: {'; '.join(moved[:MOVED])}. " if moved else ""
    return f"<p><b>What to do.</b> {text(why + LESS_RIGHT)}</p>"


def _chart(group: VersionQuality) -> str:
    main = SHOWN[group.kind][0]
    realized = [_value(r.realized.get(main)) for r in group.total]
    estimated = [_value(r.estimated.get(main)) for r in group.total]
    known = [value for value in (*realized, *estimated) if value is not None]
    if len(group.total) < 2 or not known:
        return ""
    frame = Frame(len(group.total), min(known), max(known))
    changed = "".join(
        frame.dot(place, value)
        for place, (record, value) in enumerate(zip(group.total, realized, strict=True))
        if value is not None and record.gap and record.gap.changed
    )
    body = (
        frame.axes(group.total[0].window.start, group.total[-1].window.start, number)
        + frame.path(estimated, "limit")
        + frame.path(realized, "now")
        + changed
    )
    caption = (
        f"{label(main)} of each window: with labels (line), as estimated without them (dashed). Dots: what "
        "came is further from what the scores made expect than chance explains; below, the gap is how far."
    )
    picture = svg(WIDTH, HEIGHT, body, "quality", text(f"{label(main)} over time"))
    return f'<div class="charts"><figure>{picture}<figcaption>{text(caption)}</figcaption></figure></div>'


def _windows(group: VersionQuality) -> str:
    shown = SHOWN[group.kind]
    main, *others = (f">{label(name)}" for name in shown)
    titles = ("window", "~>records", ">labels", main, *(f"~{name}" for name in others), ">estimated", ">gap")
    rows = "".join(_row(record, shown) for record in group.total[: -ROWS - 1 : -1])
    return wide_table(titles, rows, fit=True)


def _row(record: QualityRecord, shown: Sequence[str]) -> str:
    coverage = percent(record.labels.coverage) if record.labels else "none"
    gap = "" if record.gap is None else f"{record.gap.part:+.1%}"
    main, *others = (spread(record.realized.get(name)) for name in shown)
    cells = [("n spare", f"{record.records:,}"), ("n", coverage if record.final else f"{coverage} …")]
    cells += [("n", main), *(("n spare", other) for other in others)]
    cells += [("n", spread(record.estimated.get(shown[0])))]
    style = ' class="n drift"' if record.gap and record.gap.changed else ' class="n"'
    return (
        f'<tr><td class="short">{_day(record)}{" (part)" * record.partial}</td>'
        + "".join(f'<td class="{kind}">{text(cell)}</td>' for kind, cell in cells)
        + f"<td{style}>{text(gap)}</td></tr>"
    )


def _day(record: QualityRecord) -> str:
    """A narrow column breaks between date and time only."""
    return " ".join(f"<span>{text(part)}</span>" for part in day(record.window.start).split())


def _value(metric: Metric | None) -> float | None:
    return metric.value if metric else None
