"""Metrics against scikit-learn, and intervals that hold what they promise on seeded data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from flink_jobs.backtest.intervals import Draws, compare_metrics, time_blocks
from flink_jobs.backtest.metrics import METRICS, calibration_error, from_sums, measure, sums
from flink_jobs.backtest.outputs import Floats, Integers, Predictions
from flink_jobs.backtest.records import MetricComparison

ROWS = 4_000


def binary(seed: int, rows: int = ROWS, noise: float = 1.0) -> tuple[Floats, Predictions]:
    """Truth, and scores that know something of it; calibrated at noise 1."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(-1, 1.5, rows)
    truth = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    score = 1 / (1 + np.exp(-(logit + draw.normal(0, noise, rows))))
    return truth, Predictions("binary", (score >= 0.5).astype(np.float64), score)


def blocks_of(rows: int, count: int = 100) -> Integers:
    return np.arange(rows, dtype=np.int64) * count // rows


def by_name(measured: tuple[MetricComparison, ...]) -> dict[str, MetricComparison]:
    return {each.name: each for each in measured}


def test_binary_metrics_are_those_of_scikit_learn() -> None:
    truth, said = binary(1)
    expected = {
        "auc": sk.roc_auc_score(truth, said.score),
        "average_precision": sk.average_precision_score(truth, said.score),
        "log_loss": sk.log_loss(truth, said.score),
        "brier": sk.brier_score_loss(truth, said.score),
        "ece": calibration_error(truth, said.score),
        "accuracy": sk.accuracy_score(truth, said.prediction),
        "precision": sk.precision_score(truth, said.prediction),
        "recall": sk.recall_score(truth, said.prediction),
        "f1": sk.f1_score(truth, said.prediction),
    }
    assert measure(truth, said) == pytest.approx(expected, abs=1e-12)
    assert tuple(expected) == METRICS["binary"]


def test_calibration_error_by_hand() -> None:
    score = np.array([0.1, 0.12, 0.9, 1.0])
    truth = np.array([0.0, 1.0, 1.0, 1.0])
    # Bins of 1/15: {0.1, 0.12} is off by 0.78, {0.9} by 0.1, {1.0} by 0.
    assert calibration_error(truth, score) == pytest.approx((0.78 + 0.1 + 0.0) / 4)


def test_metrics_that_the_rows_do_not_define_are_none() -> None:
    said = Predictions("binary", np.zeros(3), np.array([0.1, 0.2, 0.3]))
    found = measure(np.zeros(3), said)
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {"auc", "average_precision", "precision", "recall", "f1"}
    assert set(measure(np.zeros(0), said.take(np.zeros(3, np.bool_))).values()) == {None}


def multiclass(seed: int) -> tuple[Floats, Predictions]:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet([1.0, 2.0, 0.5], ROWS)
    truth = np.array([draw.choice(3, p=row) for row in probabilities], np.float64)
    codes = probabilities.argmax(axis=1)
    return truth, Predictions(
        "multiclass", codes.astype(np.float64), probabilities.max(axis=1), probabilities
    )


def regression(seed: int) -> tuple[Floats, Predictions]:
    draw = np.random.default_rng(seed)
    truth = draw.normal(100, 20, ROWS)
    values = truth + draw.normal(1, 5, ROWS)
    return truth, Predictions("regression", values, values)


def test_metrics_of_other_kinds() -> None:
    truth, said = multiclass(2)
    assert said.probabilities is not None
    assert measure(truth, said) == {
        "log_loss": pytest.approx(sk.log_loss(truth, said.probabilities)),
        "accuracy": pytest.approx(sk.accuracy_score(truth, said.prediction)),
    }
    truth, said = regression(3)
    assert measure(truth, said) == {
        "mae": pytest.approx(sk.mean_absolute_error(truth, said.score)),
        "rmse": pytest.approx(sk.root_mean_squared_error(truth, said.score)),
        "bias": pytest.approx(float(np.mean(said.score - truth))),
    }


@pytest.mark.parametrize(("truth", "said"), [binary(4), multiclass(5), regression(6)])
def test_sums_of_resampled_blocks_are_the_metrics_of_resampled_rows(truth: Floats, said: Predictions) -> None:
    blocks = blocks_of(ROWS)
    parts = sums(truth, said, blocks, 100)
    drawn = np.random.default_rng(7).integers(0, 100, 100)
    rows = np.concatenate([np.flatnonzero(blocks == block) for block in drawn])
    weights = np.bincount(drawn, minlength=100).astype(np.float64)
    found = from_sums(said.kind, (weights @ parts)[None, :])
    expected = measure(truth[rows], said.take(rows))
    for name in METRICS[said.kind]:
        exact = name not in ("auc", "average_precision")
        assert found[name][0] == pytest.approx(expected[name], abs=1e-9 if exact else 2e-3), name


def test_an_anomaly_is_judged_by_its_rank_and_its_flag() -> None:
    truth, said = binary(8)
    odd = Predictions("anomaly", said.prediction, said.score * 100 - 50)
    found, binary_found = measure(truth, odd), measure(truth, said)
    assert found == {name: pytest.approx(binary_found[name]) for name in METRICS["anomaly"]}
    measured = by_name(compare_metrics(truth, odd, odd, blocks_of(ROWS)))
    assert measured["auc"].difference.low == measured["auc"].difference.high == 0


def test_a_better_version_is_told_and_an_equal_one_is_not() -> None:
    truth, good = binary(9, noise=0.2)
    _, bad = binary(9, noise=2.0)
    found = by_name(compare_metrics(truth, bad, good, blocks_of(ROWS)))
    assert {name: found[name].better for name in ("auc", "log_loss", "brier")} == dict.fromkeys(
        ("auc", "log_loss", "brier"), "b"
    )
    turned = by_name(compare_metrics(truth, good, bad, blocks_of(ROWS)))
    assert (turned["auc"].better, turned["log_loss"].better) == ("a", "a")
    assert turned["auc"].difference.value == pytest.approx(-(found["auc"].difference.value or 0))
    same = compare_metrics(truth, good, good, blocks_of(ROWS))
    assert {each.better for each in same} == {None}


def test_intervals_are_the_same_for_a_seed_and_absent_with_few_blocks() -> None:
    truth, a = binary(10)
    _, b = binary(10, noise=1.1)
    draws = Draws(resamples=50, seed=3)
    assert compare_metrics(truth, a, b, blocks_of(ROWS), draws) == compare_metrics(
        truth, a, b, blocks_of(ROWS), draws
    )
    few = by_name(compare_metrics(truth, a, b, blocks_of(ROWS, 7), draws))
    assert few["auc"].a.value is not None
    assert (few["auc"].a.low, few["auc"].difference.low, few["auc"].better) == (None, None, None)


def test_blocks_of_time() -> None:
    times = np.array([0, 5, 99, 100, 1_000, 250], np.int64)
    assert time_blocks(times, 100).tolist() == [0, 0, 0, 1, 3, 2]
