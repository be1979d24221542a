"""What is written to the topic of quality: one record per window, segment, version and revision."""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.alerts.records import Segment, WindowSpan

HigherIsBetter = Literal["auc", "average_precision", "accuracy", "precision", "recall", "f1"]
LowerIsBetter = Literal["log_loss", "brier", "ece", "mae", "rmse", "pinball"]
# Those by which one window is better than another.
QualityMetric = Literal[HigherIsBetter, LowerIsBetter]


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value, and the interval that holds the true one with 95%; null where it is not defined.

    `binned` is how far the value may be from that of the scores themselves, as these are on bins. `alike`: so
    many times the variance of independent records is in the interval of an estimate, as training has it.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    binned: float | None = None
    alike: float | None = None


class LabelState(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels have come, and how long they took. `until`: labels of before that time count."""

    n: int
    rejected: int
    coverage: float
    delay_p50_ms: float | None
    delay_p90_ms: float | None
    until: str | None


class CurvePoint(msgspec.Struct, frozen=True):
    """Scores of a bin: how many, their mean, and the share of positive labels."""

    n: int
    score: float
    positive: float


class ClassReport(msgspec.Struct, frozen=True):
    """Of many classes one: its labels, how many of these were found, and how many predictions were right."""

    label: str
    n: int
    recall: Metric
    precision: Metric


class Gap(msgspec.Struct, frozen=True):
    """What was expected of the labelled records, from their scores alone, beside what came.

    `changed` if `z` says that chance does not part them so far, and the part by which they differ is large:
    then labels do not follow from the scores as they should, which no estimate without labels can see.
    `worse` if they are worse than expected.
    """

    metric: str
    expected: float
    realized: float
    error: float
    z: float
    part: float
    changed: bool
    worse: bool


class GroupReport(msgspec.Struct, frozen=True):
    """One value of a group; true and false positive rates only where labels came."""

    value: str | None
    records: int
    labels: int
    selection_rate: Metric
    true_positive_rate: Metric
    false_positive_rate: Metric


class Disparity(msgspec.Struct, frozen=True):
    """The largest difference between two values of a group, and the smallest ratio."""

    measure: str
    difference: Metric
    ratio: Metric
    lowest: str | None
    highest: str | None


class GroupsReport(msgspec.Struct, frozen=True):
    """A column of `quality.groups`."""

    column: str
    groups: tuple[GroupReport, ...]
    disparities: tuple[Disparity, ...]


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`estimated` is of all predicted records, `realized` of those whose labels came.

    A `partial` window is one in which the input began or ended: it is not judged.
    """

    schema: Literal["tailrace.quality/1"] = "tailrace.quality/1"
    job: str
    model: str
    version: int
    kind: str
    window: WindowSpan
    segment: Segment | None
    revision: int
    final: bool
    records: int
    labels: LabelState | None
    estimated: dict[str, Metric]
    realized: dict[str, Metric]
    gap: Gap | None = None
    curve: tuple[CurvePoint, ...] = ()
    classes: tuple[ClassReport, ...] = ()
    groups: tuple[GroupsReport, ...] = ()
    partial: bool = False
