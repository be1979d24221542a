"""Rows of two versions side by side: labels, slices, differences."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flink_jobs.backtest.compare import (
    ComparisonSettings,
    by_segment,
    changed_rows,
    over_time,
    rows_of,
    slice_of,
)
from flink_jobs.backtest.differences import differences, most_changed
from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.labels import read_labels
from flink_jobs.backtest.outputs import Predictions, class_codes, label_values, outputs_of
from flink_jobs.backtest.pairs import paired, times
from flink_jobs.backtest.records import Move, Slice
from flink_jobs.errors import InputError
from flink_jobs.history import History
from udfs.model.manifest import Output
from udfs.types import ARROW

YES_NO = Output(kind="binary", classes=("no", "yes"))
HOUR = 3_600_000
TIME = ARROW["timestamp"]


def history(rows: list[int], scores: list[float]) -> History:
    table = pa.table({"prediction": ["yes" if s >= 0.5 else "no" for s in scores], "score": scores})
    at = pa.array([row * HOUR for row in rows], pa.int64()).cast(TIME)
    context = pa.table({"row": pa.array(rows, pa.int64()), "event_time": at})
    dead = pa.table({"row": pa.array([], pa.int64())})
    return History(table, context, dead, np.zeros(0, np.int64), 10)


def test_rows_are_paired_by_record() -> None:
    a, b = history([0, 2, 3, 7], [0.1, 0.2, 0.3, 0.7]), history([1, 2, 7], [0.9, 0.8, 0.6])
    pairs = paired(a, b)
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([1, 3], [1, 2])
    assert times(a)[pairs.a].tolist() == [2 * HOUR, 7 * HOUR]


def windows(starts: list[int], keys: list[str]) -> History:
    start = pa.array([s * HOUR for s in starts], pa.int64()).cast(TIME)
    end = pa.array([(s + 1) * HOUR for s in starts], pa.int64()).cast(TIME)
    key = pa.array([key.encode() for key in keys], pa.binary())
    context = pa.table({"window_start": start, "window_end": end, "key": key})
    empty = pa.table({"prediction": keys})
    return History(empty, context, pa.table({}), np.zeros(0, np.int64), 5)


def test_windows_are_paired_by_time_and_key() -> None:
    a, b = windows([0, 0, 1], ["x", "y", "x"]), windows([0, 1, 1], ["y", "x", "y"])
    pairs = paired(a, b)
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([1, 2], [0, 1])
    assert times(a).tolist() == [0, 0, HOUR]


def test_labels_may_be_classes_their_text_or_zero_and_one() -> None:
    flags = Output(kind="binary", classes=(False, True))
    assert class_codes(flags, [True, 0, 1.0, "false", "True", None], "x").tolist() == [1, 0, 1, 0, 1, -1]
    assert class_codes(YES_NO, ["yes", "no", None], "x").tolist() == [1, 0, -1]
    with pytest.raises(InputError, match=r"x must be one of the model's classes \(no, yes\); got 'maybe'"):
        class_codes(YES_NO, ["maybe"], "x")
    numbers = Output(kind="multiclass", classes=(1, 2, 3))
    truth, known = label_values(numbers, pa.chunked_array([[3.0, float("nan"), 1.0]]), "x")
    assert (truth.tolist(), known.tolist()) == ([2.0, -1.0, 0.0], [True, False, True])
    truth, known = label_values(Output(kind="regression"), pa.chunked_array([[3, None]]), "x")
    assert (truth[0], known.tolist()) == (3.0, [True, False])
    with pytest.raises(InputError, match="x must be numbers"):
        label_values(Output(kind="regression"), pa.chunked_array([["a"]]), "x")


def test_labels_of_a_file_by_key(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"id": ["a", "b", None], "late": [True, False, True]}), path)
    labels = read_labels(path, "id", None)
    assert labels.of({"id": pa.chunked_array([["b", "x", None, "a"]])}).to_pylist() == [
        *(False, None, None, True)
    ]
    with pytest.raises(InputError, match="no column 'ids'; did you mean 'id'"):
        read_labels(path, "ids", None)
    with pytest.raises(InputError, match="no column 'on_time'; it has id, late"):
        read_labels(path, "id", "on_time")
    pq.write_table(pa.table({"id": [1, 1], "x": [1, 2], "y": [1, 2]}), path)
    with pytest.raises(InputError, match=r"must say which column .* there are x, y"):
        read_labels(path, "id", None)
    with pytest.raises(InputError, match="must have each id once; got '1' twice"):
        read_labels(path, "id", "x")
    path.write_bytes(b"oops")
    with pytest.raises(InputError, match="must be a Parquet file"):
        read_labels(path, "id", "x")


def test_labels_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    start = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 1)]
    pq.write_table(pa.table({"till": [7.0, 7.0], "window_start": start, "fraud": [0, 1]}), path)
    labels = read_labels(path, "till", "fraud", windows=True)
    columns = {
        "till": pa.chunked_array([[7, 8]]),
        "window_start": pa.chunked_array([pa.array(start[::-1], TIME)]),
    }
    assert labels.of(columns).to_pylist() == [1, None]


def test_differences_by_hand() -> None:
    a = Predictions("binary", np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.6, 0.9]))
    b = Predictions("binary", np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.6, 0.3, 0.8]))
    found = differences(a, b, YES_NO.classes)
    assert (found.changed, found.largest) == (0.5, pytest.approx(0.3))
    assert (found.mean, found.mean_absolute) == (pytest.approx(-0.05), pytest.approx(0.15))
    assert found.quantiles["p50"] == pytest.approx(-0.05)
    assert found.moves == (Move("no", "yes", 1), Move("yes", "no", 1))
    assert most_changed(a, b, 3).tolist() == [2, 1, 3]
    assert most_changed(a, b, 10).tolist() == [2, 1, 3]


def test_the_change_of_several_classes_is_that_of_their_probabilities() -> None:
    output = Output(kind="multiclass", classes=("x", "y", "z"))
    fields = [("x", pa.float64()), ("y", pa.float64()), ("z", pa.float64())]
    rows = [{"x": 0.5, "y": 0.3, "z": 0.2}, {"x": 0.1, "y": 0.2, "z": 0.7}]
    a, b = (
        outputs_of(
            output,
            pa.table({"prediction": best, "probabilities": pa.array(order, pa.struct(fields))}),
        )
        for best, order in ((["x", "z"], rows), (["x", "x"], [rows[0], rows[0]]))
    )
    assert a.score.tolist() == [0.5, 0.7]
    found = differences(a, b, output.classes)
    assert (found.changed, found.largest, found.moves) == (0.5, pytest.approx(0.5), (Move("z", "x", 1),))


def test_slices_over_time_and_by_segment() -> None:
    rng = np.random.default_rng(5)
    n = 400
    scores = rng.random(n)
    a = history(list(range(n)), scores.tolist())
    b = history(list(range(n)), np.clip(scores + rng.normal(0, 0.2, n), 0, 1).tolist())
    truth, known = (rng.random(n) < scores).astype(np.float64), rng.random(n) < 0.9
    rows = rows_of(YES_NO, a.table, b.table, times(a), truth, known)
    settings = ComparisonSettings(100 * HOUR, Draws(resamples=100))
    total = slice_of(rows, settings)
    assert (total.rows, total.labelled) == (n, int(known.sum()))
    assert {each.name: each.better for each in total.metrics}["auc"] == "a"

    parts = over_time(rows, settings)
    assert [part.rows for part in parts] == [100] * 4
    assert (parts[1].start, parts[1].end) == ("1970-01-05T04:00:00Z", "1970-01-09T08:00:00Z")
    assert sum(part.labelled for part in parts) == total.labelled
    assert parts[0].metrics[0].a.low is not None

    values = pa.chunked_array([[None if i % 40 == 0 else f"v{i % 20}" for i in range(n)]])
    segments = by_segment(rows, "airport", values, settings)
    assert (len(segments.slices), segments.others) == (13, 9)
    assert [part.value for part in segments.slices[:2]] == ["v1", "v10"]
    assert sum(part.rows for part in segments.slices) == n
    assert segments.slices[-1].value == "9 others"
    assert msgspec.json.decode(msgspec.json.encode(total), type=Slice) == total


def test_without_labels_there_are_only_differences() -> None:
    a, b = history([0, 1], [0.2, 0.4]), history([0, 1], [0.2, 0.9])
    rows = rows_of(YES_NO, a.table, b.table, times(a), np.zeros(2), np.zeros(2, np.bool_))
    found = slice_of(rows, ComparisonSettings(HOUR))
    assert (found.labelled, found.metrics, found.label_mean) == (0, (), None)
    assert found.differences.changed == 0.5


def test_the_rows_that_changed_most() -> None:
    a, b = history([4, 6], [0.2, 0.4]), history([4, 6], [0.25, 0.9])
    rows = rows_of(YES_NO, a.table, b.table, times(a), np.zeros(2), np.zeros(2, np.bool_))
    named = a.table.append_column("city", pa.array(["x", "y"]))
    first, second = changed_rows(
        rows, named, b.table, a.context.column("row"), pa.chunked_array([["no", None]])
    )
    assert (first.row, first.event_time, first.columns) == (6, "1970-01-01T06:00:00Z", {"city": "y"})
    assert (first.prediction_a, first.prediction_b, first.change) == ("no", "yes", pytest.approx(0.5))
    assert (first.label, second.label, second.row) == (None, "no", 4)
