"""What training says of a version's errors, beside scikit-learn's isotonic regression and plain draws."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.tree import DecisionTreeRegressor

from flink_jobs.training.expected import LEAF_ROWS, LEAVES, Judged, expected_quality
from udfs.errors import ModelError
from udfs.model.manifest import Output
from udfs.quality.expected import Expected, parse_expected

NUMBERS, TWO = Output(kind="regression"), Output(kind="binary", classes=(False, True))
MANY = Output(kind="multiclass", classes=("a", "b"))


TREE: dict[str, Any] = {
    "inputs": ["prediction"],
    "feature": [0, -1, -1],
    "threshold": [1.0, -2.0, -2.0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "missing_left": [True, False, False],
    "absolute": [1.0, 1.0, 1.0],
    "squared": [1.0, 1.0, 1.0],
    "fourth": [1.0, 1.0, 1.0],
}


def times(n: int) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    return np.datetime64("2026-01-01", "ms") + np.arange(n) * np.timedelta64(60_000, "ms")


def judged(said: Any, labels: Any) -> Judged:
    return Judged(np.asarray(said), np.asarray(labels), times(len(labels)))


def found(rows: Judged, output: Output, *, calibrated: bool = True) -> Expected:
    data = expected_quality(rows, output, calibrated=calibrated)
    assert data is not None
    return parse_expected(data)


def test_errors_of_a_regression_are_those_of_records_like_these() -> None:
    """Errors as large as an input, which may be missing: scikit-learn's leaves, and a normal's moments."""
    random = np.random.default_rng(1)
    wide = random.uniform(1, 9, 20_000)
    seen = np.where(random.random(20_000) < 0.1, np.nan, wide)
    wide = np.where(np.isnan(seen), 20.0, wide)
    said = random.normal(0, 100, 20_000)
    rows = Judged(
        said, said + random.normal(0, wide), times(20_000), {"seen": seen, "luck": random.random(20_000)}
    )
    losses = found(rows, NUMBERS).losses
    assert losses is not None
    columns = dict(rows.inputs) | {"prediction": said}
    leaves = losses.leaves(columns)
    values = np.column_stack([columns[name] for name in losses.inputs])
    tree = DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=LEAF_ROWS, random_state=0)
    tree.fit(values, np.abs(said - rows.labels))
    assert leaves.tolist() == tree.apply(values).tolist()
    assert np.array(losses.absolute)[leaves] == pytest.approx(tree.predict(values))
    for value in (3.0, 6.0, np.nan):
        some = {name: np.full(200, value) for name in losses.inputs} | {"prediction": said[:200]}
        at = losses.leaves(some | {"luck": random.random(200)})
        spread = 20.0 if np.isnan(value) else value
        assert np.mean(np.array(losses.absolute)[at]) == pytest.approx(spread * np.sqrt(2 / np.pi), rel=0.12)
        assert np.mean(np.array(losses.squared)[at]) == pytest.approx(spread**2, rel=0.25)
        assert np.mean(np.array(losses.fourth)[at]) == pytest.approx(3 * spread**4, rel=0.5)


def scores(n: int, power: float) -> Judged:
    """Scores that say p where p**power is true."""
    random = np.random.default_rng(3)
    said = random.beta(1, 3, n)
    return judged(said, random.random(n) < said**power)


def test_scores_that_are_not_calibrated_get_the_isotonic_of_scikit_learn() -> None:
    rows = scores(20_000, 0.5)
    made = found(rows, TWO, calibrated=False).calibration
    assert made is not None
    own = IsotonicRegression(out_of_bounds="clip").fit(rows.said, rows.labels)
    later = scores(30_000, 0.5)
    said, labels = later.said[20_000:], later.labels[20_000:]
    ours = np.array([made.at(score) for score in said.tolist()])
    theirs = np.clip(own.predict(said), 1e-6, 1 - 1e-6)
    assert np.abs(ours - np.sqrt(said)).mean() < 0.02
    assert np.abs(ours - theirs).mean() < 0.03
    assert log_loss(labels, ours) < log_loss(labels, theirs) + 0.001
    assert log_loss(labels, ours) < log_loss(labels, said) - 0.05


def test_scores_that_are_calibrated_stay_as_they_are() -> None:
    assert found(scores(20_000, 1.0), TWO, calibrated=False).calibration is None
    assert found(scores(20_000, 0.5), TWO, calibrated=True).calibration is None
    assert found(scores(1_500, 0.5), TWO, calibrated=False).calibration is None


def test_the_reference_is_that_of_all_rows_and_how_much_blocks_differ() -> None:
    """Without any change in time blocks differ by chance alone; with one by that too."""
    rows = scores(20_000, 1.0)
    reference = found(rows, TWO).reference
    assert reference is not None
    assert (reference.metric, reference.blocks) == ("auc", 20)
    assert reference.value == pytest.approx(roc_auc_score(rows.labels, rows.said))
    assert reference.between < 0.01
    random = np.random.default_rng(4)
    said = random.normal(0, 1, 20_000)
    daily = np.repeat(random.uniform(1, 3, 20), 1_000)
    of_numbers = found(judged(said, said + random.normal(0, daily)), NUMBERS).reference
    assert of_numbers is not None
    assert of_numbers.between == pytest.approx(
        (daily * np.sqrt(2 / np.pi)).reshape(20, -1)[:, 0].std(ddof=1), rel=0.1
    )
    chances = np.column_stack([said > 0, said <= 0]) * 0.8 + 0.1
    labels = np.where(
        random.random(20_000) < 0.75, np.where(said > 0, "a", "b"), np.where(said > 0, "b", "a")
    )
    of_many = found(judged(chances, labels), MANY).reference
    assert of_many is not None
    assert (of_many.metric, of_many.value) == ("accuracy", pytest.approx(0.75, abs=0.01))


@pytest.mark.parametrize("versions", [100, pytest.param(300, marks=pytest.mark.long)])
def test_windows_that_are_like_training_are_within_its_limits(versions: int) -> None:
    """So many versions, and a window each that is as hard as blocks are: one in a thousand may be out."""
    random, outside = np.random.default_rng(6), 0
    for _ in range(versions):
        hardness = np.repeat(random.uniform(1, 1.5, 11), 200)
        off = random.normal(0, hardness)
        reference = found(judged(np.zeros(2_000), off[:2_000]), NUMBERS).reference
        assert reference is not None
        window = np.abs(off[2_000:])
        error = window.std() / np.sqrt(200)
        spread = np.sqrt(reference.between**2 + reference.error**2 + error**2)
        outside += window.mean() > reference.value + stats.t(reference.blocks - 1).ppf(0.999) * spread
    assert stats.binomtest(int(outside), versions, 0.001, "greater").pvalue > 0.001


def test_of_few_rows_nothing_is_said() -> None:
    assert expected_quality(scores(400, 0.5), TWO, calibrated=False) is None
    assert expected_quality(judged(np.zeros(60), np.zeros(60)), NUMBERS, calibrated=True) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "tailrace.expected/2"},
        {"rows": 0},
        {"losses": TREE | {"absolute": [1.0]}},
        {"losses": TREE | {"absolute": [1.0, -1.0, 1.0]}},
        {"losses": TREE | {"feature": [1, -1, -1]}},
        {"losses": TREE | {"left": [0, -1, -1]}},
        {"losses": TREE | {"right": [3, -1, -1]}},
        {"losses": {name: [] for name in TREE}},
        {"calibration": {"scores": [], "positive": []}},
        {"calibration": {"scores": [0.1, 0.2], "positive": [0.4, 0.3]}},
        {"calibration": {"scores": [0.1], "positive": [1.4]}},
        {"reference": {"metric": "auc", "value": 1, "error": -1, "between": 0, "blocks": 9}},
        {"reference": {"metric": "luck", "value": 1, "error": 1, "between": 0, "blocks": 9}},
    ],
)
def test_a_broken_file_is_an_error(change: dict[str, Any]) -> None:
    data = msgspec.json.encode({"schema": "tailrace.expected/1", "rows": 9} | change)
    with pytest.raises(ModelError, match=r"expected.json must be of tailrace.expected/1"):
        parse_expected(data)
