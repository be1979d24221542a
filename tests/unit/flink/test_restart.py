"""Windows that were open when a job stopped are whole after it started again, whatever time has passed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyflink.common import Row

from flink_jobs.registry import Registry
from tests.helpers.keyed_operator import KeyedOperator
from tests.helpers.registered import write
from udfs.drift.params import MonitorParams, SequentialParams
from udfs.flink.drift import MonitorFunction
from udfs.flink.rollout import ClosingFunction, LabelledFunction, RolloutFunction
from udfs.model.manifest import PROFILE_FILE
from udfs.profile.collect import Collector
from udfs.profile.keys import key_parts
from udfs.profile.params import CollectParams
from udfs.profile.profile import reference_profile
from udfs.profile.reference import parse_reference
from udfs.profile.steps import StepCounter
from udfs.profile.wire import encode_partial_profiles
from udfs.rollout.controller import RolloutControllerParams
from udfs.rollout.labels import LabelReader, LabelSums, count_labels, encode_labels
from udfs.rollout.losses import ScoredRow
from udfs.rollout.version_metrics import VersionMetrics

WINDOW, IDLE, BATCHES = 60_000, 30_000, 12
T0 = 1_767_225_600_000
DOWN = [0, 1_000, 10 * IDLE]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = Registry(tmp_path_factory.mktemp("models"))
    table = pa.table({"x": np.random.default_rng(1).normal(size=2_000)})
    write(registry, "m", profile=reference_profile(table))
    return registry.folder("m", 1)


@pytest.fixture
def monitored(model: Path) -> Callable[[], KeyedOperator]:
    params = MonitorParams(
        "j",
        "m",
        {1: str(model)},
        WINDOW,
        {"x": "input"},
        (),
        idle_ms=IDLE,
        sequential=SequentialParams(("x",), 10_000, 3_600_000),
        duplicates=True,
    )
    return lambda: KeyedOperator(MonitorFunction(params, live=False))


def profiles(model: Path) -> list[bytes]:
    """Batches of 15 s of event time each: four to a window."""
    reference = parse_reference((model / PROFILE_FILE).read_bytes())
    params = CollectParams(WINDOW, (("x", "x"),), step_ms=10_000, step_columns=("x",))
    collector, steps = Collector(params, reference, 1), StepCounter(params, reference, 1)
    random, batches = np.random.default_rng(2), []
    for batch in range(BATCHES):
        columns = {"x": pa.array(random.normal(batch > 7, size=150))}
        times = T0 + batch * 15_000 + np.arange(150) * 100
        keys = key_parts(pa.array(random.integers(40, size=150)), times, WINDOW, 1)
        batches.append(
            encode_partial_profiles(collector.collect(columns, times), steps.count(columns, times), keys)
        )
    return batches


def params() -> RolloutControllerParams:
    return RolloutControllerParams("j", "m", "unused", WINDOW, 2_000, IDLE)


def metrics() -> list[bytes]:
    random, batches = np.random.default_rng(3), []
    for batch in range(BATCHES):
        counted, times = VersionMetrics(WINDOW), T0 + batch * 15_000 + np.arange(50) * 300
        for version, role in ((1, "champion"), (2, "canary")):
            scores = {"prediction": pa.array([True] * 50), "score": pa.array(random.random(50))}
            counted.scored(version, role, 1, times, scores, 500_000)  # type: ignore[arg-type]
        data = counted.take([])
        assert data is not None
        batches.append(data)
    return batches


def labels() -> list[Row]:
    """As the labels' side sends them: what was read, and what was joined."""
    reader, rows = LabelReader("id", "late", WINDOW), []
    said = msgspec.json.encode([ScoredRow(1, "champion", 1, "binary", (False, True), True, 0.75)])
    for batch in range(BATCHES):
        times = T0 + batch * 15_000 + np.arange(20) * 700
        read = reader.read([b'{"id": "a", "late": true}'] * 20, times, np.zeros(20, bool)).report
        joined = count_labels([said] * 20, [b"true"] * 20, np.ones(20, bool), times, WINDOW)
        rows += [Row(0, "", read), Row(0, "", joined)]
    return rows


def run(operator: KeyedOperator, batches: list[bytes] | list[Row], down: int | None) -> list[Row]:
    """The batches in twenty seconds each; without end, as the last windows close for silence."""
    each = len(batches) // BATCHES
    for batch in range(BATCHES):
        for data in batches[each * batch : each * (batch + 1)]:
            operator.send(data)
        operator.watermark(T0 + batch * 15_000 - 2_000)
        operator.pass_time(20_000)
        if down is not None and batch in (4, 9):
            # The watermark of the next batch waits for the end of a bundle, and for that of the checkpoint.
            operator.restart(down, fired_until=T0 + (batch + 1) * 15_000 - 2_000)
            operator.pass_time(IDLE - 15_000)  # Workers load their models; then records come again.
    operator.pass_time(3 * IDLE)
    return operator.results


@pytest.mark.parametrize("down", DOWN)
def test_drift_windows_survive_a_restart(
    monitored: Callable[[], KeyedOperator], model: Path, down: int
) -> None:
    batches = profiles(model)
    expected = run(monitored(), batches, None)
    records = [msgspec.json.decode(row[2]) for row in expected if row[0] == 0]
    assert [record["records"]["predicted"] for record in records] == [600, 600, 600]
    assert [record["window"]["closed"] for record in records] == ["watermark", "watermark", "idle"]
    assert run(monitored(), batches, down) == expected


@pytest.mark.parametrize("down", DOWN)
def test_comparisons_survive_a_restart(down: int) -> None:
    expected = run(KeyedOperator(RolloutFunction(params(), live=True)), metrics(), None)
    versions = [msgspec.json.decode(row[2])["versions"] for row in expected]
    assert [version["records"] for window in versions for version in window] == [200] * 6
    assert run(KeyedOperator(RolloutFunction(params(), live=True)), metrics(), down) == expected


@pytest.mark.parametrize("down", DOWN)
def test_windows_to_be_labelled_survive_a_restart(down: int) -> None:
    expected = run(KeyedOperator(ClosingFunction(params())), metrics(), None)
    assert [(row[0], row[1]) for row in expected] == [
        (T0, "watermark"),
        (T0 + WINDOW, "watermark"),
        (T0 + 2 * WINDOW, "idle"),
    ]
    assert run(KeyedOperator(ClosingFunction(params())), metrics(), down) == expected


@pytest.mark.parametrize("down", DOWN)
def test_labels_survive_a_restart(down: int) -> None:
    expected = run(KeyedOperator(LabelledFunction(params(), live=True)), labels(), None)
    joined = [msgspec.json.decode(row[2])["labels"]["joined"] for row in expected]
    assert sum(joined) == 20 * BATCHES
    assert run(KeyedOperator(LabelledFunction(params(), live=True)), labels(), down) == expected


def test_windows_close_for_silence_after_a_restart_too(
    monitored: Callable[[], KeyedOperator], model: Path
) -> None:
    """With no record at all: the timer that is overdue begins a new period, and the next one ends it."""
    operator = monitored()
    operator.send(profiles(model)[0])
    operator.restart(10 * IDLE)
    operator.pass_time(IDLE - 1_000)
    assert operator.results == []
    operator.pass_time(3_000)
    (record,) = [msgspec.json.decode(row[2]) for row in operator.results]
    assert (record["records"]["predicted"], record["window"]["closed"]) == (150, "idle")


def test_labels_without_a_time_wait_for_a_window() -> None:
    operator = KeyedOperator(LabelledFunction(params(), live=True))
    report = LabelSums()
    reader = LabelReader("id", "late", WINDOW)
    read = reader.read([b"{"], np.array([0]), np.zeros(1, bool)).report
    operator.send(Row(0, "", read))
    operator.pass_time(2 * IDLE)
    assert operator.results == []
    operator.send(Row(T0, "watermark", metrics()[0]))
    (row,) = operator.results
    assert msgspec.json.decode(row[2])["labels"]["rejected"] == 1
    operator.send(Row(0, "", encode_labels(report)))
    operator.finish()
    assert operator.results == [row]
