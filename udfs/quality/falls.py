"""When quality is below what it was: each window beside those of the same version before it.

The reference are all windows so far that were not bad. One more window that is like them is below the limit
of their prediction interval once in a thousand (Student's t, by their spread or the window's own error, the
larger one). While there are too few of them it is what the version's training says, if it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from udfs.alerts.records import AlertRecord, Change, in_window, over
from udfs.quality.expected import ReferenceQuality
from udfs.quality.intervals import error_alone
from udfs.quality.records import Metric, QualityRecord

Source = Literal["realized", "estimated"]
RULES: Mapping[Source, str] = {"realized": "realized-quality", "estimated": "estimated-quality"}
#: What is watched of each kind of output, its name, and its value without any skill; None: less is better.
WATCHED: Mapping[str, tuple[str, str, float | None]] = {
    "binary": ("auc", "AUC", 0.5),
    "anomaly": ("auc", "AUC", 0.5),
    "multiclass": ("accuracy", "accuracy", 0.0),
    "regression": ("mae", "MAE", None),
}
# Fewer labels, or records, say too little of a window.
LEAST_LABELS = 100
LEAST_WINDOWS = 5
RESOLVE_AFTER = 2
LEVEL = 0.001


class Baseline(msgspec.Struct, frozen=True):
    """Windows that were not bad: their number, mean, squared deviations (Welford), and label coverage."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    coverage: float = 0.0

    def added(self, value: float, coverage: float) -> Baseline:
        """With one more window."""
        n = self.n + 1
        step = value - self.mean
        mean = self.mean + step / n
        squares = self.squares + step * (value - mean)
        return Baseline(n, mean, squares, self.coverage + (coverage - self.coverage) / n)

    def limits(self, error: float, trained: ReferenceQuality | None) -> Limits | None:
        """Where the next window may be, with such an error of its own; None: unknown."""
        if self.n >= LEAST_WINDOWS:
            spread = math.sqrt(max(self.squares / (self.n - 1), error * error) * (1 + 1 / self.n))
            return Limits(self.mean, _reach(self.n, spread), f"from {self.n} windows before")
        if trained is None:
            return None
        spread = math.sqrt(error**2 + trained.between**2 + trained.error**2)
        return Limits(trained.value, _reach(trained.blocks, spread), "from training")


class Limits(NamedTuple):
    """What a window is beside: `source` names it."""

    mean: float
    reach: float
    source: str


def _reach(n: int, spread: float) -> float:
    from scipy.special import stdtrit  # Start-up: slow to import.  # noqa: PLC0415

    return float(stdtrit(n - 1, 1 - LEVEL)) * spread


class Fall(msgspec.Struct, frozen=True):
    """Of one version and source: `judged` is the newest window, `quiet` those in a row that were not bad."""

    baseline: Baseline = Baseline()
    opened: AlertRecord | None = None
    judged: str = ""
    quiet: int = 0


class Judged(NamedTuple):
    """A window beside its reference: its limits, and by which part it is worse; `bad` if it is an alert."""

    value: float
    low: float
    high: float
    part: float
    bad: bool
    source: str = ""


def advance(
    falls: Mapping[str, Fall],
    records: Sequence[QualityRecord],
    least: float,
    trained: Mapping[int, ReferenceQuality],
) -> tuple[dict[str, Fall], list[AlertRecord]]:
    """What is known after these records, and the alerts that they change; `trained` are versions' own."""
    after, changed = dict(falls), []
    for record, source, metric in _watched(records):
        key = f"{RULES[source]}/{record.version}"
        fall = after.get(key, Fall())
        if source == "realized" and not _enough(record, fall.baseline):
            continue
        judged = _judged(record.kind, metric, fall.baseline, least, trained.get(record.version))
        settled = source == "estimated" or record.final
        baseline = fall.baseline
        if settled and not judged.bad:
            coverage = record.labels.coverage if record.labels else 0.0
            baseline = baseline.added(judged.value, coverage)
        fall, alert = _next(fall, key, source, record, judged)
        after[key] = msgspec.structs.replace(fall, baseline=baseline)
        changed += [alert] if alert else []
    return after, changed


def labels_until(record: QualityRecord) -> str | None:
    """The event time at which a revision was known; None for a window's first record."""
    return record.labels.until if record.labels and record.revision else None


def _watched(records: Sequence[QualityRecord]) -> Iterator[tuple[QualityRecord, Source, Metric]]:
    """Of all records together; an estimate does not change with labels."""
    for record in records:
        name = WATCHED[record.kind][0]
        if record.segment:
            continue
        if record.revision == 0 and name in record.estimated and record.records >= LEAST_LABELS:
            yield record, "estimated", record.estimated[name]
        if name in record.realized:
            yield record, "realized", record.realized[name]


def _enough(record: QualityRecord, baseline: Baseline) -> bool:
    """The first labels of a window may be unlike the rest."""
    labels = record.labels
    if labels is None or labels.n < LEAST_LABELS:
        return False
    return record.final or 2 * labels.coverage >= baseline.coverage


def _judged(
    kind: str, metric: Metric, baseline: Baseline, least: float, trained: ReferenceQuality | None
) -> Judged:
    value = metric.value or 0.0
    name, _, floor = WATCHED[kind]
    limits = baseline.limits(error_alone(metric), trained if trained and trained.metric == name else None)
    if limits is None:
        return Judged(value, value, value, 0.0, bad=False)
    mean, reach, source = limits
    worse, scale = (value - mean, mean) if floor is None else (mean - value, mean - floor)
    part = worse / scale if scale > 0 else 0.0
    return Judged(value, mean - reach, mean + reach, part, worse > reach and part >= least, source)


def _next(
    fall: Fall, key: str, source: Source, record: QualityRecord, judged: Judged
) -> tuple[Fall, AlertRecord | None]:
    replace, opened, start = msgspec.structs.replace, fall.opened, record.window.start
    if start < fall.judged:
        return fall, None
    again, fall = start == fall.judged, replace(fall, judged=start)
    if judged.bad:
        worse = opened is not None and judged.part >= 2 * opened.impact
        fall = replace(fall, quiet=0)
        if opened and not worse:
            return fall, None
        alert = _alert(key, source, record, judged, fall, ("larger",) if worse else ())
        return replace(fall, opened=alert), alert
    if not opened:
        return fall, None
    # A revision may take back what was said of its own window.
    taken_back = start == opened.window.start
    quiet = fall.quiet if again else fall.quiet + 1
    if quiet < RESOLVE_AFTER and not taken_back:
        return replace(fall, quiet=quiet), None
    resolved = replace(
        opened,
        state="resolved",
        value=judged.value,
        window=record.window,
        message=over(opened, record.window),
        windows_bad=0,
        impact=0.0,
        changed=(),
        at=labels_until(record),
    )
    return replace(fall, opened=None, quiet=0), resolved


def _alert(
    key: str, source: Source, record: QualityRecord, judged: Judged, fall: Fall, changed: tuple[Change, ...]
) -> AlertRecord:
    name, _, floor = WATCHED[record.kind]
    since = fall.opened.since if fall.opened else record.window.start
    return AlertRecord(
        job=record.job,
        id=key,
        rule=RULES[source],
        state="updated" if changed else "firing",
        severity="critical",
        model=record.model,
        version=record.version,
        segment=None,
        column=None,
        statistic=name,
        value=judged.value,
        threshold=judged.high if floor is None else judged.low,
        message=in_window(_message(source, record, judged), record.window),
        window=record.window,
        since=since,
        windows_bad=1,
        windows_seen=1,
        impact=min(judged.part, 1.0),
        rank=0,
        examples=(),
        at=labels_until(record),
        changed=changed,
        damage=source,
    )


def _message(source: Source, record: QualityRecord, judged: Judged) -> str:
    """With the limit that was passed, and what is usual."""
    _, shown, floor = WATCHED[record.kind]
    by = (
        f"by {record.labels.n:,} labels"
        if source == "realized" and record.labels
        else "estimated without labels"
    )
    limit = (
        f"above the expected maximum of {judged.high:.3g}"
        if floor is None
        else f"below the expected minimum of {judged.low:.3g}"
    )
    usual = f"usual {(judged.low + judged.high) / 2:.3g}, {judged.source}"
    return f"{shown} {judged.value:.3g}, {by}, is {limit} ({usual})"
