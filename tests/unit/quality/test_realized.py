"""Metrics from counts beside scikit-learn's from the records, which knows nothing of bins."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from tests.helpers.labelled import ANOMALIES, BINARY, CLASSES, MANY, NUMBERS, counted, counts_in_parts
from udfs.quality.counts import Labelled, LabelsKey, QualityReport, decode_report, encode_report
from udfs.quality.intervals import wilson
from udfs.quality.realized import classes_of, curve_of, delay_quantile, realized
from udfs.rollout.losses import ScoredRow

TRUTH = [label for _, label in BINARY]
SCORES = [row.score or 0.0 for row, _ in BINARY]
SAID = [row.prediction for row, _ in BINARY]


def test_metrics_of_two_classes_are_those_of_scikit_learn() -> None:
    found = realized(counted(BINARY))
    expected = {
        "log_loss": metrics.log_loss(TRUTH, SCORES),
        "brier": metrics.brier_score_loss(TRUTH, SCORES),
        "accuracy": metrics.accuracy_score(TRUTH, SAID),
        "precision": metrics.precision_score(TRUTH, SAID),
        "recall": metrics.recall_score(TRUTH, SAID),
        "f1": metrics.f1_score(TRUTH, SAID),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


def test_areas_are_within_what_bins_may_hide() -> None:
    found = realized(counted(BINARY))
    for name, value in (
        ("auc", metrics.roc_auc_score(TRUTH, SCORES)),
        ("average_precision", metrics.average_precision_score(TRUTH, SCORES)),
    ):
        metric = found[name]
        assert metric.value is not None
        assert metric.binned is not None
        assert abs(metric.value - value) <= metric.binned
    assert (found["auc"].binned or 1) < 2e-3


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_areas_of_rare_events_are_as_fine(spread: float) -> None:
    """Scores that all lie next to 0, as those of frauds do: bins of equal width would see one."""
    scores = np.array(SCORES) * spread
    found = realized(counted(BINARY, scores=scores.tolist()))["auc"]
    expected = metrics.roc_auc_score(TRUTH, scores)
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert abs((found.value or 0) - expected) <= (found.binned or 0)


def test_auc_of_scores_of_two_decimals_is_exact() -> None:
    scores = np.round(SCORES, 2)
    found = realized(counted(BINARY, scores=scores.tolist()))
    assert found["auc"].value == pytest.approx(metrics.roc_auc_score(TRUTH, scores), abs=1e-12)
    expected = metrics.average_precision_score(TRUTH, scores)
    assert found["average_precision"].value == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_auc_is_delongs() -> None:
    """From all pairs of records, as DeLong et al. (1988) write it."""
    truth, scores = np.array(TRUTH), np.round(SCORES, 2)
    ones, zeros = scores[truth], scores[~truth]
    won = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
    error = math.sqrt(won.mean(axis=1).var(ddof=1) / len(ones) + won.mean(axis=0).var(ddof=1) / len(zeros))
    found = realized(counted(BINARY, scores=scores.tolist()))["auc"]
    assert found.low == pytest.approx(won.mean() - 1.959963984540054 * error, abs=1e-12)
    assert found.high == pytest.approx(won.mean() + 1.959963984540054 * error, abs=1e-12)


def test_wilsons_interval_is_that_of_scipy() -> None:
    for count, n in ((0, 10), (3, 7), (500, 1000), (10, 10)):
        expected = binomtest(count, n).proportion_ci(method="wilson")
        assert wilson(count, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_calibration_curve_is_that_of_scikit_learn() -> None:
    positive, score = calibration_curve(TRUTH, SCORES, n_bins=15)
    points = curve_of(counted(BINARY))
    assert [p.positive for p in points] == pytest.approx(positive.tolist())
    assert [p.score for p in points] == pytest.approx(score.tolist())
    n = np.array([p.n for p in points])
    expected = float((np.abs(positive - score) * n).sum() / n.sum())
    assert realized(counted(BINARY))["ece"].value == pytest.approx(expected)


def test_many_classes() -> None:
    truth, said = [label for _, label in MANY], [row.prediction for row, _ in MANY]
    probabilities = [[(row.probabilities or {})[name] for name in CLASSES] for row, _ in MANY]
    counts = counted(MANY)
    found = realized(counts)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(truth, said))
    expected = metrics.log_loss(truth, probabilities, labels=list(CLASSES))
    assert found["log_loss"].value == pytest.approx(expected)
    recalls = metrics.recall_score(truth, said, average=None, labels=list(CLASSES))
    precisions = metrics.precision_score(truth, said, average=None, labels=list(CLASSES))
    classes = classes_of(counts)
    assert [c.label for c in classes] == list(CLASSES)
    assert [c.recall.value for c in classes] == pytest.approx(recalls.tolist())
    assert [c.precision.value for c in classes] == pytest.approx(precisions.tolist())


def test_numbers() -> None:
    truth = np.array([label for _, label in NUMBERS])
    said = np.array([row.prediction for row, _ in NUMBERS])
    found = realized(counted(NUMBERS), quantile=0.9)
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(truth, said))
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(truth, said))
    assert found["bias"].value == pytest.approx(float(np.mean(said - truth)))
    assert found["pinball"].value == pytest.approx(metrics.mean_pinball_loss(truth, said, alpha=0.9))
    assert found["quantile_coverage"].value == pytest.approx(float(np.mean(truth <= said)))
    for name, errors in (("mae", np.abs(said - truth)), ("bias", said - truth)):
        half = 1.959963984540054 * errors.std(ddof=1) / math.sqrt(len(errors))
        assert found[name].high == pytest.approx(errors.mean() + half, rel=1e-6)
    losses = np.maximum(0.9 * (truth - said), -0.1 * (truth - said))
    half = 1.959963984540054 * losses.std(ddof=1) / math.sqrt(len(losses))
    assert found["pinball"].high == pytest.approx(losses.mean() + half, rel=1e-6)


def test_anomalies_have_scores_of_any_size() -> None:
    truth, scores = [label for _, label in ANOMALIES], [row.score or 0.0 for row, _ in ANOMALIES]
    found = realized(counted(ANOMALIES))
    expected = metrics.roc_auc_score(truth, scores)
    assert found["auc"].value == pytest.approx(expected, abs=found["auc"].binned)
    said = [row.prediction for row, _ in ANOMALIES]
    assert found["recall"].value == pytest.approx(metrics.recall_score(truth, said))
    assert "log_loss" not in found


def test_no_change_is_beaten_by_what_sees_the_change() -> None:
    """Labels that alternate hour after hour: staying as it was is right about all but at the changes."""
    labels = [(i // 100) % 2 == 0 for i in range(1_200)]
    rows = [(BINARY[0][0], label) for label in labels]
    found = realized(counted(rows, times=np.arange(1_200) * 3_000))
    # 60 slots of a minute, of 20 records each; labels change after each fifth slot.
    assert found["no_change_accuracy"].value == pytest.approx(1 - 11 * 20 / (59 * 20))
    accuracy, baseline = found["accuracy"].value or 0, found["no_change_accuracy"].value or 0
    assert found["kappa_temporal"].value == pytest.approx((accuracy - baseline) / (1 - baseline))


def test_delays() -> None:
    delays = np.random.default_rng(8).lognormal(16, 1, 5_000).astype(int)
    counts = counted(BINARY[:5_000], delays=delays.tolist()).delays
    for share in (0.5, 0.9):
        expected = float(np.quantile(delays[: len(BINARY)], share))
        assert delay_quantile(counts, share) == pytest.approx(expected, rel=1 / 128)


@pytest.mark.parametrize(
    "rows", [BINARY, MANY, NUMBERS, ANOMALIES], ids=["two", "many", "numbers", "anomaly"]
)
@pytest.mark.parametrize("parts", [1, 7, 40])
def test_counts_are_the_same_however_the_work_is_split(rows: object, parts: int) -> None:
    """Two workers, and forty, that each saw other records in another order: the same bytes."""
    assert counts_in_parts(rows, parts) == counts_in_parts(rows, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [BINARY, MANY, NUMBERS], ids=["two", "many", "numbers"])
def test_counts_of_an_older_release_go_on(rows: list[tuple[ScoredRow, object]]) -> None:
    """A savepoint in the middle of a window: its blocks had no decisions, and many classes no ranks."""
    times = np.arange(len(rows)) * 1_000
    whole = realized(counted(rows, times=times), 0.9)
    old, new = (counted(rows[part::2], times=times[part::2]) for part in range(2))
    shorter = msgspec.structs.replace(
        old,
        blocks={slot: row[:4] for slot, row in old.blocks.items()},
        ranks={} if old.kind == "multiclass" else old.ranks,
    )
    at = LabelsKey(0, (0, 1, None, None))
    known = decode_report(encode_report(QualityReport(labelled={at: shorter}))).labelled[at]
    assert known.merged(new) == new.merged(known)
    found, alone = realized(known.merged(new), 0.9), realized(known, 0.9)
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(
        {name: metric.value for name, metric in whole.items()}
    )
    assert found["log_loss" if old.kind != "regression" else "mae"].high == pytest.approx(
        whole["log_loss" if old.kind != "regression" else "mae"].high
    )
    for name in {"precision", "recall", "quantile_coverage"} & set(found):
        for one, counts in ((found, known.merged(new)), (alone, known)):
            n = {"precision": counts.decisions[1], "recall": counts.decisions[0]}.get(name, counts.rows)
            value = one[name].value or 0.0
            assert (one[name].low, one[name].high) == pytest.approx(wilson(value * n, n))


def test_without_labels_nothing_is_said() -> None:
    assert realized(Labelled("binary")) == {}
    one_sided = realized(counted([(row, True) for row, _ in BINARY[:50]]))
    assert "auc" not in one_sided
    assert one_sided["recall"].value is not None
