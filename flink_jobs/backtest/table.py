"""A backtest in a terminal: the verdict first, then metrics, time, segments, and the rows that changed most.

print_report(Console(), found)
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from flink_jobs.backtest.records import Backtest, ChangedRow, Estimate, MetricComparison, Slice, VersionRun
from flink_jobs.reports.text import percent, plural
from flink_jobs.system.terminal import literal, plain

STYLES: dict[Verdict, str] = {
    "better": "bold green",
    "worse": "bold red",
    "mixed": "bold yellow",
    "equal": "bold",
    "unknown": "bold yellow",
}
SHOWN_ROWS = 10
SHOWN_COLUMNS = 4
WIDE = 125


def print_report(console: Console, found: Backtest) -> None:
    """All of it; a narrow console has fewer intervals and columns."""
    wide = console.width >= WIDE
    judged = headline(found)
    console.print(Text(plain(judged.sentence), STYLES[judged.verdict]))
    console.print()
    _print_facts(console, found)
    if found.total.metrics:
        _titled(console, "Metrics of all rows", _metrics(found, wide))
    _titled(console, "Prediction differences", _differences(found))
    if len(found.windows) > 1:
        _titled(
            console, f"Over time, windows of {found.window}", _slices(found, found.windows, "window", wide)
        )
    if found.segments:
        column = literal(found.segments.column)
        _titled(console, f"By {column}", _slices(found, found.segments.slices, column, wide))
    if found.changed:
        shown = min(SHOWN_ROWS, len(found.changed))
        _titled(
            console, f"The {plural(shown, 'row')} that changed most", _changed(found.changed[:shown], wide)
        )


def _titled(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, "bold"))
    console.print(table)


def _print_facts(console: Console, found: Backtest) -> None:
    console.print(
        literal(f"{found.job} on {found.input}: {plural(found.read, 'record')}, {label_text(found)}.")
    )
    for side, run in (("A", found.a), ("B", found.b)):
        console.print(f"{side} is {literal(version_name(run))}: {_outcomes(found, run)}.")
    if found.total.metrics:
        console.print(
            f"In brackets {found.level:.0%} intervals: {found.resamples:,} draws of whole blocks of "
            f"{found.block}, the same ones for A and B.",
            style="dim",
        )


def _outcomes(found: Backtest, run: VersionRun) -> str:
    unit = "window" if found.scored == "per_window" else "record"
    dead = ", ".join(f"{n.count:,} {n.stage}/{n.reason}" for n in run.dead)
    total = sum(n.count for n in run.dead)
    letters = plural(total, "dead letter") + (f" ({dead})" if dead else "")
    return f"{plural(run.predicted, unit)} predicted, {letters}, {run.late:,} late"


def _table(*titles: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if place in right else "left", no_wrap=place < 2)
    return table


def _metrics(found: Backtest, wide: bool) -> Table:
    shown = interval if wide else _value
    table = _table("metric", "A", "B", "B - A", "")
    for metric in found.total.metrics:
        table.add_row(
            NAMES[metric.name],
            shown(metric.a),
            shown(metric.b),
            signed_interval(metric.difference),
            _verdict(metric),
        )
    return table


def _value(found: Estimate) -> str:
    return number(found.value)


def _verdict(metric: MetricComparison) -> Text:
    style = {"b": "green", "a": "red", None: "dim"}[metric.better]
    return Text(verdict_of(metric), style)


def _differences(found: Backtest) -> Table:
    apart, table = found.total.differences, _table("", "")
    if apart.changed is not None and found.kind != "regression":
        moves = ", ".join(f"{literal(str(m.a))} → {literal(str(m.b))}: {m.rows:,}" for m in apart.moves[:6])
        table.add_row("other predictions", percent(apart.changed) + (f"  ({moves})" if moves else ""))
    what = "largest change of a probability" if found.kind == "multiclass" else "score of B - score of A"
    table.add_row(
        what,
        f"mean {signed(apart.mean)}, mean size {number(apart.mean_absolute)}, "
        f"largest {number(apart.largest)}",
    )
    quantiles = [f"{name} {signed(value)}" for name, value in apart.quantiles.items()]
    table.add_row("quantiles", "  ".join(quantiles[1:-1]))
    return table


def _slices(found: Backtest, slices: Sequence[Slice], what: str, wide: bool) -> Table:
    """Chief metrics where there are labels, mean scores where there are none."""
    chief = [name for name in CHIEF[found.kind] if any(metric_of(part, name) for part in slices)]
    counted = ["labelled"] if wide else []
    titles = [what, "rows", *(counted if chief else ["mean A", "mean B"])]
    for name in chief:
        titles += [f"{NAMES[name]} A", "B", "B - A", ""] if wide else [f"{NAMES[name]} A", "B - A", ""]
    titles.append("changed" if found.kind != "regression" else "apart")
    numbers = (1, *((2,) if wide and chief else ()), *(() if chief else (2, 3)), len(titles) - 1)
    table = _table(*titles, right=numbers)
    for part in slices:
        place = span(part).split(" to ")[0] if part.start else literal(segment_value(part))
        row: list[str | Text] = [place, f"{part.rows:,}"]
        labelled: list[str | Text] = [f"{part.labelled:,}"] if wide else []
        row += labelled if chief else [number(part.score_mean_a), number(part.score_mean_b)]
        for name in chief:
            row += _chief_cells(metric_of(part, name), wide)
        table.add_row(*row, _apart(found, part))
    return table


def _chief_cells(metric: MetricComparison | None, wide: bool) -> list[str | Text]:
    if metric is None:
        return ["–", "–", "–", ""] if wide else ["–", "–", ""]
    mark = {"a": Text("A", "red"), "b": Text("B", "green"), None: Text("")}[metric.better]
    if not wide:
        return [number(metric.a.value), signed(metric.difference.value), mark]
    return [number(metric.a.value), number(metric.b.value), signed_interval(metric.difference), mark]


def _apart(found: Backtest, part: Slice) -> str:
    apart = part.differences
    if found.kind == "regression":
        return number(apart.mean_absolute)
    return "–" if apart.changed is None else percent(apart.changed)


def _changed(rows: Sequence[ChangedRow], wide: bool) -> Table:
    names = list(rows[0].columns)[: SHOWN_COLUMNS if wide else 0]
    known = any(row.label is not None for row in rows)
    table = _table("row", "event time", "A", "B", "change", *(["label"] if known else []), *map(plain, names))
    for row in rows:
        cells = [_shown(row.columns.get(name)) for name in names]
        label = [_shown(row.label)] if known else []
        number_ = "" if row.row is None else str(row.row)
        said = [_said(row.prediction_a, row.score_a), _said(row.prediction_b, row.score_b)]
        table.add_row(number_, moment(row.event_time), *said, signed(row.change), *label, *cells)
    return table


def _said(prediction: object, score: float) -> str:
    if isinstance(prediction, float):
        return number(prediction)
    return f"{literal(str(prediction))} {number(score)}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else literal(plain(str(value))[:40])
