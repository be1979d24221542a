"""Whether the model has become worse, so that it should be trained again: a pure decision on quality records.

rule = QualityRule(metric="log_loss", reference=0.31)
decision = decide_quality(records, rule, version=1, tested={}, after=None)
decision.retrain, decision.reason

A window's realized quality counts once it says what it will say: when no label can come any more, or when
nearly all came. Labels that come early are not like those that come late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from flink_jobs.errors import InputError
from flink_jobs.training.decide import require_one_job
from udfs.quality.records import HigherIsBetter, LowerIsBetter, Metric, QualityRecord
from udfs.suggest import hint
from udfs.times import parse_time

Source = Literal["realized", "estimated"]
HIGHER: tuple[str, ...] = get_args(HigherIsBetter)
LOWER: tuple[str, ...] = get_args(LowerIsBetter)
METRICS = (*HIGHER, *LOWER)
# The parts of a manifest's metrics by which a version is known, the better first.
KNOWN_BY = ("test", "holdout")


@dataclass(frozen=True)
class QualityRule:
    """Train when, of the last `of` windows, `bad` are worse than the reference by more than `margin`.

    A window is, if the whole interval of its `metric` is. `reference` None: what the champion's manifest says
    of its test, else of the held-out rows. Realized quality of a window counts once it is final, or labels
    of the part `coverage` of its records came.
    """

    metric: str = "log_loss"
    source: Source = "realized"
    reference: float | None = None
    margin: float = 0.0
    bad: int = 2
    of: int = 3
    coverage: float = 0.95

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(
                f"metric must be one of {', '.join(METRICS)}; got {self.metric!r}{hint(self.metric, METRICS)}"
            )
        if not 1 <= self.bad <= self.of:
            raise InputError(f"bad must be from 1 to of, which is {self.of}; got {self.bad}")
        if not self.margin >= 0:
            raise InputError(f"margin must be 0 or more; got {self.margin}")
        if not 0 < self.coverage <= 1:
            raise InputError(f"coverage must be above 0 and at most 1; got {self.coverage}")


@dataclass(frozen=True)
class QualityWindow:
    """One window that counted, and whether it was worse than the reference."""

    start: str
    end: str
    value: float
    low: float
    high: float
    worse: bool


@dataclass(frozen=True)
class QualityDecision:
    """`windows`: the last that counted, oldest first; `known`: how many the newest version has seen.

    `unripe`: how many, later than these, whose labels are still to come.
    """

    retrain: bool
    reason: str
    metric: str
    source: Source
    reference: float
    windows: tuple[QualityWindow, ...]
    known: int
    unripe: int

    @property
    def until(self) -> str | None:
        """The end of the last window that counted."""
        return self.windows[-1].end if self.windows else None

    def record(self) -> dict[str, Any]:
        """For the manifest and for programs."""
        return asdict(self)


def decide_quality(
    records: Iterable[QualityRecord],
    rule: QualityRule,
    *,
    version: int,
    tested: Mapping[str, float],
    after: datetime | None,
) -> QualityDecision:
    """Decides on one model's records: the newest revisions of all segments together, of `version`.

    `tested` are the metrics of the version's manifest. Windows that end at or before `after` were known to
    the newest version, and count no more. Raises InputError without a reference.
    """
    reference = reference_of(rule, tested, version)
    newest: dict[tuple[str, str], QualityRecord] = {}
    for record in records:
        key = (record.job, record.window.start)
        if record.version != version or record.segment is not None:
            continue
        if key not in newest or newest[key].revision <= record.revision:
            newest[key] = record
    require_one_job(sorted({job for job, _ in newest}), "quality")
    whole = (record for record in newest.values() if not record.partial)
    ordered = sorted(whole, key=lambda record: parse_time(record.window.end))
    seen = 0 if after is None else round(after.timestamp() * 1000)
    fresh = [r for r in ordered if after is None or parse_time(r.window.end) > seen]
    ripe = [record for record in fresh if _is_ripe(record, rule)]
    found = [window for record in ripe if (window := _judged(record, rule, reference))]
    windows = tuple(found[-rule.of :])
    bad = sum(window.worse for window in windows)
    known, unripe = len(ordered) - len(fresh), len(fresh) - len(ripe)
    return QualityDecision(
        bad >= rule.bad,
        _reason(rule, reference, windows, bad, known, unripe),
        rule.metric, rule.source, reference, windows, known, unripe,
    )  # fmt: skip


def reference_of(rule: QualityRule, tested: Mapping[str, float], version: int) -> float:
    """What a window is held against. Raises InputError where neither the rule nor the manifest says."""
    if rule.reference is not None:
        return rule.reference
    names = [f"{part}_{rule.metric}" for part in KNOWN_BY]
    found = next((tested[name] for name in names if name in tested), None)
    if found is None:
        raise InputError(
            f"a reference for {rule.metric} must be given: the manifest of version {version} has neither "
            f"{' nor '.join(names)}"
        )
    return found


def _is_ripe(record: QualityRecord, rule: QualityRule) -> bool:
    if rule.source == "estimated":
        return True
    labels = record.labels
    return labels is not None and labels.n > 0 and (record.final or labels.coverage >= rule.coverage)


def _judged(record: QualityRecord, rule: QualityRule, reference: float) -> QualityWindow | None:
    """None where the metric has no value or no interval, as of a window with a single label."""
    found: Metric | None = getattr(record, rule.source).get(rule.metric)
    if found is None or found.value is None or found.low is None or found.high is None:
        return None
    limit = reference - rule.margin if rule.metric in HIGHER else reference + rule.margin
    worse = found.high < limit if rule.metric in HIGHER else found.low > limit
    return QualityWindow(record.window.start, record.window.end, found.value, found.low, found.high, worse)


def _reason(
    rule: QualityRule,
    reference: float,
    windows: tuple[QualityWindow, ...],
    bad: int,
    known: int,
    unripe: int,
) -> str:
    later = f"; labels of {unripe} are still to come" if unripe else ""
    if not windows:
        seen = f"; the newest version has seen {known}" if known else ""
        return f"no window whose {rule.source} {rule.metric} is known{seen}{later}"
    of = f"of the last {len(windows)} windows" if len(windows) != 1 else "of 1 window"
    beyond = f" by more than {rule.margin:g}" if rule.margin else ""
    said = (
        f"in {bad} {of} the {rule.source} {rule.metric} was worse than {reference:.4g}{beyond} "
        f"(last {windows[-1].value:.4g})"
    )
    return (
        f"{said}; {rule.bad} are enough" if bad >= rule.bad else f"{said}; {rule.bad} would be needed{later}"
    )
