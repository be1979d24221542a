"""Records of one hour are alike, as in a storm: a window of thousands then says what a few hours say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from tests.helpers.labelled import HOUR, binary, counted
from udfs.quality.realized import realized
from udfs.quality.records import Metric
from udfs.rollout.losses import ScoredRow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCKS, EACH = 60, 30


def inside(metric: Metric, value: float) -> bool:
    assert metric.low is not None
    assert metric.high is not None
    return metric.low <= value <= metric.high


def drawn(random: np.random.Generator, storm: float) -> tuple[Ints, Floats]:
    """Times in a window of an hour, and what moves the records of each of its minutes together."""
    times = np.sort(random.integers(0, HOUR, BLOCKS * EACH))
    return times, random.normal(0, storm, BLOCKS)[times * BLOCKS // HOUR]


def of_numbers(times: Ints, off: Sequence[float]) -> dict[str, Metric]:
    rows = [(ScoredRow(1, "champion", 1, "regression", (), e), 0.0) for e in off]
    return realized(counted(rows, times=times))


@pytest.mark.parametrize("windows", [60, pytest.param(200, marks=pytest.mark.long)])
def test_intervals_hold_the_true_value_where_records_of_a_minute_are_alike(windows: int) -> None:
    """Windows whose errors are of 1 to e² minutes' making; as if they were independent, half are out."""
    random, mae, narrow = np.random.default_rng(1), [], []
    expected = float(np.mean(np.exp(random.normal(0, 0.7, 400_000)))) * np.sqrt(2 / np.pi)
    for _ in range(windows):
        times, shared = drawn(random, 0.7)
        off = np.exp(shared) * random.normal(size=len(shared))
        found = of_numbers(times, off.tolist())["mae"]
        mae.append(inside(found, expected))
        error = 1.96 * np.abs(off).std(ddof=1) / np.sqrt(len(off))
        narrow.append(abs(np.abs(off).mean() - expected) < error)
    assert 0.88 <= np.mean(mae) <= 0.99
    assert np.mean(narrow) < 0.7


@pytest.mark.parametrize("windows", [60, pytest.param(150, marks=pytest.mark.long)])
def test_so_do_those_of_accuracy_and_log_loss(windows: int) -> None:
    random, right, loss = np.random.default_rng(2), [], []
    chance = 1 / (1 + np.exp(-random.normal(0, 1.5, 400_000)))
    accuracy, mean_loss = (
        float(chance.mean()),
        float(-np.log(0.8) * chance.mean() - np.log(0.2) * (1 - chance).mean()),
    )
    for _ in range(windows):
        times, shared = drawn(random, 1.5)
        labels = random.random(len(shared)) < 1 / (1 + np.exp(-shared))
        rows = [(binary(0.8, True), bool(y)) for y in labels.tolist()]
        found = realized(counted(rows, times=times))
        right.append(inside(found["accuracy"], accuracy))
        loss.append(inside(found["log_loss"], mean_loss))
    assert 0.88 <= np.mean(right) <= 0.99
    assert 0.88 <= np.mean(loss) <= 0.99


def ranked(random: np.random.Generator, storm: float) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
    """Times, scores and labels: in a storm more records are positive than their scores say, or fewer."""
    times, shared = drawn(random, storm)
    odds = random.normal(-0.5, 1.2, len(times))
    return times, 1 / (1 + np.exp(-odds)), random.random(len(times)) < 1 / (1 + np.exp(-odds - shared))


def auc_of(times: Ints, scores: Floats, labels: npt.NDArray[np.bool_]) -> Metric:
    rows = [(binary(score), label) for score, label in zip(scores.tolist(), labels.tolist(), strict=True)]
    return realized(counted(rows, times=times))["auc"]


@pytest.mark.parametrize("windows", [30, pytest.param(300, marks=pytest.mark.long)])
def test_the_interval_of_auc_holds_where_records_of_a_minute_are_alike(windows: int) -> None:
    """DeLong's takes them to be independent: it holds in 84% of 200 windows, and this one in 92%."""
    random = np.random.default_rng(5)
    odds, shared = random.normal(-0.5, 1.2, 400_000), random.normal(0, 3.0, 400_000)
    # Positives and negatives of two different minutes, as nearly all pairs of a window are.
    true = roc_auc_score(random.random(400_000) < 1 / (1 + np.exp(-odds - shared)), odds)
    held, delong = [], []
    for _ in range(windows):
        times, scores, labels = ranked(random, 3.0)
        found = auc_of(times, scores, labels)
        held.append(inside(found, true))
        delong.append(inside(auc_of(np.zeros_like(times), scores, labels), true))
    assert np.mean(held) >= 0.83
    assert np.mean(delong) < np.mean(held)


def test_the_error_of_auc_is_that_of_a_bootstrap_of_blocks() -> None:
    """By scikit-learn on the raw rows, minutes drawn with replacement."""
    random = np.random.default_rng(6)
    times, scores, labels = ranked(random, 3.0)
    of_block = [np.flatnonzero(times * BLOCKS // HOUR == block) for block in range(BLOCKS)]
    drawn_again = []
    for _ in range(400):
        rows = np.concatenate([of_block[i] for i in random.integers(0, BLOCKS, BLOCKS)])
        drawn_again.append(roc_auc_score(labels[rows], scores[rows]))
    found = auc_of(times, scores, labels)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=0.003)
    assert found.high is not None
    assert found.value is not None
    assert (found.high - found.value) / 1.96 == pytest.approx(np.std(drawn_again), rel=0.15)


def test_the_interval_of_auc_of_independent_records_is_delongs() -> None:
    random, widths = np.random.default_rng(7), []
    for _ in range(20):
        times, scores, labels = ranked(random, 0.0)
        alike, plain = auc_of(times, scores, labels), auc_of(np.zeros_like(times), scores, labels)
        assert alike.value == plain.value
        assert alike.high is not None
        assert plain.high is not None
        widths.append((alike.high - (alike.value or 0)) / (plain.high - (plain.value or 0)))
    assert min(widths) >= 1 - 1e-12
    assert np.mean(widths) < 1.08


def test_the_error_of_a_mean_is_that_of_its_blocks() -> None:
    """By numpy: 60 blocks of as many records each, whose means' error it then is."""
    random = np.random.default_rng(3)
    shared = np.repeat(random.uniform(1, 5, BLOCKS), EACH)
    off = shared * random.normal(size=len(shared))
    times = np.arange(len(shared)) * (HOUR // len(shared))
    found = of_numbers(times, off.tolist())["mae"]
    means = np.abs(off).reshape(BLOCKS, EACH).mean(axis=1)
    assert found.value == pytest.approx(means.mean())
    assert found.high == pytest.approx(
        means.mean() + 1.959964 * means.std(ddof=1) / np.sqrt(BLOCKS), rel=1e-6
    )


def test_independent_records_and_few_blocks_have_the_intervals_of_before() -> None:
    random = np.random.default_rng(4)
    off = random.normal(size=900)
    error = np.abs(off).std(ddof=1) / 30
    few = of_numbers(np.sort(random.integers(0, HOUR // 7, 900)), off.tolist())["mae"]
    assert few.high == pytest.approx(np.abs(off).mean() + 1.959964 * error, rel=1e-6)
    widths = []
    for _ in range(40):
        off = random.normal(size=900)
        metric = of_numbers(np.sort(random.integers(0, HOUR, 900)), off.tolist())["mae"]
        assert metric.high is not None
        assert metric.low is not None
        widths.append((metric.high - metric.low) / (2 * 1.959964 * np.abs(off).std(ddof=1) / 30))
    assert min(widths) > 1 - 1e-6
    assert np.mean(widths) < 1.1
