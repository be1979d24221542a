"""Records of one hour are alike, as in a storm: a window of thousands then says what a few hours say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

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
