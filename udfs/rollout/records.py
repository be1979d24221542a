"""What is written to the comparisons topic, as data: the interface, documented in docs/releases.md.

record = msgspec.json.decode(line, type=ComparisonRecord)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.alerts.records import WindowSpan
from udfs.rollout.events import Role
from udfs.rollout.sequential import Estimate

Outcome = Literal["pass", "fail", "wait"]


class ExpectedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """The mean absolute error that training makes expect of `n` records with labels, beside that which came.

    `error` is what chance parts the two by, the means of `rows` rows in training included; of ten windows and
    more also as these differ. `deviation` is the standard deviation of a record's error. `changed` if
    they part by more than three such errors, and by a tenth: null of fewer than ten windows.
    """

    n: int
    realized: float
    expected: float
    deviation: float
    rows: int
    error: float
    changed: bool | None = None


class QualityReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How right a version was on the `n` records of it whose labels came in the window.

    Classifiers have `log_loss`, `brier` and `accuracy`; binary ones also `auc`, and `positives` and
    `negatives`: counts of the scores on 100 equal bins of [0, 1], by what was true. Regressions have `rmse`
    and `mae`; shadows also `usual`, if training knew how far off they are. `loss_deviation` is the standard
    deviation of the log loss, or of the squared error.
    """

    n: int
    log_loss: float | None = None
    brier: float | None = None
    accuracy: float | None = None
    auc: float | None = None
    rmse: float | None = None
    mae: float | None = None
    loss_deviation: float = 0.0
    positives: tuple[int, ...] = ()
    negatives: tuple[int, ...] = ()
    usual: ExpectedLoss | None = None


class QualityPair(msgspec.Struct, frozen=True, kw_only=True):
    """A version's loss beside the champion's: log loss, or for regressions the RMSE.

    `difference` (its loss − the champion's) with its standard `error` and `p`, how likely chance alone would
    make it look so much worse; both null below two records. `paired` is on how many same records (shadows),
    0 where both had records of their own. `rise` and its standard deviation are of what is averaged: log
    losses, or squared errors.
    """

    measure: Literal["log_loss", "rmse"]
    n: int
    champion_n: int
    paired: int
    loss: float
    champion_loss: float
    difference: float
    error: float | None
    p: float | None
    rise: float
    rise_deviation: float


class LabelTotals(msgspec.Struct, frozen=True):
    """Labels that came in the window: all, those that could not be used, and records that got theirs."""

    read: int
    rejected: int
    joined: int


class VersionReport(msgspec.Struct, frozen=True):
    """One version in one role. `us_per_record` is the time of its model alone, in microseconds.

    `share` is its part of the records that champion and canary scored; a shadow's is null. `scores` counts
    the scores on 100 equal bins of [0, 1]; empty, with the quantiles null, where they are not probabilities.
    """

    version: int
    role: Role
    release: int
    records: int
    errors: int
    error_rate: float
    missed: int
    share: float | None
    us_per_record: float | None
    mean_score: float | None
    p10: float | None
    p50: float | None
    p90: float | None
    scores: tuple[int, ...]
    labels: QualityReport | None = None


class PairReport(msgspec.Struct, frozen=True):
    """A canary or shadow against the champion of the same window.

    On the same records, so for shadows only: `n` of them, the share with the same prediction, and the
    difference of the scores (other − champion). For both: `score_drift`, the Kolmogorov-Smirnov distance of
    the two distributions of scores, with its p; and how much higher error rate and time per record are.
    `error_design` and `score_design`: records of one key are alike, so that this many count as one.
    """

    version: int
    role: Role
    champion: int
    n: int
    agreement: float | None
    mean_difference: float | None
    mean_distance: float | None
    farthest: float | None
    score_drift: float | None
    score_drift_p: float | None
    error_rise: float
    latency_ratio: float | None
    labels: QualityPair | None = None
    error_design: float = 1.0
    score_design: float = 1.0


class RunningLoss(msgspec.Struct, frozen=True, kw_only=True):
    """By what part of the champion's loss a version's is higher, by all labels since it began to score.

    `n` labels of it, `champion_n` of the champion, of these `paired` on the same records. `low` and `high`
    are the confidence sequence about `part`, valid at all windows together; null: no bound yet. `estimate` is
    what all this is computed from: for regressions of squared errors, where the rest is of their roots.
    """

    measure: Literal["log_loss", "rmse"]
    n: int
    champion_n: int
    paired: int
    loss: float
    champion_loss: float
    part: float
    low: float | None
    high: float | None
    estimate: Estimate


class GateReport(msgspec.Struct, frozen=True):
    """What the job's gate says of the version that may be promoted, and why.

    By all `windows` since the version began as what it is (`role`, beside this `champion`); `records` are
    those under the newest release, and `quality` is of all. `allowed` is the part of the champion's loss by
    which its own may be higher, for the step that is next. `error_design` and `score_design` as of a pair, of
    all these records.
    """

    version: int
    outcome: Outcome
    reasons: tuple[str, ...]
    role: Role | None = None
    champion: int | None = None
    windows: int = 0
    records: int = 0
    allowed: float | None = None
    quality: RunningLoss | None = None
    error_design: float = 1.0
    score_design: float = 1.0


class ComparisonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All versions that scored in one window. `action` is what the job did about it by itself, or null.

    `labels`, here and below, are null in a job without `comparisons.labels`, and where none came. Records of
    schema `tailrace.comparison/1` have a gate that knew one window alone.
    """

    schema: Literal["tailrace.comparison/1", "tailrace.comparison/2"] = "tailrace.comparison/2"
    job: str
    model: str
    window: WindowSpan
    versions: tuple[VersionReport, ...]
    pairs: tuple[PairReport, ...]
    gate: GateReport | None = None
    action: str | None = None
    labels: LabelTotals | None = None
