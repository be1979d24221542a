"""Estimates without labels: NannyML's on its own data, what labels say later, and what no estimate sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from flink_jobs.training.expected import Judged, expected_quality
from tests.helpers.examples import sized
from tests.helpers.labelled import BINARY, HOUR, T0, binary, counted
from udfs.model.manifest import Output
from udfs.quality.counts import Predicted
from udfs.quality.estimated import estimated, gap_of
from udfs.quality.expected import parse_expected
from udfs.quality.params import QualityCount
from udfs.quality.predicted import QualityCounter
from udfs.quality.realized import realized

CHUNKS = json.loads((Path(__file__).parents[2] / "oracles" / "quality.json").read_text())["chunks"]


def predicted(scores: list[float], said: list[bool]) -> Predicted:
    """As the worker that scores counts it."""
    counter = QualityCounter(QualityCount(HOUR))
    columns = {"prediction": pa.array(said), "score": pa.array(scores)}
    times = np.full(len(scores), T0)
    counter.predicted(1, ("binary", (False, True)), columns, {}, times)
    return counter.take_report().predicted[T0, 1, None, None]


@pytest.mark.parametrize("chunk", CHUNKS, ids=range(len(CHUNKS)))
def test_estimates_are_nannymls(chunk: dict[str, Any]) -> None:
    """Of probabilities that NannyML calibrated, as training does here."""
    rows = [(p, said == 1.0) for p, said, n in chunk["calibrated"] for _ in range(int(n))]
    found = estimated(predicted([p for p, _ in rows], [said for _, said in rows]))
    expected = dict(chunk["estimated"])
    assert found["auc"].value == pytest.approx(expected["roc_auc"], abs=1e-6)
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found[name].value == pytest.approx(expected[name], abs=1e-6), name


@pytest.mark.parametrize("chunk", CHUNKS, ids=range(len(CHUNKS)))
def test_realized_values_are_nannymls(chunk: dict[str, Any]) -> None:
    rows = []
    for score, said, n, positive in chunk["scores"]:
        labels = [True] * int(positive) + [False] * int(n - positive)
        rows += [(binary(score, said == 1.0), label) for label in labels]
    found, expected = realized(counted(rows)), dict(chunk["realized"])
    assert found["auc"].value == pytest.approx(expected["roc_auc"], abs=1e-6)
    assert found["average_precision"].value == pytest.approx(expected["average_precision"], abs=1e-6)
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found[name].value == pytest.approx(expected[name], abs=1e-6), name


def test_intervals_hold_what_comes_as_often_as_they_say() -> None:
    """Windows of labels drawn from the scores: 95% of the realized values lie within."""
    windows, least = sized(400, 100), sized(92, 90) / 100
    random = np.random.default_rng(3)
    scores = random.beta(1, 5, 300)
    said = scores >= 0.3
    limits = estimated(predicted(scores.tolist(), said.tolist()))
    inside = dict.fromkeys(("auc", "log_loss", "brier", "accuracy"), 0)
    for _ in range(windows):
        truth = random.random(300) < scores
        rows = [
            (binary(s, c), y) for s, c, y in zip(scores.tolist(), said.tolist(), truth.tolist(), strict=True)
        ]
        found = realized(counted(rows))
        for name in inside:
            value, limit = found[name].value or 0.0, limits[name]
            inside[name] += (limit.low or 0.0) <= value <= (limit.high or 0.0)
    assert all(least <= count / windows <= 0.99 for count in inside.values()), inside


def test_a_change_of_what_labels_mean_is_seen_and_chance_is_not() -> None:
    """The same scores: labels that follow them, and labels of which a third were turned round."""
    random, false, windows = np.random.default_rng(4), 0, sized(200, 60)
    scores = random.beta(1, 4, 500)
    for _ in range(windows):
        truth = random.random(500) < scores
        rows = [(binary(s), y) for s, y in zip(scores.tolist(), truth.tolist(), strict=True)]
        gap = gap_of(counted(rows), 0.0)
        assert gap is not None
        false += gap.changed
    assert false <= windows / 50
    turned = np.where(random.random(500) < 1 / 3, ~truth, truth)
    rows = [(binary(s), y) for s, y in zip(scores.tolist(), turned.tolist(), strict=True)]
    gap = gap_of(counted(rows), 0.1)
    assert gap is not None
    assert gap.changed
    assert gap.realized > gap.expected


def test_expected_losses_are_the_integral_of_the_scores() -> None:
    scores = np.array([row.score for row, _ in BINARY])
    found = estimated(predicted(scores.tolist(), (scores >= 0.4).tolist()))
    entropy = -(scores * np.log(scores) + (1 - scores) * np.log(1 - scores))
    assert found["log_loss"].value == pytest.approx(entropy.mean(), rel=1e-5)
    assert found["brier"].value == pytest.approx((scores * (1 - scores)).mean(), rel=1e-5)


def test_many_classes_are_right_as_often_as_the_largest_probability() -> None:
    chances = np.random.default_rng(6).dirichlet([1.0, 2.0, 3.0], 500)
    counter = QualityCounter(QualityCount(HOUR))
    columns = {
        "prediction": pa.array(["a"] * 500),
        "probabilities": pa.StructArray.from_arrays([pa.array(c) for c in chances.T], ["a", "b", "c"]),
    }
    counter.predicted(1, ("multiclass", ("a", "b", "c")), columns, {}, np.full(500, T0))
    found = estimated(counter.take_report().predicted[T0, 1, None, None])
    assert found["accuracy"].value == pytest.approx(chances.max(axis=1).mean(), abs=1e-9)


def test_scores_that_are_not_calibrated_are_read_as_training_learned_to() -> None:
    """Scores of p where the square root of p is true: as they are, estimates are far off."""
    random = np.random.default_rng(8)

    def drawn(n: int, a: float) -> tuple[Any, Any]:
        scores = random.beta(a, 3, n)
        return scores, random.random(n) < np.sqrt(scores)

    scores, labels = drawn(20_000, 1.0)
    times = np.datetime64("2026-01-01", "ms") + np.arange(20_000) * np.timedelta64(1_000, "ms")
    two = Output(kind="binary", classes=(False, True))
    data = expected_quality(Judged(scores, labels, times), two, calibrated=False)
    assert data is not None
    expected = parse_expected(data)
    scores, labels = drawn(20_000, 2.0)
    said = scores >= 0.4
    found = estimated(predicted(scores.tolist(), said.tolist()), expected)
    for name, value, reach in (
        ("auc", roc_auc_score(labels, scores), 0.01),
        ("log_loss", log_loss(labels, scores), 0.02),
        ("brier", brier_score_loss(labels, scores), 0.005),
        ("accuracy", accuracy_score(labels, said), 0.01),
        ("precision", precision_score(labels, said), 0.01),
        ("recall", recall_score(labels, said), 0.01),
        ("f1", f1_score(labels, said), 0.01),
    ):
        assert found[name].value == pytest.approx(value, abs=reach), name
    plain = estimated(predicted(scores.tolist(), said.tolist()))
    assert abs((plain["precision"].value or 0) - precision_score(labels, said)) > 0.1
    assert found["accuracy"].low is not None
    assert found["accuracy"].high is not None
    assert plain["accuracy"].low is not None
    assert plain["accuracy"].high is not None
    narrow = plain["accuracy"].high - plain["accuracy"].low
    assert found["accuracy"].high - found["accuracy"].low > 1.2 * narrow
    rows = [
        (binary(s), bool(y)) for s, y in zip(scores[:5_000].tolist(), labels[:5_000].tolist(), strict=True)
    ]
    gaps = [gap_of(counted(rows), 0.1, known) for known in (None, expected)]
    assert [gap and gap.changed for gap in gaps] == [True, False]
