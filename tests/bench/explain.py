"""What an explanation costs beside the prediction, for each kind of model: a Markdown table.

    python -m tests.bench.explain

Processor time of one thread per row, the least of several batches of 2,000 rows. The models have 16 inputs
and 20,000 training rows; the last is the demo's, trained for this.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flink_jobs.demo import batch as demo
from flink_jobs.demo.common import write_planes
from flink_jobs.registry import Registry
from flink_jobs.registry.serialize import serialized
from tests.helpers.flight_model import offline_features
from udfs.model import formats
from udfs.model.contract import Model
from udfs.model.explain.column import Explaining
from udfs.model.loading import load_version
from udfs.model.manifest import GOLDEN_FILE, Input, Output, Signature
from udfs.records.encode import json_objects

INPUTS = tuple(f"x{i}" for i in range(16))
TRAINING_ROWS, BATCH, BATCHES, TOP = 20_000, 2_000, 7, 3
SIGNATURE = Signature(
    inputs=tuple(Input(name=name, type="double") for name in INPUTS),
    output=Output(kind="binary", classes=(0, 1)),
)
TREES = {"n_estimators": 150, "learning_rate": 0.05}


def training() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(TRAINING_ROWS, len(INPUTS)))
    noise = rng.normal(size=TRAINING_ROWS)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] - np.abs(x[:, 3]) + noise > 0).astype(int)


def models() -> Iterator[tuple[str, Model, pa.Table]]:
    """Name, model and a batch for it."""
    x, y = training()
    batch = pa.table({name: x[:BATCH, i] for i, name in enumerate(INPUTS)})
    estimators: dict[str, tuple[Any, Any]] = {
        "scaler and logistic regression": ("joblib", make_pipeline(StandardScaler(), LogisticRegression())),
        "HistGradientBoosting, 150 trees of 15 leaves": (
            "joblib",
            HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=15, early_stopping=False),
        ),
        "GradientBoosting, 150 trees of depth 4": (
            "joblib",
            GradientBoostingClassifier(max_depth=4, **TREES),
        ),
        "RandomForest, 100 trees of depth 10": ("joblib", RandomForestClassifier(100, max_depth=10)),
        "LightGBM, 150 trees of 15 leaves": (
            "lightgbm",
            lightgbm.LGBMClassifier(num_leaves=15, verbose=-1, **TREES),
        ),
        "XGBoost, 150 trees of depth 4": ("xgboost", xgboost.XGBClassifier(max_depth=4, **TREES)),
    }
    for name, (form, estimator) in estimators.items():
        yield name, formats.build(form, serialized(estimator.fit(x, y), form), SIGNATURE), batch
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder))
        write_planes(Path(folder) / "tables")
        demo.ready_model(registry, offline_features, Path(folder) / "tables")
        version = registry.folder("flight_delay", 1)
        model = load_version(version).model
        rows = pq.read_table(version / GOLDEN_FILE).select(model.signature.names)
        yield "the demo's flight_delay", model, pa.concat_tables([rows] * (BATCH // rows.num_rows))


def microseconds(work: Callable[[], object], rows: int) -> float:
    """Processor time per row of the fastest of some calls; the first one warms up."""
    work()
    spent = []
    for _ in range(BATCHES):
        started = time.process_time_ns()
        work()
        spent.append(time.process_time_ns() - started)
    return min(spent) / 1000 / rows


def cost(model: Model, batch: pa.Table) -> tuple[float, float]:
    """(µs to predict, µs to explain and to write the explanation) per row."""
    counts: Counter[str] = Counter()
    explaining, scored = Explaining(model, TOP, counts), model.predict(batch)
    predict = microseconds(lambda: model.predict(batch), batch.num_rows)
    explain = microseconds(lambda: json_objects(explaining(batch, scored), {}), batch.num_rows)
    if counts["explain_failures"]:
        raise SystemExit("explanations failed")
    return predict, explain


def main() -> int:
    print("| model | predict, µs | `explain: 3`, µs |\n|---|---|---|")
    for name, model, batch in models():
        predict, explain = cost(model, batch)
        print(f"| {name} | {predict:.1f} | {explain:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
