"""A backtest as one HTML page that needs nothing but itself: for a browser, a mail, a printer.

    Path("backtest.html").write_text(render(found))

All text of records is hostile input: it reaches the page only through `charts.text`.
"""

from __future__ import annotations

from collections.abc import Sequence

from flink_jobs.backtest.metrics import MEANING
from flink_jobs.backtest.narrate import (
    CHIEF,
    NAMES,
    Verdict,
    headline,
    interval,
    label_text,
    metric_of,
    moment,
    number,
    segment_value,
    signed,
    signed_interval,
    span,
    verdict_of,
    version_name,
)
from flink_jobs.backtest.pictures import (
    STYLE,
    changed_over_time,
    difference_over_time,
    mark,
    metric_over_time,
    reach,
    scores_over_time,
    side_class,
    spread,
)
from flink_jobs.backtest.records import Backtest, ChangedRow, MetricComparison, Slice, VersionRun
from flink_jobs.reports import style
from flink_jobs.reports.markup import page, wide_table
from flink_jobs.reports.svg import text
from flink_jobs.reports.text import percent, plural

_WORRY: dict[Verdict, str] = {
    "better": "calm",
    "equal": "unknown",
    "mixed": "watch",
    "worse": "alarm",
    "unknown": "unknown",
}
_WORD: dict[Verdict, str] = {
    "better": "Better.",
    "equal": "No difference.",
    "mixed": "Mixed.",
    "worse": "Worse.",
    "unknown": "Unknown.",
}


def render(found: Backtest) -> str:
    """The page, as one string; the same for the same backtest."""
    judged = headline(found)
    title = f"Backtest of {text(found.job)}"
    names = f"{text(version_name(found.a))} (A) against {text(version_name(found.b))} (B)"
    body = (
        f'<main><h1>{text(found.job)}: {names}</h1><p class="headline {_WORRY[judged.verdict]}">'
        f"<b>{_WORD[judged.verdict]}</b> {text(judged.sentence)}</p>{_facts(found)}"
        f"{_metrics(found)}{_time(found)}{_segments(found)}{_differences(found)}{_changed(found)}"
        f"{_outcomes(found)}</main>"
    )
    return page(title, style.STYLE + STYLE, body)


def _facts(found: Backtest) -> str:
    dates = ""
    if found.windows:
        first, last = found.windows[0], found.windows[-1]
        dates = f", {span(first).split(' to ')[0]} to {span(last).split(' to ')[1]} (UTC)"
    facts = f"{text(found.input)}: {plural(found.read, 'record')}{dates}; {text(label_text(found))}."
    method = (
        f" Both versions ran by the same job file. In brackets {found.level:.0%} intervals: a paired "
        f"bootstrap over blocks of {found.block}, {found.resamples:,} draws, seed {found.seed}."
        if found.total.metrics
        else ""
    )
    return f'<p class="dim">{facts}{method}</p>'


def _metrics(found: Backtest) -> str:
    if not found.total.metrics:
        return ""
    rows = "".join(
        f'<tr><td title="{text(MEANING[m.name])}">{NAMES[m.name]}</td>'
        f'<td class="n">{interval(m.a)}</td><td class="n">{interval(m.b)}</td>'
        f'<td class="n">{signed_interval(m.difference)}</td><td>{mark(m, reach([m]))}</td>'
        f'<td class="{side_class(m.better)}">{verdict_of(m)}</td></tr>'
        for m in found.total.metrics
    )
    titles = ("metric", f">{_chip('A')}", f">{_chip('B')}", ">B − A", "", "")
    meanings = "".join(
        f"<tr><td>{NAMES[m.name]}</td><td>{text(MEANING[m.name])}</td></tr>" for m in found.total.metrics
    )
    meaning = wide_table(("metric", "meaning"), meanings)
    return (
        f"<h2>Metrics</h2>{wide_table(titles, rows)}"
        f"<details><summary>What the metrics are</summary>{meaning}</details>"
    )


def _chip(side: str) -> str:
    return f'<span class="chip{side}"></span> {side}'


def _time(found: Backtest) -> str:
    if len(found.windows) < 2:
        return ""
    chief = _chief(found, found.windows)
    pictures = []
    for name in chief:
        caption = f"{NAMES[name]} per window: {_chip('A')}, {_chip('B')}, with their intervals."
        pictures.append(_figure(metric_over_time(found.windows, name), caption))
        pictures.append(_figure(difference_over_time(found.windows, name), f"{NAMES[name]}, B − A."))
    what = "prediction" if found.kind == "regression" else "score"
    pictures.append(
        _figure(scores_over_time(found.windows), f"Mean {what} per window: {_chip('A')}, {_chip('B')}.")
    )
    if found.kind != "regression":
        pictures.append(_figure(changed_over_time(found.windows), "Share of other predictions per window."))
    return (
        f'<h2>Over time</h2><p class="dim">Windows of {found.window}.</p>'
        f'<div class="charts">{"".join(pictures)}</div>'
        f"<details><summary>All windows</summary>{_slices(found, found.windows, 'window')}</details>"
    )


def _segments(found: Backtest) -> str:
    if not found.segments:
        return ""
    column = text(found.segments.column)
    return f"<h2>By {column}</h2>{_slices(found, found.segments.slices, column)}"


def _chief(found: Backtest, slices: Sequence[Slice]) -> list[str]:
    return [name for name in CHIEF[found.kind] if any(metric_of(part, name) for part in slices)]


def _slices(found: Backtest, slices: Sequence[Slice], what: str) -> str:
    """Chief metrics where there are labels, mean scores where there are none."""
    chief = _chief(found, slices)
    scales = {name: reach([metric_of(part, name) for part in slices]) for name in chief}
    titles = [what, ">rows", ">labelled"] if chief else [what, ">rows", ">mean A", ">mean B"]
    for name in chief:
        titles += [f">{NAMES[name]} A", ">B", ">B − A", ""]
    titles.append(">mean size of change" if found.kind == "regression" else ">other predictions")
    rows = ""
    for part in slices:
        place = span(part) if part.start else segment_value(part)
        cells = [f"{part.labelled:,}"] if chief else [number(part.score_mean_a), number(part.score_mean_b)]
        left = f'<td>{text(place)}</td><td class="n">{part.rows:,}</td>'
        left += "".join(f'<td class="n">{cell}</td>' for cell in cells)
        left += "".join(_chief_cells(metric_of(part, name), scales[name]) for name in chief)
        rows += f'<tr>{left}<td class="n">{_apart(found, part)}</td></tr>'
    return wide_table(titles, rows)


def _chief_cells(metric: MetricComparison | None, scale: float) -> str:
    if metric is None:
        return "<td></td>" * 4
    return (
        f'<td class="n">{number(metric.a.value)}</td><td class="n">{number(metric.b.value)}</td>'
        f'<td class="n {side_class(metric.better)}">{signed(metric.difference.value)}</td>'
        f"<td>{mark(metric, scale)}</td>"
    )


def _apart(found: Backtest, part: Slice) -> str:
    apart = part.differences
    if found.kind == "regression":
        return number(apart.mean_absolute)
    return "–" if apart.changed is None else percent(apart.changed)


def _differences(found: Backtest) -> str:
    apart = found.total.differences
    changed = ""
    if found.kind != "regression" and apart.changed is not None:
        changed = f"{percent(apart.changed)} of the predictions are others. "
    several = found.kind == "multiclass"
    what = "The largest change of a class's probability" if several else "B's score minus A's"
    sentence = (
        f"{changed}{what}: mean {signed(apart.mean)}, mean size {number(apart.mean_absolute)}, "
        f"largest {number(apart.largest)}."
    )
    moves = "".join(
        f'<tr><td>{text(str(m.a))}</td><td>{text(str(m.b))}</td><td class="n">{m.rows:,}</td></tr>'
        for m in apart.moves
    )
    caption = "Differences of the scores: dark half of the rows, then 90%, then 98%; dashed: no difference."
    table = wide_table((_chip("A"), _chip("B"), ">rows"), moves) if moves else ""
    return f"<h2>Prediction differences</h2><p>{sentence}</p>{_figure(spread(apart), caption)}{table}"


def _changed(found: Backtest) -> str:
    if not found.changed:
        return ""
    names = list(found.changed[0].columns)
    known = any(row.label is not None for row in found.changed)
    titles = [">row", "event time", _chip("A"), _chip("B"), ">change"]
    titles += [text(found.label or "label")] if known else []
    titles += map(text, names)
    rows = "".join(_changed_row(row, names, known) for row in found.changed)
    return f"<h2>The {plural(len(found.changed), 'row')} that changed most</h2>{wide_table(titles, rows)}"


def _changed_row(row: ChangedRow, names: Sequence[str], known: bool) -> str:
    cells = "".join(f"<td>{_shown(row.columns.get(name))}</td>" for name in names)
    place = "" if row.row is None else f"{row.row:,}"
    label = f"<td>{_shown(row.label)}</td>" if known else ""
    return (
        f'<tr><td class="n">{place}</td><td>{text(moment(row.event_time))}</td>'
        f"<td>{_said(row.prediction_a, row.score_a)}</td><td>{_said(row.prediction_b, row.score_b)}</td>"
        f'<td class="n">{signed(row.change)}</td>{label}{cells}</tr>'
    )


def _said(prediction: object, score: float) -> str:
    if isinstance(prediction, float):
        return number(prediction)
    return f"{text(str(prediction))} {number(score)}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else text(str(value)[:60])


def _outcomes(found: Backtest) -> str:
    rows = "".join(
        f'<tr><td>{_chip(side)}: {text(version_name(run))}</td><td class="n">{run.predicted:,}</td>'
        f'<td class="n">{sum(n.count for n in run.dead):,}</td><td class="n">{run.late:,}</td>'
        f"<td>{_reasons(run)}</td><td>{text(run.digest[:19])}</td></tr>"
        for side, run in (("A", found.a), ("B", found.b))
    )
    titles = ("version", ">predicted", ">dead letters", ">late", "reasons", "digest")
    return f"<h2>What became of the {plural(found.read, 'record')}</h2>{wide_table(titles, rows)}"


def _reasons(run: VersionRun) -> str:
    return text(", ".join(f"{n.count:,} {n.stage}/{n.reason}" for n in run.dead)) or "–"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>" if picture else ""
