"""Errors of regressions before labels come: beside NannyML's own estimates, and what came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from flink_jobs.training.expected import LEAVES, Judged, expected_quality
from tests.helpers.labelled import HOUR, T0, counted
from udfs.model.manifest import Output
from udfs.quality.counts import Labelled, Predicted
from udfs.quality.estimated import estimated, gap_of
from udfs.quality.expected import Expected, parse_expected
from udfs.quality.params import QualityCount
from udfs.quality.predicted import QualityCounter
from udfs.quality.realized import realized
from udfs.quality.records import Gap, Metric
from udfs.rollout.losses import ScoredRow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ORACLE = json.loads((Path(__file__).parents[2] / "oracles" / "loss.json").read_text())
CHUNKS = ORACLE["chunks"]


def known(said: Any, came: Any, inputs: Mapping[str, Any] | None = None) -> Expected:
    """As training knows it, of rows that the model was not fitted on."""
    said, came = np.asarray(said, np.float64), np.asarray(came, np.float64)
    times = np.datetime64("2026-01-01", "ms") + np.arange(len(said)) * np.timedelta64(1_000, "ms")
    columns = {name: np.asarray(column, np.float64) for name, column in (inputs or {}).items()}
    rows = Judged(said, came, times, columns)
    data = expected_quality(rows, Output(kind="regression"), calibrated=True)
    assert data is not None
    return parse_expected(data)


def leaves_of(expected: Expected, said: Any, inputs: Mapping[str, Any] | None = None) -> Ints:
    assert expected.losses is not None
    columns = {**(inputs or {}), "prediction": said}
    return expected.losses.leaves({name: np.asarray(column, np.float64) for name, column in columns.items()})


def predicted(leaves: Ints, parts: int = 1) -> Predicted:
    """As workers count it, each a part."""
    total: Predicted | None = None
    for part in np.array_split(leaves, parts):
        counter = QualityCounter(QualityCount(HOUR))
        columns = {"prediction": pa.array(np.ones(len(part))), "cell": pa.array(part)}
        counter.predicted(1, ("regression", ()), columns, {}, np.full(len(part), T0))
        found = counter.take_report().predicted[T0, 1, None, None]
        total = found.merged(total) if total else found
    assert total is not None
    return total


def labelled(leaves: Ints, said: Any, came: Any) -> Labelled:
    rows = zip(leaves.tolist(), said, came, strict=True)
    return counted(
        [(ScoredRow(1, "champion", 1, "regression", (), float(s), cell=n), float(c)) for n, s, c in rows]
    )


def of_all(said: Any, expected: Expected) -> dict[str, Metric]:
    return estimated(predicted(leaves_of(expected, said)), expected)


def gap_in(said: Any, came: Any, expected: Expected, least: float = 0.1) -> Gap:
    gap = gap_of(labelled(leaves_of(expected, said), said, came), least, expected)
    assert gap is not None
    return gap


REFERENCE = known(**ORACLE["reference"])


def of_chunk(chunk: dict[str, Any]) -> dict[str, Metric]:
    return estimated(predicted(leaves_of(REFERENCE, chunk["said"], chunk["inputs"])), REFERENCE)


@pytest.mark.parametrize("chunk", CHUNKS, ids=range(len(CHUNKS)))
def test_estimates_are_near_those_of_nannyml(chunk: dict[str, Any]) -> None:
    """It boosts trees of all inputs; ours is one small tree of those that are numbers."""
    found = of_chunk(chunk)
    for name, value in chunk["estimated"].items():
        assert found[name].value == pytest.approx(value, rel=0.03), name
    leaves = np.zeros(len(chunk["said"]), np.int64)
    of_labels = realized(labelled(leaves, chunk["said"], chunk["came"]))
    for name, value in chunk["realized"].items():
        assert of_labels[name].value == pytest.approx(value, rel=1e-9), name


def test_estimates_are_as_near_to_what_came_as_those_of_nannyml() -> None:
    """The numbers of docs/quality.md: ours, NannyML's, and what was usual in training."""
    distances = {}
    for name in ("mae", "rmse"):
        came = np.array([chunk["realized"][name] for chunk in CHUNKS])
        ours = np.array([of_chunk(chunk)[name].value for chunk in CHUNKS], np.float64)
        theirs = np.array([chunk["estimated"][name] for chunk in CHUNKS])
        sides = (ours, theirs, known_mean(name))
        distances[name] = [round(float(np.abs(each - came).mean())) for each in sides]
    assert distances == {"mae": [42, 43, 63], "rmse": [44, 38, 61]}


def known_mean(name: str) -> float:
    off = np.subtract(*(np.array(ORACLE["reference"][key], np.float64) for key in ("said", "came")))
    return float(np.abs(off).mean() if name == "mae" else np.sqrt((off**2).mean()))


def hetero(random: np.random.Generator, n: int, centre: float, spread: float = 1.0) -> tuple[Floats, Floats]:
    """Errors as large as the prediction."""
    said = random.uniform(centre - 1, centre + 1, n)
    return said, said + spread * random.normal(0, said)


@pytest.mark.parametrize(("count", "least"), [(60, 0.9), pytest.param(300, 0.92, marks=pytest.mark.long)])
def test_intervals_hold_what_comes_as_often_as_they_say(count: int, least: float) -> None:
    """So many versions, and a window of each whose predictions moved: 95% of what came lies within."""
    random, within = np.random.default_rng(3), {"mae": 0, "rmse": 0}
    for _ in range(count):
        wide = random.uniform(1, 7, 4_000)
        expected = known(wide, wide + random.normal(0, wide))
        said, came = hetero(random, 500, 5.0)
        found, off = of_all(said, expected), said - came
        for name, value in (("mae", np.abs(off).mean()), ("rmse", np.sqrt((off**2).mean()))):
            metric = found[name]
            assert metric.low is not None
            assert metric.high is not None
            within[name] += metric.low <= value <= metric.high
    assert least <= within["mae"] / count <= 0.98
    assert least - 0.01 <= within["rmse"] / count <= 0.98


def test_it_sees_harder_records_and_is_blind_to_a_changed_world_until_labels_come() -> None:
    random = np.random.default_rng(4)
    wide = random.uniform(1, 7, 10_000)
    expected = known(wide, wide + random.normal(0, wide))
    easy, hard = (hetero(random, 2_000, centre) for centre in (2.0, 6.0))
    values = [of_all(said, expected)["mae"].value for said, _ in (easy, hard)]
    assert values == pytest.approx([2 * np.sqrt(2 / np.pi), 6 * np.sqrt(2 / np.pi)], rel=0.1)
    for said, came in (easy, hard):
        gap = gap_in(said, came, expected)
        assert (gap.metric, gap.changed) == ("mae", False)
    said, came = hetero(random, 2_000, 2.0, spread=1.5)
    assert of_all(said, expected)["mae"].value == pytest.approx(values[0], rel=0.02)
    gap = gap_in(said, came, expected)
    assert (gap.changed, gap.worse) == (True, True)
    assert gap.part == pytest.approx(0.5, abs=0.12)
    better = gap_in(said, said + (came - said) / 3, expected)
    assert (better.changed, better.worse) == (True, False)


@pytest.mark.parametrize(("windows", "most"), [(60, 2), pytest.param(300, 5, marks=pytest.mark.long)])
def test_false_gaps_are_rare(windows: int, most: int) -> None:
    random, changed = np.random.default_rng(5), 0
    for _ in range(windows):
        wide = random.uniform(1, 7, 1_000)
        expected = known(wide, wide + random.normal(0, wide))
        changed += gap_in(*hetero(random, 300, 4.0), expected, 0.0).changed
    assert changed <= most


def test_counts_are_the_same_in_any_parts_and_as_many_as_there_are_leaves() -> None:
    said = np.random.default_rng(6).normal(0, 100, 50_000)
    expected = known(said, said * 1.1)
    counts = predicted(leaves_of(expected, said))
    assert predicted(leaves_of(expected, said), 7) == counts
    assert len(counts.bins) <= LEAVES


def test_without_what_training_knew_there_is_no_estimate() -> None:
    counts = predicted(np.array([0, 1]))
    assert estimated(counts) == {}
    assert estimated(counts, Expected(rows=5)) == {}
    assert gap_of(labelled(np.array([0, 0]), [1.0, 2.0], [1.0, 3.0]), 0.1) is None


def test_records_of_a_version_without_leaves_are_no_part_of_the_gap() -> None:
    """As of a shadow, which another process asks: of its records no leaf is known."""
    expected = known(np.arange(1_500.0), np.arange(1_500.0) + 1)
    rows: list[tuple[ScoredRow, object]] = [
        (ScoredRow(2, "shadow", 1, "regression", (), 1.0), 2.0) for _ in range(200)
    ]
    assert gap_of(counted(rows), 0.1, expected) is None
