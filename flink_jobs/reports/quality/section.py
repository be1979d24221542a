"""Quality as the first part of the page on drift: what it is now, and over time beside the estimate.

    quality_lead(versions, open_alerts(alerts))

All text of records is hostile input: it reaches the page only through `svg.text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flink_jobs.reports.markup import wide_table
from flink_jobs.reports.quality.evidence import base_rate, facts
from flink_jobs.reports.quality.summary import (
    SHOWN,
    WHAT_TO_DO,
    VersionQuality,
    headline,
    label,
    number,
    quality_alert,
    spread,
)
from flink_jobs.reports.svg import HEIGHT, WIDTH, Frame, svg, text
from flink_jobs.reports.text import begin, percent
from udfs.alerts.records import AlertRecord
from udfs.quality.falls import RULES
from udfs.quality.records import Gap, Metric, QualityRecord

ROWS, MOVED = 14, 3
_WORRY = {"alarm": "Act.", "calm": "As expected.", "unknown": "Not sure."}


@dataclass(frozen=True)
class Beside:
    """What drift adds to an alarm of quality: what moved, in sentences; what to do; pictures, as HTML."""

    facts: tuple[str, ...]
    what_to_do: str
    pictures: str


def quality_lead(
    versions: Sequence[VersionQuality],
    firing: Sequence[AlertRecord] = (),
    beside: Mapping[tuple[str, int], Beside] | None = None,
) -> str:
    """One part for each version; nothing without any. `firing` are the open alerts, the worst first.

    `beside` is by job and version.
    """
    known = beside or {}
    return "".join(
        _version(group, firing, known.get((group.job, group.version))) for group in versions if group.total
    )


def alarmed(group: VersionQuality, firing: Sequence[AlertRecord]) -> bool:
    """Whether the page begins with an alarm of this version's quality."""
    return bool(group.total) and headline(group, firing)[0] == "alarm"


def _version(group: VersionQuality, firing: Sequence[AlertRecord], beside: Beside | None) -> str:
    worry, sentence = headline(group, firing)
    alert = quality_alert(group.job, group.version, firing)
    what = _why(group, alert, firing, beside) if worry == "alarm" else ""
    pictures = beside.pictures if beside and worry == "alarm" else ""
    return (
        f"<main><h1>{text(group.job)}: quality of model {text(group.model)} version {group.version}</h1>"
        f'<p class="headline {worry}"><b>{_WORRY[worry]}</b> {text(sentence[:1].upper() + sentence[1:])}.</p>'
        f'{what}<div class="charts">{_chart(group, alert)}{pictures}</div>{_windows(group)}</main>'
    )


def _why(
    group: VersionQuality, alert: AlertRecord | None, firing: Sequence[AlertRecord], beside: Beside | None
) -> str:
    """What to do, and why: the facts it follows from; without drift records, what its alerts say."""
    found = facts(group, alert) if alert else []
    moved = [
        each.message.split(";")[0]
        for each in firing
        if (each.job, each.version) == (group.job, group.version)
        and each.damage in ("records", "outputs", "inputs")
    ]
    if beside:
        found = [*found[:1], *beside.facts, *found[1:]]
    elif moved:
        found = [f"At the same time: {'; '.join(moved[:MOVED])}.", *found]
    items = "".join(f"<li>{text(fact)}</li>" for fact in found)
    what = beside.what_to_do if beside else WHAT_TO_DO
    return f"<p><b>What to do.</b> {text(what)}</p>{f'<h2>Why</h2><ul>{items}</ul>' if items else ''}"


def _chart(group: VersionQuality, alert: AlertRecord | None) -> str:
    main = SHOWN[group.kind][0]
    realized = [_value(r.realized.get(main)) for r in group.total]
    estimated = [_value(r.estimated.get(main)) for r in group.total]
    known = [value for value in (*realized, *estimated) if value is not None]
    if len(group.total) < 2 or not known:
        return ""
    limit = alert.threshold if alert and alert.rule in RULES.values() and alert.statistic == main else None
    known += [limit] if limit is not None else []
    frame = Frame(len(group.total), min(known), max(known))
    changed = "".join(
        frame.dot(place, value)
        for place, (record, value) in enumerate(zip(group.total, realized, strict=True))
        if value is not None and record.gap and record.gap.changed
    )
    body = (
        frame.axes(begin(group.total[0].window), begin(group.total[-1].window), number)
        + (frame.level(limit, "least") if limit is not None else "")
        + frame.path(estimated, "limit")
        + frame.path(realized, "now")
        + changed
    )
    drawn = ["with labels (line)"] if any(value is not None for value in realized) else []
    drawn += ["estimated without labels (dashed)"] if any(value is not None for value in estimated) else []
    drawn += [f"limit of what was expected, {number(limit)} (red)"] if limit is not None else []
    drawn += ["outcomes did not follow the scores (dots)"] if changed else []
    caption = f"{label(main)} of each window: {', '.join(drawn)}."
    picture = svg(WIDTH, HEIGHT, body, "quality", text(f"{label(main)} over time"))
    return f"<figure>{picture}<figcaption>{text(caption)}</figcaption></figure>"


def _windows(group: VersionQuality) -> str:
    """The newest first; the gap where chance does not explain it."""
    shown, rows = SHOWN[group.kind], group.total[: -ROWS - 1 : -1]
    main, *others = (f">{label(name)}" for name in shown)
    rates, gaps = any(r.curve for r in rows), [r.gap for r in rows if r.gap and r.gap.changed]
    titles = ["window", "~>records", ">labels", main, *(f"~{name}" for name in others), ">estimated"]
    titles += ["~>positive labels"] if rates else []
    titles += [">against the scores"] if gaps else []
    table = wide_table(titles, "".join(_row(r, shown, rates=rates, gaps=bool(gaps)) for r in rows), fit=True)
    if not gaps:
        return table
    what = f"Against the scores: {label(gaps[0].metric)} by labels beside what the scores predict"
    return f'{table}<p class="dim">{text(what)}, where chance does not explain the difference.</p>'


def _row(record: QualityRecord, shown: Sequence[str], *, rates: bool, gaps: bool) -> str:
    coverage = percent(record.labels.coverage) if record.labels else "none"
    main, *others = (spread(record.realized.get(name)) for name in shown)
    cells = [("n spare", f"{record.records:,}"), ("n", coverage if record.final else f"{coverage} …")]
    cells += [("n", main), *(("n spare", other) for other in others)]
    cells += [("n", spread(record.estimated.get(shown[0])))]
    rate = base_rate(record)
    cells += [("n spare", "" if rate is None else percent(rate))] if rates else []
    cells += [("n drift", _gap(record.gap))] if gaps else []
    return (
        f'<tr><td class="short">{_day(record)}{" (part)" * record.partial}</td>'
        + "".join(f'<td class="{kind}">{text(cell)}</td>' for kind, cell in cells)
        + "</tr>"
    )


def _gap(gap: Gap | None) -> str:
    if gap is None or not gap.changed:
        return ""
    return f"{gap.part:+.0%}, {'worse' if gap.worse else 'better'}"


def _day(record: QualityRecord) -> str:
    """A narrow column breaks between date and time only."""
    return " ".join(f"<span>{text(part)}</span>" for part in begin(record.window).split())


def _value(metric: Metric | None) -> float | None:
    return metric.value if metric else None
