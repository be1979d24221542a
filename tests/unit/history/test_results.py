"""Records of output topics as Arrow tables: types, order, and what was refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.history.results import Outputs, feature_history, prediction_history
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import Record
from flink_jobs.plan import make_feature_plan, make_plan
from flink_jobs.spec import JobSpec
from tests.helpers import models
from udfs.types import ARROW

JOB = """
job: shop
score: {score}
source:
  topic: orders
  event_time: {{field: at, unit: ms}}
  schema: {{at: {{type: long, required: true}}, till: string, amount: double}}
features:
  windows:
    each: {{by: till, {size}: 1h, select: {{spent: sum(amount), orders: count(*)}}}}
model: {{name: kinds}}
predictions: {{include: [till, spent]}}
"""


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    inputs = pa.table({"spent": [1.0, 2.0, 3.0]})
    models.write(
        tmp_path / "models", "kinds", LogisticRegression(), inputs, ["low", "mid", "high"], "multiclass"
    )
    return load_job_text(JOB.format(score="per_window", size="tumble"), "job.yaml", tmp_path)


def record(value: dict[str, Any], key: str, **headers: str) -> Record:
    named: list[tuple[str, bytes | None]] = [
        (f"tailrace.{name}", text.encode()) for name, text in headers.items()
    ]
    return Record(json.dumps(value).encode(), key.encode(), named, 0, 0, -1)


def window(key: str, start: str, **values: Any) -> Record:
    times = {"window_start": f"2026-01-01T{start}:00:00.000Z", "window_end": "2026-01-01T09:00:00.000Z"}
    return record({**values, **times, "records": 3, "topic": "orders"}, key)


def test_windows_are_in_order_of_time_and_key(job: JobSpec) -> None:
    said = {"prediction": "low", "probabilities": {"high": 0.25, "low": 0.5, "mid": 0.25}}
    rows = [
        window("b", "05", till="b", spent=-0.0, **said),
        window("b", "04", till="b", spent=1e-310, **said),
        window("a", "05", till="a", spent=None, **said),
    ]
    lost = [record({}, "a", stage="inference", reason="model_error", message="oops", offset="")]
    late = [record({}, "a", offset="7"), record({}, "a", offset="2")]
    found = prediction_history(Outputs(rows, lost, late), make_plan(job, bounded=True), 12)
    assert found.table.column("till").to_pylist() == ["b", "a", "b"]
    assert str(found.table.column("spent").to_pylist()) == "[1e-310, None, -0.0]"
    assert found.table.column("probabilities")[0].as_py() == {"high": 0.25, "low": 0.5, "mid": 0.25}
    assert found.context.schema.names == ["window_start", "window_end", "records", "key"]
    assert found.context.column("window_start").type == ARROW["timestamp"]
    assert (found.late.tolist(), found.read) == ([2, 7], 12)
    assert found.dead.to_pylist() == [
        {"row": None, "stage": "inference", "reason": "model_error", "message": "oops"}
    ]
    with pytest.raises(KeyError):
        _ = found.rows


def test_features_are_typed_and_in_order_of_the_records(job: JobSpec, tmp_path: Path) -> None:
    per_event = load_job_text(JOB.format(score="per_event", size="over"), "job.yaml", tmp_path)
    plan = make_feature_plan(per_event, ["orders", "event_time", "till"])
    rows = [
        record(
            {
                "features": {"orders": orders, "event_time": "2026-01-01T04:00:00.250Z", "till": till},
                "partition": 0,
                "offset": offset,
                "event_time": "2026-01-01T04:00:00.250Z",
            },
            "a",
        )
        for offset, orders, till in ((4, 2**63 - 1, None), (0, None, 'é"\n'))
    ]
    found = feature_history(Outputs(rows, [], []), plan, ["orders", "event_time", "till"], 5)
    assert found.table.schema.types == [pa.int64(), ARROW["timestamp"], pa.string()]
    assert found.table.column("orders").to_pylist() == [None, 2**63 - 1]
    assert found.table.column("till").to_pylist() == ['é"\n', None]
    assert found.rows.tolist() == [0, 4]
    assert found.table.column("event_time")[0] == found.context.column("event_time")[0]
    empty = feature_history(Outputs([], [], []), plan, ["orders"], 0)
    assert (empty.table.num_rows, empty.table.schema.types) == (0, [pa.int64()])
