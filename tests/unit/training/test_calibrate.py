"""The choice of a calibration, on scores whose error is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from flink_jobs.training.calibrate import LEAST_ROWS, choose
from flink_jobs.training.data import LabelledRows
from flink_jobs.training.measures import briers, log_losses, measure, predicted
from udfs.model.manifest import Output

BINARY = Output(kind="binary", classes=(False, True))


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Says that the probability is its input to the power of `sharpness`: right for 1."""

    def __init__(self, sharpness: float = 1.0) -> None:
        self.sharpness = sharpness

    def fit(self, rows: Any, labels: Any) -> Given:
        self.classes_ = np.array([False, True])
        self.n_features_in_ = 1
        return self

    def predict_proba(self, rows: Any) -> Any:
        score = np.asarray(rows)[:, 0] ** self.sharpness
        return np.column_stack([1 - score, score])

    def predict(self, rows: Any) -> Any:
        return self.predict_proba(rows)[:, 1] >= 0.5


def held_out(count: int, seed: int = 0) -> LabelledRows:
    """Rows whose label is true with the probability that is their only input."""
    random = np.random.default_rng(seed)
    odds = random.random(count)
    labels = random.random(count) < odds
    return LabelledRows(pa.table({"odds": odds}), labels, np.arange(count).astype("datetime64[ms]"))


def test_wrong_probabilities_are_corrected_and_judged_on_later_rows() -> None:
    rows = held_out(6000)
    model = Given(4.0).fit(None, None)
    choice = choose(model, rows, BINARY)
    assert choice.method == "isotonic"
    assert choice.judged.tolist() == [False] * 3000 + [True] * 3000
    assert choice.numbers["log_loss_gain"] > 2 * choice.numbers["log_loss_gain_error"] > 0
    later = rows.where(choice.judged)
    said = predicted(choice.model, later.frame(), BINARY)
    assert np.abs(said - later.inputs.column("odds").to_numpy()).mean() < 0.04
    better, worse = (
        measure(predicted(each, later.frame(), BINARY), later.labels, BINARY, "x")
        for each in (choice.model, model)
    )
    assert better["log_loss"] < worse["log_loss"]
    assert choice.numbers["log_loss_gain"] == pytest.approx(worse["log_loss"] - better["log_loss"])
    assert choice.numbers["brier_gain"] == pytest.approx(worse["brier"] - better["brier"])


@pytest.mark.parametrize("seed", range(5))
def test_right_probabilities_stay_and_all_rows_judge(seed: int) -> None:
    choice = choose(Given().fit(None, None), held_out(4000, seed), BINARY)
    assert choice.method == "none"
    assert choice.judged.all()
    assert isinstance(choice.model, Given)


def test_too_few_rows_to_fit_a_correction_on() -> None:
    choice = choose(Given(4.0).fit(None, None), held_out(2 * LEAST_ROWS - 2), BINARY)
    assert (choice.method, choice.numbers) == ("none", {})
    assert choice.reason == "999 rows to fit it on are fewer than 1,000"


def test_losses_of_more_than_two_classes() -> None:
    output = Output(kind="multiclass", classes=("a", "b", "c"))
    said = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    labels = np.array(["a", "c"])
    assert log_losses(said, labels, output) == pytest.approx([np.log(2), 0])
    assert briers(said, labels, output) == pytest.approx([0.375, 0])
    assert measure(said, labels, output, "x")["accuracy"] == 1
