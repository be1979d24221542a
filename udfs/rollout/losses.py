"""How right versions were, where labels came: integers that add up to the same in any order.

    quality = quality_of([measured(said, True)])
    quality.merged(other).loss.mean

The loss is the log loss of a classifier, of probabilities kept at least `FLOOR` from 0 and 1, and the squared
error of a regression, of errors up to `FARTHEST`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from udfs.log_loss import log_loss
from udfs.rollout.events import Role
from udfs.rollout.version_metrics import SCORE_BINS

Kind = Literal["binary", "multiclass", "regression"]
# Sums are in units of 1e-12: small losses count too, and integers of Python have no end.
FINE = 10**12
# One sure and wrong prediction must not decide a comparison: a loss is at most 13.8.
FLOOR = 1e-6
FARTHEST = 1e9


class ScoredRow(msgspec.Struct, frozen=True):
    """What one version said of a record: `score` if it is binary, `probabilities` by class if multiclass."""

    version: int
    role: Role
    release: int
    kind: str
    classes: tuple[Any, ...]
    prediction: Any
    score: float | None = None
    probabilities: dict[str, float | None] | None = None


class RecordLoss(NamedTuple):
    """A record: its loss and second loss (Brier, or absolute error) in units, its place in a histogram."""

    kind: Kind
    loss: int
    second: int
    right: bool
    positive: bool
    place: int


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


class Quality(msgspec.Struct, frozen=True, array_like=True):
    """One version in one role. `positives` and `negatives` count binary scores on 100 bins, by the label.

    `rises` are the losses beside the champion's, on records that both scored: shadows only.
    """

    kind: Kind
    loss: LossSum = LossSum()
    second: int = 0
    right: int = 0
    positives: dict[int, int] = {}
    negatives: dict[int, int] = {}
    rises: LossSum = LossSum()

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
        )


def measured(said: ScoredRow, label: object) -> RecordLoss | None:
    """How far off it was; None where the label is not one of its classes, or it gave no finite number."""
    if said.kind == "regression":
        return _off(said.prediction, label)
    if not any(type(label) is type(known) and label == known for known in said.classes):
        return None
    right = type(said.prediction) is type(label) and said.prediction == label
    if said.kind == "binary":
        return None if said.score is None else _binary(said.score, label == said.classes[1], right)
    probabilities = said.probabilities or {}
    chance = probabilities.get(str(label))
    if said.kind != "multiclass" or chance is None:
        return None
    others = sum((p or 0.0) ** 2 for name, p in probabilities.items() if name != str(label))
    return RecordLoss("multiclass", _log(chance), _units((1 - chance) ** 2 + others), right, False, 0)


def _binary(score: float, positive: bool, right: bool) -> RecordLoss:
    chance = score if positive else 1 - score
    place = min(max(int(score * SCORE_BINS), 0), SCORE_BINS - 1)
    return RecordLoss("binary", _log(chance), _units((1 - chance) ** 2), right, positive, place)


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


def quality_of(rows: Sequence[RecordLoss], rises: Iterable[int] = ()) -> Quality:
    """The counts of at least one row, all of one kind."""
    ahead = list(rises)
    binary = [row for row in rows if row.kind == "binary"]
    return Quality(
        rows[0].kind,
        _sum([row.loss for row in rows]),
        sum(row.second for row in rows),
        sum(row.right for row in rows),
        _histogram(row.place for row in binary if row.positive),
        _histogram(row.place for row in binary if not row.positive),
        _sum(ahead),
    )


def _sum(values: Sequence[int]) -> LossSum:
    return LossSum(len(values), sum(values), sum(value * value // FINE for value in values))


def _histogram(places: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for place in places:
        counts[place] = counts.get(place, 0) + 1
    return dict(sorted(counts.items()))


def _added(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    total = dict(one)
    for place, count in other.items():
        total[place] = total.get(place, 0) + count
    return dict(sorted(total.items()))


def _log(chance: float) -> int:
    return _units(log_loss(chance, FLOOR))


def _units(value: float) -> int:
    return round(value * FINE)
