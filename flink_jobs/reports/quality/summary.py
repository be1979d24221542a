"""What quality records say in words: the numbers that matter first, and whether something is wrong.

>>> interval(Metric(value=0.81, low=0.79, high=0.83))
'0.810 (0.790 to 0.830)'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import msgspec

from flink_jobs.reports.text import begin, day, percent, plural
from udfs.alerts.records import AlertRecord
from udfs.quality.falls import RULES, WATCHED
from udfs.quality.records import Metric, QualityRecord

Worry = Literal["alarm", "calm", "unknown"]
# Of each kind of output those shown in tables, the first one first.
SHOWN = {
    "binary": ("auc", "log_loss", "accuracy"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("mae", "rmse", "bias"),
    "anomaly": ("auc", "precision", "recall"),
}
NAMES = {"auc": "AUC", "log_loss": "log loss", "mae": "MAE", "rmse": "RMSE"}
WHAT_TO_DO = (
    "If it began with a release or a change of the job, go back (tailrace release rollback); if values are"
    " missing or new, fix their source; if the world has changed, train on newer data (tailrace retrain)."
)


@dataclass(frozen=True)
class VersionQuality:
    """All windows of one version: of all records, and of segments."""

    job: str
    model: str
    version: int
    kind: str
    total: tuple[QualityRecord, ...]
    segments: tuple[QualityRecord, ...]


def grouped(records: Sequence[QualityRecord]) -> list[VersionQuality]:
    """By job and version, the newest version first."""
    ordered = sorted(records, key=lambda r: (r.job, -r.version))
    found = []
    for (job, _), group in groupby(ordered, key=lambda r: (r.job, -r.version)):
        rows = sorted(group, key=lambda r: r.window.start)
        total = tuple(r for r in rows if r.segment is None)
        first = rows[0]
        segments = tuple(r for r in rows if r.segment)
        found.append(VersionQuality(job, first.model, first.version, first.kind, total, segments))
    return found


def of_segment(records: Sequence[QualityRecord], value: str) -> list[QualityRecord]:
    """Those of one segment, as if it were all there is."""
    chosen = [r for r in records if r.segment and r.segment.value == value]
    return [msgspec.structs.replace(r, segment=None) for r in chosen]


def label(name: str) -> str:
    """A metric's name for people."""
    return NAMES.get(name, name.replace("_", " "))


def interval(metric: Metric | None) -> str:
    """The value with its interval."""
    if metric is None or metric.value is None:
        return ""
    if metric.low is None or metric.high is None:
        return number(metric.value)
    return f"{number(metric.value)} ({number(metric.low)} to {number(metric.high)})"


def spread(metric: Metric | None) -> str:
    """The value and how far its interval reaches, at the most."""
    if metric is None or metric.value is None:
        return ""
    if metric.low is None or metric.high is None:
        return number(metric.value)
    return f"{number(metric.value)} ±{number(max(metric.high - metric.value, metric.value - metric.low))}"


def number(value: float) -> str:
    """Three decimals, or one of large numbers."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def headline(group: VersionQuality, firing: Sequence[AlertRecord] = ()) -> tuple[Worry, str]:
    """One sentence: what an open alert says, the worst first, else the newest window that says something."""
    main = SHOWN[group.kind][0]
    if (alert := quality_alert(group.job, group.version, firing)) is not None:
        return "alarm", f"since {day(alert.since, alert.window)}: {_as_of_now(group, alert)}"
    labelled = [r for r in group.total if main in r.realized]
    if labelled:
        last = labelled[-1]
        value = interval(last.realized[main])
        text = f"{label(main)} {value} in the window of {begin(last.window)}, by {_labels(last)}"
        if last.gap and last.gap.changed:
            return "alarm" if last.gap.worse else "unknown", f"{text}; {gap_text(last)}"
        return "calm", text
    guessed = [r for r in group.total if main in r.estimated]
    if guessed:
        last = guessed[-1]
        value = interval(last.estimated[main])
        return "unknown", (
            f"no labels yet; {label(main)} of {begin(last.window)} is estimated at {value}, if labels "
            "still follow from inputs as they did"
        )
    return "unknown", "no labels yet, and no estimate without them"


def quality_alert(job: str, version: int, firing: Sequence[AlertRecord]) -> AlertRecord | None:
    """The worst one that is open, of a version's quality; `firing` are all open alerts, the worst first.

    Labels that are better than expected are an alert, too, and no reason to act.
    """
    for alert in firing:
        if (alert.job, alert.version) == (job, version) and fell(alert):
            return alert
    return None


def fell(alert: AlertRecord) -> bool:
    """Whether it says that quality is worse."""
    return alert.severity == "critical" and alert.damage in ("realized", "estimated")


def metric_of(record: QualityRecord, alert: AlertRecord) -> Metric | None:
    """What the alert is about, in another window or revision; None where the record does not have it."""
    values = record.realized if alert.damage == "realized" else record.estimated
    found = values.get(alert.statistic)
    return found if found and found.value is not None else None


def since_alert(group: VersionQuality, alert: AlertRecord) -> tuple[list[QualityRecord], list[QualityRecord]]:
    """The windows that have the metric before the alert began, and those since, in order."""
    known = [r for r in group.total if not r.partial and metric_of(r, alert)]
    before = [r for r in known if r.window.start < alert.since]
    return before, known[len(before) :]


def _as_of_now(group: VersionQuality, alert: AlertRecord) -> str:
    """The value of the newest window, as it is known now: that of the alert is of when it opened."""
    before, since = since_alert(group, alert)
    if alert.rule not in RULES.values() or not since:
        return alert.message
    last, lower = since[-1], WATCHED[group.kind][2] is None
    metric = metric_of(last, alert)
    assert metric  # It is among those that have it.
    by = (
        f"{plural(last.labels.n, 'label')}"
        if alert.damage == "realized" and last.labels
        else "without labels"
    )
    limit = f"expected at {'most' if lower else 'least'} {number(alert.threshold)}"
    where = "" if last.window.start == alert.since else f", in the window of {begin(last.window)}"
    value = metric.value or 0.0
    again = value < alert.threshold if lower else value > alert.threshold
    end = "; it is in range again, and the alert closes after two such windows" if again else ""
    sign = "" if alert.damage == "realized" else "estimated "
    return (
        f"{sign}{label(alert.statistic)} {spread(metric)} ({by}), {limit}{_usual(before, alert)}{where}{end}"
    )


def _usual(before: Sequence[QualityRecord], alert: AlertRecord) -> str:
    """What was seen, which the limits of what was expected are wider than."""
    values = [metric.value for r in before if (metric := metric_of(r, alert)) and metric.value is not None]
    if not values:
        return ""
    was = f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else number(values[0])
    return f"; it was {was} in the {plural(len(values), 'window')} before"


def by_labels(group: VersionQuality) -> bool:
    """Whether labels are known, and say that quality is as expected."""
    return headline(group)[0] == "calm"


def _labels(record: QualityRecord) -> str:
    if record.labels is None:
        return "no labels"
    return f"{plural(record.labels.n, 'label')} ({percent(record.labels.coverage)} of the records)"


def gap_text(record: QualityRecord) -> str:
    """How far what came is from what the scores made expect."""
    gap = record.gap
    if gap is None:
        return ""
    side = "higher" if gap.realized > gap.expected else "lower"
    return (
        f"{label(gap.metric)} is {percent(abs(gap.part))} {side} than expected from the scores: "
        "outcomes no longer follow the scores, which no estimate without labels can see"
    )
