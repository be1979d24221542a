"""Measures how right versions were, where labels came, as integers that add up to the same in any order.

The loss is the log loss of a classifier, of probabilities kept at least `FLOOR` from 0 and 1, and the squared
error of a regression, of errors up to `FARTHEST`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from udfs.log_loss import log_loss
from udfs.rollout.clusters import merged_clusters
from udfs.rollout.events import Role
from udfs.rollout.version_metrics import SCORE_BINS

Kind = Literal["binary", "multiclass", "regression"]
# Sums are in units of 1e-12: small losses count too, and integers of Python have no end.
FINE = 10**12
# One sure and wrong prediction must not decide a comparison: a loss is at most 13.8.
FLOOR = 1e-6
FARTHEST = 1e9


class UsualError(msgspec.Struct, frozen=True):
    """How far off a regression was of such records in training, among `rows` that it was not fitted on.

    The mean of the absolute errors, and their variance.
    """

    mean: float
    variance: float
    rows: int


class ScoredRow(msgspec.Struct, frozen=True):
    """What one version predicted for a record: `score` if binary, `probabilities` by class if multiclass.

    `bucket` is that of the record's key, where a canary is chosen by key; `slices` are the values by which
    quality is told apart, where the job asks for it; `cell` is where the errors of a regression are known by,
    and of a shadow `usual` what they are.
    """

    version: int
    role: Role
    release: int
    kind: str
    classes: tuple[Any, ...]
    prediction: Any
    score: float | None = None
    probabilities: dict[str, float | None] | None = None
    bucket: int | None = None
    slices: dict[str, str | None] | None = None
    cell: int | None = None
    usual: UsualError | None = None


class RecordLoss(NamedTuple):
    """A record: its loss and second loss (Brier, or absolute error) in units, its bin in a histogram.

    `bucket` and `usual` as of a `ScoredRow`.
    """

    kind: Kind
    loss: int
    second: int
    right: bool
    positive: bool
    score_bin: int
    bucket: int | None = None
    usual: UsualError | None = None


class LossSum(msgspec.Struct, frozen=True, array_like=True):
    """n values: their sum and that of their squares, in units."""

    n: int = 0
    total: int = 0
    squares: int = 0

    def merged(self, other: LossSum) -> LossSum:
        return LossSum(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / FINE / self.n if self.n else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of the sample; 0 below two values."""
        if self.n < 2:
            return 0.0
        # In integers: a difference of two large and near floats would be noise.
        scaled = self.n * self.squares * FINE - self.total**2
        return math.sqrt(max(scaled, 0) / (self.n * (self.n - 1))) / FINE

    @property
    def error(self) -> float:
        """The variance of the mean; 0 below two values."""
        return self.deviation**2 / self.n if self.n else 0.0


class Quality(msgspec.Struct, frozen=True, array_like=True):
    """One version in one role. `positives` and `negatives` count binary scores on 100 bins, by the label.

    On records that the champion scored too, so for shadows only: `rises` above the champion's losses, these
    themselves (`beside`), and the sum of the products of the two, in units.
    `clusters` are the number and the sum of the losses by bucket of the key, where a canary is chosen by it.
    `usual` are of records of which training knew how far off the version is: their number, and the sums of
    the absolute error that came, of that which is usual, of its variance, and of the rows that training had.
    """

    kind: Kind
    loss: LossSum = LossSum()
    second: int = 0
    right: int = 0
    positives: dict[int, int] = {}
    negatives: dict[int, int] = {}
    rises: LossSum = LossSum()
    beside: LossSum = LossSum()
    products: int = 0
    clusters: dict[int, tuple[int, int]] = {}
    usual: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    def merged(self, other: Quality) -> Quality:
        """Of the same kind; else that of which there is more, as a loss is not another's."""
        if self.kind != other.kind:
            return max(self, other, key=lambda quality: (quality.loss.n, quality.kind))
        return Quality(
            self.kind,
            self.loss.merged(other.loss),
            self.second + other.second,
            self.right + other.right,
            _added(self.positives, other.positives),
            _added(self.negatives, other.negatives),
            self.rises.merged(other.rises),
            self.beside.merged(other.beside),
            self.products + other.products,
            merged_clusters(self.clusters, other.clusters),
            _usual([self.usual, other.usual]),
        )


def measured(scored: ScoredRow, label: object) -> RecordLoss | None:
    """How far off it was; None where the label is not one of its classes, or it gave no finite number."""
    found = _measured(scored, label)
    return found and found._replace(bucket=scored.bucket, usual=scored.usual)


def _measured(scored: ScoredRow, label: object) -> RecordLoss | None:
    if scored.kind == "regression":
        return _off(scored.prediction, label)
    if not any(type(label) is type(known) and label == known for known in scored.classes):
        return None
    right = type(scored.prediction) is type(label) and scored.prediction == label
    if scored.kind == "binary":
        return None if scored.score is None else _binary(scored.score, label == scored.classes[1], right)
    probabilities = scored.probabilities or {}
    chance = probabilities.get(str(label))
    if scored.kind != "multiclass" or chance is None:
        return None
    others = sum((p or 0.0) ** 2 for name, p in probabilities.items() if name != str(label))
    return RecordLoss("multiclass", _log(chance), _units((1 - chance) ** 2 + others), right, False, 0)


def _binary(score: float, positive: bool, right: bool) -> RecordLoss:
    chance = score if positive else 1 - score
    score_bin = min(max(int(score * SCORE_BINS), 0), SCORE_BINS - 1)
    return RecordLoss("binary", _log(chance), _units((1 - chance) ** 2), right, positive, score_bin)


def _off(prediction: object, label: object) -> RecordLoss | None:
    if not (is_number(prediction) and is_number(label)):
        return None
    error = min(abs(float(prediction) - float(label)), FARTHEST)  # type: ignore[arg-type]
    return RecordLoss("regression", _units(error**2), _units(error), False, False, 0)


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**1023


def quality_of(rows: Sequence[RecordLoss], beside: Iterable[tuple[int, int]] = ()) -> Quality:
    """The counts of at least one row, all of one kind; `beside` are its losses with the champion's."""
    pairs = list(beside)
    rises = [own - champion for own, champion in pairs]
    binary = [row for row in rows if row.kind == "binary"]
    return Quality(
        rows[0].kind,
        _sum([row.loss for row in rows]),
        sum(row.second for row in rows),
        sum(row.right for row in rows),
        _histogram(row.score_bin for row in binary if row.positive),
        _histogram(row.score_bin for row in binary if not row.positive),
        _sum(rises),
        _sum([champion for _, champion in pairs]),
        sum(rise * champion // FINE for rise, (_, champion) in zip(rises, pairs, strict=True)),
        _clusters(rows),
        _usual(_told(row) for row in rows if row.usual),
    )


def _told(row: RecordLoss) -> tuple[int, int, int, int, int]:
    assert row.usual is not None
    return 1, row.second, _units(row.usual.mean), _units(row.usual.variance), row.usual.rows


def _usual(rows: Iterable[tuple[int, int, int, int, int]]) -> tuple[int, int, int, int, int]:
    n, came, mean, variance, known = (sum(column) for column in zip((0,) * 5, *rows, strict=True))
    return n, came, mean, variance, known


def _clusters(rows: Iterable[RecordLoss]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row.bucket is not None:
            n, total = found.get(row.bucket, (0, 0))
            found[row.bucket] = n + 1, total + row.loss
    return dict(sorted(found.items()))


def _sum(values: Sequence[int]) -> LossSum:
    return LossSum(len(values), sum(values), sum(value * value // FINE for value in values))


def _histogram(score_bins: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for score_bin in score_bins:
        counts[score_bin] = counts.get(score_bin, 0) + 1
    return dict(sorted(counts.items()))


def _added(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    total = dict(one)
    for score_bin, count in other.items():
        total[score_bin] = total.get(score_bin, 0) + count
    return dict(sorted(total.items()))


def _log(chance: float) -> int:
    return _units(log_loss(chance, FLOOR))


def _units(value: float) -> int:
    return round(value * FINE)
