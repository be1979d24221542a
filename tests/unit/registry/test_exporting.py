"""Versions as ONNX graphs: kept where they reproduce the golden rows, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.importing import add, complete, find
from flink_jobs.registry.onnx_export import export_onnx
from tests.helpers.foreign import (
    FRAME,
    LATE,
    NUMBERS,
    RNG,
    boosted,
    dumped,
    graph,
    plain_booster,
    register,
    table,
    with_imputer,
    xgboosted,
)
from udfs.model.loading import load_version
from udfs.model.manifest import Lineage


def test_an_export_reproduces_the_golden_rows_or_is_not_kept(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    register(registry, with_imputer(), NUMBERS, tmp_path)
    assert export_onnx(registry, "m", 1).lineage == Lineage(parent=1)
    # Beyond 2**24, 32-bit floats cannot tell whole numbers apart.
    large = pd.DataFrame({"a": np.arange(50) + 2.0**30})
    fitted = HistGradientBoostingClassifier(min_samples_leaf=1).fit(large, np.arange(50) % 2)
    register(registry, fitted, large, tmp_path)
    with pytest.raises(InputError, match=r"m version 3 cannot be exported: with 32-bit floats .*golden row"):
        export_onnx(registry, "m", 3)
    assert registry.versions("m") == [1, 2, 3]


def stopped_early() -> Any:
    """One that predicts with fewer trees than it holds."""
    made = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=2, n_jobs=1)
    fitted = made.fit(NUMBERS, LATE == "late", eval_set=[(NUMBERS, RNG.random(200) < 0.5)], verbose=False)
    assert fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    return fitted


def large_numbers() -> lightgbm.Booster:
    """Its thresholds need more than 32 bits, which no graph of a booster has."""
    large = NUMBERS + 2.0**30
    parameters = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, "max_bin": 500}
    return lightgbm.train(parameters, lightgbm.Dataset(large, NUMBERS["a"]), 5)


@pytest.mark.parametrize(
    ("file", "data", "frame"),
    [
        ("m.txt", lambda: boosted().model_to_string().encode(), FRAME),
        ("m.txt", lambda: plain_booster().model_to_string().encode(), NUMBERS),
        ("m.ubj", lambda: bytes(xgboosted().get_booster().save_raw("ubj")), NUMBERS),
        ("m.ubj", lambda: bytes(stopped_early().get_booster().save_raw("ubj")), NUMBERS),
        ("m.joblib", lambda: dumped(lightgbm_pipeline()), NUMBERS),
    ],
    ids=["categories", "regression", "xgboost", "stopped early", "pipeline"],
)
def test_boosters_are_exported(
    file: str, data: Callable[[], bytes], frame: pd.DataFrame, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / file).write_bytes(data())
    add(registry, "m", complete(find(tmp_path / file), rows=table(frame)))
    made = export_onnx(registry, "m", 1)
    assert (made.format, made.lineage) == ("onnx", Lineage(parent=1))
    inputs = table(frame).cast(made.signature.schema())
    was, now = (load_version(registry.folder("m", version)).model.predict(inputs) for version in (1, 2))
    for numbers in ("prediction",) if was.score is None else ("score",):
        np.testing.assert_allclose(getattr(now, numbers), getattr(was, numbers), rtol=1e-5, atol=1e-5)


def test_a_booster_that_needs_64_bits_is_not_exported(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / "m.txt").write_text(large_numbers().model_to_string())
    add(registry, "m", complete(find(tmp_path / "m.txt"), rows=table(NUMBERS + 2.0**30)))
    with pytest.raises(
        InputError, match=r"m version 1 cannot be exported: with 32-bit floats golden row \d+"
    ):
        export_onnx(registry, "m", 1)
    assert registry.versions("m") == [1]


def lightgbm_pipeline() -> Any:
    made = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1)
    return make_pipeline(SimpleImputer(), made).fit(NUMBERS.to_numpy(), LATE)


def test_what_no_library_converts_is_not_exported(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / "m.onnx").write_bytes(graph())
    add(registry, "m", complete(find(tmp_path / "m.onnx"), rows=table(NUMBERS)))
    with pytest.raises(InputError, match="scikit-learn, LightGBM or XGBoost model to be exported; got onnx"):
        export_onnx(registry, "m", 1)
