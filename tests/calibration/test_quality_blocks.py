"""Records of one hour are alike, as in a storm: a window of thousands then says what a few hours say."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.training.expected import Judged, expected_quality
from tests.helpers.labelled import CLASSES, HOUR, T0, binary, counted
from udfs.model.manifest import Output
from udfs.quality.estimated import estimated, gap_of
from udfs.quality.expected import Expected, parse_expected
from udfs.quality.fairness import groups_of
from udfs.quality.params import QualityCount
from udfs.quality.predicted import QualityCounter
from udfs.quality.realized import classes_of, realized
from udfs.quality.records import Gap, GroupReport, Metric
from udfs.rollout.losses import ScoredRow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
BLOCKS, EACH = 60, 30


def inside(metric: Metric, value: float) -> bool:
    assert metric.low is not None
    assert metric.high is not None
    return metric.low <= value <= metric.high


def drawn(random: np.random.Generator, storm: float, lasting: float = 0.0) -> tuple[Ints, Floats]:
    """Times in a window of an hour, and what moves the records of each of its minutes together.

    `lasting` is the correlation of a minute with the next one.
    """
    times = np.sort(random.integers(0, HOUR, BLOCKS * EACH))
    shared = random.normal(0, storm, BLOCKS)
    for minute in range(1, BLOCKS if lasting else 0):
        shared[minute] = lasting * shared[minute - 1] + np.sqrt(1 - lasting**2) * shared[minute]
    return times, shared[times * BLOCKS // HOUR]


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


def ranked(random: np.random.Generator, storm: float, lasting: float = 0.0) -> tuple[Ints, Floats, Flags]:
    """Times, scores and labels: in a storm more records are positive than their scores say, or fewer."""
    times, shared = drawn(random, storm, lasting)
    odds = random.normal(-0.5, 1.2, len(times))
    return times, 1 / (1 + np.exp(-odds)), random.random(len(times)) < 1 / (1 + np.exp(-odds - shared))


def found_of(times: Ints, scores: Floats, labels: Flags) -> dict[str, Metric]:
    rows = [(binary(score), label) for score, label in zip(scores.tolist(), labels.tolist(), strict=True)]
    return realized(counted(rows, times=times))


def measured(scores: Floats, labels: Flags) -> dict[str, float]:
    """Areas by scikit-learn, on the rows; the rest by numpy."""
    said = scores >= 0.4
    both = (said & labels).sum()
    gaps = np.bincount((scores * 15).astype(int), scores - labels)
    return {
        "auc": roc_auc_score(labels, scores),
        "average_precision": average_precision_score(labels, scores),
        "precision": both / said.sum(),
        "recall": both / labels.sum(),
        "f1": 2 * both / (said.sum() + labels.sum()),
        "ece": float(np.abs(gaps).sum() / len(labels)),
    }


def redrawn(times: Ints, random: np.random.Generator, draws: int) -> list[Ints]:
    """The rows of minutes that are drawn with replacement."""
    of_block = [np.flatnonzero(times * BLOCKS // HOUR == block) for block in range(BLOCKS)]
    return [np.concatenate([of_block[i] for i in random.integers(0, BLOCKS, BLOCKS)]) for _ in range(draws)]


def error_in(metric: Metric) -> float:
    assert metric.high is not None
    assert metric.low is not None
    return (metric.high - metric.low) / 2 / 1.959964


@pytest.mark.parametrize("windows", [30, pytest.param(300, marks=pytest.mark.long)])
def test_intervals_of_two_classes_hold_where_records_of_a_minute_are_alike(windows: int) -> None:
    """Those that take records to be independent hold as seldom as in a window of one block."""
    random = np.random.default_rng(5)
    odds, shared = random.normal(-0.5, 1.2, 400_000), random.normal(0, 3.0, 400_000)
    # Positives and negatives of two different minutes, as nearly all pairs of a window are.
    true = measured(1 / (1 + np.exp(-odds)), random.random(400_000) < 1 / (1 + np.exp(-odds - shared)))
    held, alone = (np.zeros((windows, len(true))) for _ in range(2))
    for window in range(windows):
        times, scores, labels = ranked(random, 3.0)
        for into, at in ((held, times), (alone, np.zeros_like(times))):
            found = found_of(at, scores, labels)
            into[window] = [inside(found[name], value) for name, value in true.items()]
    shares = dict(zip(true, held.mean(axis=0), strict=True))
    assert min(shares.values()) >= (0.83 if windows < 100 else 0.9), shares
    assert (alone.mean(axis=0) <= held.mean(axis=0)).all()
    assert (alone.mean(axis=0) < 0.8).sum() >= 3


def test_errors_of_two_classes_are_those_of_a_bootstrap_of_blocks() -> None:
    """On the raw rows, minutes drawn with replacement."""
    random = np.random.default_rng(6)
    times, scores, labels = ranked(random, 3.0)
    again = [measured(scores[rows], labels[rows]) for rows in redrawn(times, random, 200)]
    found = found_of(times, scores, labels)
    for name, value in measured(scores, labels).items():
        assert found[name].value == pytest.approx(value, abs=0.003), name
        assert error_in(found[name]) == pytest.approx(np.std([a[name] for a in again]), rel=0.2), name


@pytest.mark.parametrize("windows", [20, pytest.param(200, marks=pytest.mark.long)])
def test_storms_that_outlast_a_minute_widen_intervals_too(windows: int) -> None:
    """Minutes correlated by .5: as if they were independent, 76% of 200 windows hold average precision."""
    random = np.random.default_rng(11)
    odds, shared = random.normal(-0.5, 1.2, 400_000), random.normal(0, 2.0, 400_000)
    true = measured(1 / (1 + np.exp(-odds)), random.random(400_000) < 1 / (1 + np.exp(-odds - shared)))
    held = np.zeros((windows, len(true)))
    for window in range(windows):
        found = found_of(*ranked(random, 2.0, 0.5))
        held[window] = [inside(found[name], value) for name, value in true.items()]
    shares = dict(zip(true, held.mean(axis=0), strict=True))
    assert min(shares.values()) >= (0.85 if windows < 100 else 0.8), shares


def test_their_errors_are_those_of_a_bootstrap_of_longer_blocks() -> None:
    """Ten minutes in a row, from any on, drawn with replacement (Künsch 1989)."""
    random, errors, again = np.random.default_rng(12), [], []
    for _ in range(3):
        times, scores, labels = ranked(random, 2.0, 0.5)
        minutes = times * BLOCKS // HOUR
        of_minute = [np.flatnonzero(minutes == minute) for minute in range(BLOCKS)]
        drawn_again = []
        for _ in range(80):
            starts = random.integers(0, BLOCKS, BLOCKS // 10)
            chosen = ((starts[:, None] + np.arange(10)) % BLOCKS).ravel()
            rows = np.concatenate([of_minute[minute] for minute in chosen])
            drawn_again.append(list(measured(scores[rows], labels[rows]).values()))
        again.append(np.std(drawn_again, axis=0))
        found = found_of(times, scores, labels)
        errors.append([error_in(found[name]) for name in measured(scores, labels)])
    assert np.mean(errors, axis=0) == pytest.approx(np.mean(again, axis=0), rel=0.25)


def test_the_error_of_the_calibration_of_many_classes_is_that_of_a_bootstrap_of_blocks() -> None:
    random = np.random.default_rng(8)
    times, shared = drawn(random, 1.5)
    others = random.uniform(0.02, 0.3, (len(times), 2))
    scores = 1 - others.sum(axis=1)
    right = random.random(len(times)) < 1 / (1 + np.exp(-shared))
    rows = [
        (
            ScoredRow(
                1, "champion", 1, "multiclass", CLASSES, "car", None, dict(zip(CLASSES, p, strict=True))
            ),
            label,
        )
        for p, label in zip(
            np.column_stack([scores, others]).tolist(), np.where(right, "car", "foot").tolist(), strict=True
        )
    ]
    again = [
        np.abs(np.bincount((scores[i] * 15).astype(int), scores[i] - right[i])).sum() / len(i)
        for i in redrawn(times, random, 400)
    ]
    found = realized(counted(rows, times=times))["ece"]
    assert error_in(found) == pytest.approx(np.std(again), rel=0.15)
    assert error_in(realized(counted(rows))["ece"]) < error_in(found) / 2


def test_intervals_of_independent_records_are_hardly_wider() -> None:
    random, widths = np.random.default_rng(7), []
    for _ in range(20):
        times, scores, labels = ranked(random, 0.0)
        alike, plain = found_of(times, scores, labels), found_of(np.zeros_like(times), scores, labels)
        names = measured(scores, labels)
        assert [alike[name].value for name in names] == [plain[name].value for name in names]
        widths.append([error_in(alike[name]) / error_in(plain[name]) for name in names])
    assert np.min(widths) >= 1 - 1e-12
    assert np.mean(widths, axis=0).max() < 1.08


@pytest.mark.parametrize("windows", [30, pytest.param(200, marks=pytest.mark.long)])
def test_intervals_of_a_quantile_hold_where_errors_of_a_minute_are_alike(windows: int) -> None:
    random = np.random.default_rng(9)
    error = random.normal(0, np.hypot(1.0, 1.0), 400_000)
    true = {"bias": 0.0, "quantile_coverage": 0.5, "pinball": np.maximum(-0.9 * error, 0.1 * error).mean()}
    held, alone = (np.zeros((windows, len(true))) for _ in range(2))
    for window in range(windows):
        times, shared = drawn(random, 1.0)
        off = (shared + random.normal(size=len(shared))).tolist()
        rows = [(ScoredRow(1, "champion", 1, "regression", (), e), 0.0) for e in off]
        for into, at in ((held, times), (alone, np.zeros_like(times))):
            found = realized(counted(rows, times=at), 0.9)
            into[window] = [inside(found[name], value) for name, value in true.items()]
    assert held.mean(axis=0).min() >= (0.83 if windows < 100 else 0.9)
    assert alone.mean(axis=0).max() < 0.7


def stormy(random: np.random.Generator, storm: float, worse: float = 0.0) -> tuple[Ints, Floats, Flags]:
    """Scores that are right about all minutes together: probits have a closed form. Then all are `worse`."""
    times, shared = drawn(random, storm)
    odds = random.normal(-0.5, 1.2, len(times))
    chance = (1 - worse) * norm.cdf(odds + shared) + worse * 0.5
    return times, norm.cdf(odds / np.hypot(1.0, storm)), random.random(len(times)) < chance


def gap_in(times: Ints, scores: Floats, labels: Flags, kind: str) -> Gap:
    rows: list[tuple[ScoredRow, object]] = []
    for score, label in zip(scores.tolist(), labels.tolist(), strict=True):
        if kind == "binary":
            rows.append((binary(score), label))
        else:
            said, chances = "yes" if score > 0.5 else "no", {"no": 1 - score, "yes": score}
            one = ScoredRow(1, "champion", 1, kind, ("no", "yes"), said, None, chances)
            rows.append((one, "yes" if label else "no"))
    found = gap_of(counted(rows, times=times), 0.1)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("windows", [15, pytest.param(400, marks=pytest.mark.long)])
def test_a_storm_is_no_change_of_concept_and_a_change_within_storms_is(windows: int, kind: str) -> None:
    """Some 5% of gaps are to be beyond 1.96 errors; as if independent, five times as many are."""
    random = np.random.default_rng(10)
    beyond, alone, found = [], [], []
    for _ in range(windows):
        times, scores, labels = stormy(random, 1.5)
        beyond.append(abs(gap_in(times, scores, labels, kind).z))
        alone.append(abs(gap_in(np.zeros_like(times), scores, labels, kind).z))
        gap = gap_in(*stormy(random, 1.5, worse=0.7), kind)
        found.append(gap.changed and gap.worse)
    assert np.mean(np.array(beyond) > 1.96) <= (0.15 if windows < 100 else 0.08)
    assert np.mean(np.array(alone) > 1.96) >= 0.2
    assert max(beyond) < 3 < max(alone)
    assert np.mean(found) >= 0.95


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


def of_sizes(random: np.random.Generator, storm: float, n: int = 0) -> tuple[Ints, Floats, Floats]:
    """Times, predictions and labels: errors are as large as the prediction, and larger in storms."""
    times, shared = drawn(random, storm)
    if n:
        shared = random.normal(0, storm, n)
    said = random.uniform(1, 7, len(shared))
    return times, said, said + said * np.exp(shared) * random.normal(size=len(shared))


def known_of(said: Floats, came: Floats) -> Expected:
    """As training knows it."""
    times = np.datetime64("2026-01-01", "ms") + np.arange(len(said)) * np.timedelta64(1_000, "ms")
    data = expected_quality(Judged(said, came, times), Output(kind="regression"), calibrated=True)
    assert data is not None
    return parse_expected(data)


def gap_of_numbers(times: Ints, said: Floats, came: Floats, expected: Expected) -> Gap:
    assert expected.losses is not None
    leaves = expected.losses.leaves({"prediction": said})
    rows = [
        (ScoredRow(1, "champion", 1, "regression", (), s, cell=leaf), label)
        for s, leaf, label in zip(said.tolist(), leaves.tolist(), came.tolist(), strict=True)
    ]
    found = gap_of(counted(rows, times=times), 0.1, expected)
    assert found is not None
    return found


@pytest.mark.parametrize("windows", [15, pytest.param(400, marks=pytest.mark.long)])
def test_a_storm_of_large_errors_is_no_change_of_concept_and_a_change_within_is(windows: int) -> None:
    """Of regressions: what comes is right on the whole, minute by minute it is not."""
    random = np.random.default_rng(13)
    _, *known = of_sizes(random, 0.7, 60_000)
    expected, beyond, alone, found = known_of(*known), [], [], []
    for _ in range(windows):
        times, said, came = of_sizes(random, 0.7)
        beyond.append(abs(gap_of_numbers(times, said, came, expected).z))
        alone.append(abs(gap_of_numbers(np.zeros_like(times), said, came, expected).z))
        times, said, came = of_sizes(random, 0.7)
        gap = gap_of_numbers(times, said, said + 2.2 * (came - said), expected)
        found.append(gap.changed and gap.worse)
    assert np.mean(np.array(beyond) > 1.96) <= (0.2 if windows < 100 else 0.09)
    assert np.mean(np.array(alone) > 1.96) >= 0.2
    assert np.mean(np.array(beyond) > 3) <= 0.015
    assert np.mean(found) >= 0.85


def test_the_error_of_such_a_gap_is_that_of_a_bootstrap_of_blocks() -> None:
    random = np.random.default_rng(14)
    expected = known_of(*of_sizes(random, 0.7, 60_000)[1:])
    assert expected.losses is not None
    times, said, came = of_sizes(random, 0.7)
    usual = np.array(expected.losses.absolute)[expected.losses.leaves({"prediction": said})]
    parted = np.abs(came - said) - usual
    again = np.std([parted[rows].mean() for rows in redrawn(times, random, 400)])
    error = gap_of_numbers(times, said, came, expected).error
    assert error == pytest.approx(again, rel=0.2)
    assert gap_of_numbers(np.zeros_like(times), said, came, expected).error < error


@pytest.mark.parametrize("windows", [25, pytest.param(300, marks=pytest.mark.long)])
def test_intervals_of_each_class_hold_where_records_of_a_minute_are_alike(windows: int) -> None:
    """Two classes of three: a storm turns what is right of all of its records."""
    random = np.random.default_rng(15)
    held, alone = (np.zeros((windows, 4)) for _ in range(2))
    for window in range(windows):
        times, shared = drawn(random, 1.5)
        said = random.choice(CLASSES[:2], len(times))
        right = random.random(len(times)) < norm.cdf(shared)
        labels = np.where(right, said, np.where(said == "car", "foot", "car"))
        rows: list[tuple[ScoredRow, object]] = [
            (ScoredRow(1, "champion", 1, "multiclass", CLASSES, s, None, dict.fromkeys(CLASSES, 1 / 3)), y)
            for s, y in zip(said.tolist(), labels.tolist(), strict=True)
        ]
        for into, at in ((held, times), (alone, np.zeros_like(times))):
            classes = {each.label: each for each in classes_of(counted(rows, times=at))}
            metrics = [m for name in CLASSES[:2] for m in (classes[name].recall, classes[name].precision)]
            into[window] = [inside(metric, 0.5) for metric in metrics]
    assert held.mean() >= (0.85 if windows < 100 else 0.9), held.mean(axis=0)
    assert alone.mean() < 0.75


def grouped(random: np.random.Generator) -> tuple[Ints, Floats, Flags]:
    """Times, scores and labels of a group: a storm moves scores, and what comes of them."""
    times, shared = drawn(random, 1.0)
    odds = shared + random.normal(0, 1.0, len(times))
    return times, norm.cdf(odds), random.random(len(times)) < norm.cdf(odds - shared / 2)


def group_of(times: Ints, scores: Floats, labels: Flags) -> GroupReport:
    counter = QualityCounter(QualityCount(HOUR))
    columns = {"prediction": pa.array(scores > 0.6), "score": pa.array(scores)}
    counter.predicted(1, ("binary", (False, True)), columns, {}, T0 + times)
    predicted = counter.take_report().predicted[T0, 1, None, None]
    rows = [(binary(s, s > 0.6), y) for s, y in zip(scores.tolist(), labels.tolist(), strict=True)]
    found = groups_of("sex", {"f": (predicted, counted(rows, times=times))})
    assert found is not None
    return found.groups[0]


RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


@pytest.mark.parametrize("windows", [25, pytest.param(300, marks=pytest.mark.long)])
def test_intervals_of_groups_hold_where_records_of_a_minute_are_alike(windows: int) -> None:
    random = np.random.default_rng(16)
    shared, noise = random.normal(0, 1.0, 400_000), random.normal(0, 1.0, 400_000)
    said, labels = norm.cdf(shared + noise) > 0.6, random.random(400_000) < norm.cdf(noise + shared / 2)
    true = (said.mean(), said[labels].mean(), said[~labels].mean())
    held, alone = (np.zeros((windows, 3)) for _ in range(2))
    for window in range(windows):
        times, scores, came = grouped(random)
        for into, at in ((held, times), (alone, np.zeros_like(times))):
            group = group_of(at, scores, came)
            into[window] = [inside(getattr(group, n), v) for n, v in zip(RATES, true, strict=True)]
    assert held.mean(axis=0).min() >= (0.83 if windows < 100 else 0.9), held.mean(axis=0)
    assert alone.mean(axis=0).max() < 0.8, alone.mean(axis=0)


@pytest.mark.parametrize("windows", [25, pytest.param(300, marks=pytest.mark.long)])
def test_intervals_of_an_estimate_hold_what_comes_of_storms_as_training_had_them(windows: int) -> None:
    """Training saw 20 stretches of as many records as a window has, each with storms of its own."""
    random, held, alone = np.random.default_rng(18), [], []
    parts = [of_sizes(random, 0.7) for _ in range(20)]
    expected = known_of(np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts]))
    assert expected.losses is not None
    for _ in range(windows):
        times, said, came = of_sizes(random, 0.7)
        counter = QualityCounter(QualityCount(HOUR))
        leaves = expected.losses.leaves({"prediction": said})
        columns = {"prediction": pa.array(said), "cell": pa.array(leaves)}
        counter.predicted(1, ("regression", ()), columns, {}, T0 + times)
        counts = counter.take_report().predicted[T0, 1, None, None]
        value = float(np.abs(said - came).mean())
        held.append(inside(estimated(counts, expected)["mae"], value))
        independent = msgspec.structs.replace(expected, reference=None)
        alone.append(inside(estimated(counts, independent)["mae"], value))
    assert np.mean(held) >= 0.85, np.mean(held)
    assert np.mean(alone) < 0.75, np.mean(alone)
