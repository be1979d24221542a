"""Models that other tools wrote, and the rows that they were fitted on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import xgboost
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from flink_jobs.registry import Registry
from flink_jobs.registry.importing import add, complete, find

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=200), "n": RNG.integers(0, 9, 200)})
FRAME["c"] = RNG.choice(["x", "y"], 200)
NUMBERS = FRAME[["a", "n"]]
LATE = np.where(NUMBERS["a"] + NUMBERS["n"] > 4, "late", "early")
CODED = FRAME.assign(c=pd.Categorical(FRAME["c"], categories=["y", "x"]))


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def dumped(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


def boosted() -> lightgbm.Booster:
    data = lightgbm.Dataset(CODED, (LATE == "late").astype(int))
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 3)


def plain_booster() -> lightgbm.Booster:
    return lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(NUMBERS, NUMBERS["a"]), 2)


def xgboosted() -> Any:
    return xgboost.XGBRegressor(n_estimators=2, n_jobs=1).fit(NUMBERS, NUMBERS["a"])


def graph() -> bytes:
    fitted = make_pipeline(SimpleImputer(), LogisticRegression()).fit(NUMBERS.to_numpy(np.float32), LATE)
    made = to_onnx(fitted, NUMBERS.to_numpy(np.float32)[:1], options={"zipmap": False})
    return bytes(made.SerializeToString())


def with_imputer() -> Any:
    return make_pipeline(SimpleImputer(), LogisticRegression()).fit(NUMBERS, LATE)


def register(registry: Registry, model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(dumped(model))
    add(registry, "m", complete(find(tmp_path / "m.joblib"), rows=table(frame)))
