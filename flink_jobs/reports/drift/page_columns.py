"""One column's section of the page: its time lines, distributions and statistics."""

from __future__ import annotations

from flink_jobs.reports.drift.charts import distribution, effect_chart, null_chart, value_chart
from flink_jobs.reports.drift.series import Line, Point
from flink_jobs.reports.markup import wide_table
from flink_jobs.reports.svg import number, text
from flink_jobs.reports.text import begin, chance, percent
from udfs.drift.records import ColumnReport

VERDICTS = {"ok": "ok", "drift": "drift", "insufficient_data": "too few records"}
DEFINITIONS = {
    "psi": "population stability index: sum of (window − reference) · ln(window / reference) over the bins",
    "jensen_shannon": "Jensen-Shannon distance, base 2, over the bins: 0 equal, 1 nothing in common",
    "hellinger": "Hellinger distance over the bins: √(1 − Σ√(pq)), 0 equal, 1 nothing in common",
    "chi2": "two-sample χ² of the bins, pooled to at least 5 expected",
    "l_infinity": "largest difference of a value's share",
    "ks": "Kolmogorov-Smirnov: largest difference of the cumulative shares; between value and upper bound",
    "wasserstein": "mean distance that the values moved, in standard deviations of the reference",
    "missing": "share of the rows without a value",
    "mean": "shift of the mean",
}
_EFFECT = "Effect: share of the rows that moved. Red dots are drift; dashed: the smallest effect that counts."
_MEAN = "Mean, and thin lines for the lowest and highest quantile; dashed: the reference's mean."
_NULLS = "Share of nulls; dashed: the reference's."


def column_section(line: Line, *, opened: bool) -> str:
    """A section to open, with the verdict of the last window in its title."""
    last, worst = line.last, line.worst
    title = (
        f'<summary><b>{text(line.name)}</b><span class="{last.verdict}">{VERDICTS[last.verdict]}</span>'
        f'<span class="dim">, {last.role}, {last.kind}: {text(last.direction)}</span></summary>'
    )
    charts = [
        _figure(effect_chart(line), _EFFECT),
        _figure(value_chart(line), _MEAN),
        _figure(null_chart(line), _NULLS),
    ]
    if worst.report is last:
        charts.append(distribution_figure(worst, "Last window, which has the largest effect"))
    else:
        charts.append(distribution_figure(worst, "Largest effect"))
        charts.append(distribution_figure(line.latest, "Last window"))
    return (
        f'<details class="print"{" open" if opened else ""}>{title}'
        f'<div class="charts">{"".join(charts)}</div>'
        f"{_statistics(worst)}{_unseen(line)}</details>"
    )


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>" if picture else ""


def distribution_figure(point: Point, what: str) -> str:
    """A window's distribution beside the reference's; `what` says which window."""
    report = point.report
    if report is None:
        return ""
    caption = (
        f"{what}, {text(begin(point.window.window))}: upper bars the reference, lower bars the window"
        f" ({report.n:,} values)."
    )
    return _figure(distribution(report), caption)


def _statistics(point: Point) -> str:
    report = point.report
    if report is None:
        return ""
    rows = "".join(
        f'<tr><td>{text(name)}</td><td class="n">{number(found.value)}{_upper(found.upper)}</td>'
        f'<td class="n">{number(found.threshold)}{" (set)" if found.fixed else ""}</td>'
        f'<td class="n">{text(chance(found.p).removeprefix("= "))}</td>'
        f'<td class="dim spare">{DEFINITIONS.get(name, "")}</td></tr>'
        for name, found in report.statistics.items()
    )
    return (
        f"<p>Window of {text(begin(point.window.window))}: {_numbers(report)}</p>"
        f"{wide_table(('statistic', '>value', '>threshold', '>p', '~what it is'), rows, fit=True)}"
    )


def _numbers(report: ColumnReport) -> str:
    """q, what was needed, and the previous window, in one sentence each."""
    parts = [
        f"effect {percent(report.effect)}, smallest effect visible with {report.n:,} values"
        f" {percent(report.visible_effect)}, smallest that counts {percent(report.min_effect)};"
        f" p {text(chance(report.p))}, q {text(chance(report.q))} (p corrected for all columns and segments)."
    ]
    parts.append(
        f"Nulls {percent(report.null_rate)}, in the reference {percent(report.reference_null_rate)}."
    )
    if report.kind == "numeric":
        parts.append(
            f"Mean {number(report.mean)}, in the reference {number(report.reference_mean)};"
            f" {report.below:,} below and {report.above:,} above its range, {report.invalid:,} not finite."
        )
    if report.previous:
        before = report.previous
        parts.append(
            f"Against the window before: effect {percent(before.effect)}, q {text(chance(before.q))},"
            f" {VERDICTS[before.verdict]}."
        )
    return " ".join(parts)


def _upper(upper: float | None) -> str:
    return f" to {number(upper)}" if upper is not None else ""


def _unseen(line: Line) -> str:
    examples = sorted({example for report in line.reports for example in report.unseen_examples})
    if not examples:
        return ""
    return f"<p>Values that the reference does not have, for example: {text(', '.join(examples[:10]))}</p>"
