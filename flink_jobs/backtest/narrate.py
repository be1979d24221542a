"""How a backtest is said in words and numbers, the same in the terminal and on the page.

headline(found)       # QualityVerdict("better", "B is better by 6 of 8 metrics, …")
interval(estimate)    # "0.9053 (0.9031 to 0.9075)"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flink_jobs.backtest.metrics import NEITHER_IS_BETTER
from flink_jobs.backtest.records import Backtest, Estimate, MetricComparison, Slice, VersionRun
from flink_jobs.reports.text import day, percent, plural

NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "bias",
}
CHIEF = {
    "binary": ("auc", "log_loss"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("mae", "bias"),
    "anomaly": ("auc", "average_precision"),
}
Verdict = Literal["better", "worse", "mixed", "equal", "unknown"]


@dataclass(frozen=True)
class QualityVerdict:
    """Whether B is better than A by the metrics of all rows, and the sentence that says so."""

    verdict: Verdict
    sentence: str


def headline(found: Backtest) -> QualityVerdict:
    """The sentence to read first."""
    total = found.total
    if not total.labelled:
        changed = percent(total.differences.changed or 0)
        text = f"{changed} of the predictions are others; without labels nobody knows which are better."
        if found.kind == "regression":
            apart = number(total.differences.mean_absolute)
            text = f"Predictions are {apart} apart on average; without labels nobody knows which are better."
        return QualityVerdict("unknown", text)
    judged = [m for m in total.metrics if m.name not in NEITHER_IS_BETTER]
    if all(m.difference.low is None for m in judged):
        return QualityVerdict("unknown", "There is too little labelled data to tell A and B apart.")
    better, worse = ([NAMES[m.name] for m in judged if m.better == side] for side in ("b", "a"))
    if not better and not worse:
        return QualityVerdict("equal", "No metric tells A and B apart.")
    first = _chief(found)
    if not worse:
        return QualityVerdict(
            "better", f"B is better by {_listed(better, len(judged))}, worse by none. {first}"
        )
    if not better:
        return QualityVerdict(
            "worse", f"B is worse by {_listed(worse, len(judged))}, better by none. {first}"
        )
    return QualityVerdict(
        "mixed", f"B is better by {', '.join(better)}, but worse by {', '.join(worse)}. {first}"
    )


def _listed(names: list[str], of: int) -> str:
    return f"all {of} metrics" if len(names) == of else f"{len(names)} of {of} metrics ({', '.join(names)})"


def _chief(found: Backtest) -> str:
    name = CHIEF[found.kind][0]
    metric = metric_of(found.total, name)
    if metric is None or metric.difference.low is None:
        return ""
    apart = metric.difference
    return (
        f"{NAMES[name]} {number(metric.a.value)} → {number(metric.b.value)}, "
        f"difference {signed(apart.value)} "
        f"({found.level:.0%} interval {signed(apart.low)} to {signed(apart.high)})."
    )


def metric_of(part: Slice, name: str) -> MetricComparison | None:
    """The slice's metric of this name."""
    return next((metric for metric in part.metrics if metric.name == name), None)


def number(value: float | None) -> str:
    """Four places, or four digits of what is large or tiny; a dash where there is no value."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """A difference, at most four places, always with its sign."""
    if value is None:
        return "–"
    text = f"{value:+.4f}" if abs(value) < 10 else f"{value:+.4g}"
    return f"{value:+.1e}" if float(text) == 0 and value else text


def interval(found: Estimate) -> str:
    """The value, and its interval in brackets."""
    if found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def signed_interval(found: Estimate) -> str:
    """A difference with its interval."""
    if found.low is None or found.high is None:
        return signed(found.value)
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def verdict_of(metric: MetricComparison) -> str:
    """What a metric says: which version is better, or why it does not."""
    if metric.better:
        return f"{metric.better.upper()} is better"
    if metric.difference.low is None:
        return "too few rows"
    return "" if metric.name in NEITHER_IS_BETTER else "unclear"


def version_name(run: VersionRun) -> str:
    """A version with its model's name."""
    return f"{run.model} version {run.version}"


def span(part: Slice) -> str:
    """A window's days; its end is not in it."""
    return f"{day(part.start or '')} to {day(part.end or '')}"


def moment(time: str) -> str:
    """An event time, shorter."""
    return time.replace("T", " ").removesuffix("Z").removesuffix(":00")


def segment_value(part: Slice) -> str:
    """The value that a segment is of, as people read it."""
    return "(missing)" if part.value is None else part.value


def label_text(found: Backtest) -> str:
    """How much of the history has a label."""
    total = found.total
    if found.label is None:
        return "no labels"
    share = f"{found.label} is known of {total.labelled:,} of {plural(total.rows, 'row')}"
    if total.label_mean is None:
        return share
    if found.kind == "regression":
        return f"{share}, with a mean of {number(total.label_mean)}"
    return f"{share}; {percent(total.label_mean)} of them are positive"
