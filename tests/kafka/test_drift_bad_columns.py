"""Columns and windows that say nothing, in a job: a clear verdict for each, and never a NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from flink_jobs.testing import Broker, JobHarness, record
from tests.helpers import models

NOW = 1_767_225_600_000
HOUR = 3_600_000
ROWS = 300
JOB = """
job: bad
source:
  topic: bad
  event_time: {out_of_order: 1d}
  schema: {same: double, gone: double, wild: double, user: string, extra: double}
model: {name: bad, registry: models}
drift: {window: 1h}
alerts: {rules: {moved: {on: drift, bad: 1, of: 1}}}
"""


def values(i: int) -> dict[str, Any]:
    """`same` is constant, `gone` null, `wild` as large as a double can be; `user` is an id, not watched."""
    return {"same": 5.0, "gone": None, "wild": (-1) ** i * 1.7e308, "user": f"user {i}", "extra": float(i)}


def write_model(root: Path) -> None:
    """The reference lacks `extra`."""
    rows = [values(i) for i in range(2_000)]
    kinds = {"same": pa.float64(), "gone": pa.float64(), "wild": pa.float64(), "user": pa.string()}
    inputs = pa.table(
        {n: pa.array([row[n] for row in rows], kind) for n, kind in (kinds | {"extra": pa.float64()}).items()}
    )
    filled = SimpleImputer(strategy="constant", fill_value=5.0)
    model = make_pipeline(ColumnTransformer([("same", filled, ["same"])]), LogisticRegression())
    score = pa.table({"score": np.full(2_000, 0.5)})
    target = [i % 2 for i in range(2_000)]
    models.write(
        root / "models", "bad", model, inputs, target, "binary", profiled=score, unprofiled=["extra"]
    )


@pytest.mark.filterwarnings("ignore:overflow encountered")  # the reference spans more than a float holds
def test_nothing_is_ever_no_number(broker: Broker, tmp_path: Path) -> None:
    """An hour as in training, one with a single record, one without any, one in which all is otherwise."""
    write_model(tmp_path)
    usual = [record(values(i), timestamp=NOW + i) for i in range(ROWS)]
    infinite = [record(b'{"same": 1e999}', timestamp=NOW + i) for i in range(3)]
    single = [record(values(0), timestamp=NOW + HOUR)]
    changed = {"same": None, "gone": 1.0, "wild": 0.0, "user": "user 0", "extra": None}
    others = [record(changed, timestamp=NOW + 3 * HOUR + i * HOUR // ROWS) for i in range(ROWS)]
    results = JobHarness(broker).run(JOB, [*usual, *infinite, *single, *others], base=tmp_path)
    lines = [outcome.value or b"" for outcome in (*results.drift, *results.alerts)]
    assert not [line for line in lines if b"NaN" in line or b"Infinity" in line]
    drift = sorted(
        (json.loads(o.value or b"") for o in results.drift), key=lambda each: each["window"]["start"]
    )
    assert [r["window"]["start"][11:13] for r in drift] == ["00", "01", "03"]
    verdicts = [{c["name"]: c["verdict"] for c in each["columns"]} for each in drift]
    assert verdicts[0] == dict.fromkeys(("same", "gone", "wild", "score"), "ok")
    assert set(verdicts[1].values()) == {"insufficient_data"}
    assert verdicts[2] == dict.fromkeys(("same", "gone", "wild"), "drift") | {"score": "ok"}
    assert [each["verdict"] for each in drift] == ["ok", "insufficient_data", "drift"]
    assert [(p["reason"], p["field"], p["count"]) for p in drift[0]["problems"]] == [
        ("not_finite", "$.same", 3)
    ]
    words = {c["name"]: c["direction"] for c in drift[2]["columns"]}
    assert words["same"] == "nulls rose from 0% to 100%"
    assert words["gone"] == "nulls fell from 100% to 0%"
