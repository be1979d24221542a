"""Explains LightGBM's, XGBoost's and CatBoost's trees by Shapley values, which these libraries compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from udfs.model.contract import Floats
from udfs.model.explain.base import Contributions, Indices, ModelExplainer

LIBRARIES = ("lightgbm", "xgboost", "catboost")


def build(native: Any, inputs: int) -> ModelExplainer:
    """The explainer of a booster, or of a fitted model with scikit-learn's interface that holds one."""
    if type(native).__module__.startswith("lightgbm"):
        booster = getattr(native, "booster_", native)
        return lambda rows, chosen: _split(_lightgbm(booster, rows, inputs), chosen)
    if type(native).__module__.startswith("catboost"):
        return lambda rows, chosen: _split(_catboost(native, rows), chosen)
    booster = native.get_booster() if hasattr(native, "get_booster") else native
    return lambda rows, chosen: _split(_xgboost(booster, rows), chosen)


def _lightgbm(booster: Any, rows: Any, inputs: int) -> Floats:
    """(n, k, d + 1) for k scores, of which the last is the base."""
    found = booster.predict(rows, pred_contrib=True, num_threads=1)
    return np.asarray(found).reshape(len(found), -1, inputs + 1)


def _xgboost(booster: Any, rows: Any) -> Floats:
    # Start-up: optional library.
    import xgboost  # noqa: PLC0415

    best = booster.attr("best_iteration")
    matrix = xgboost.DMatrix(rows, nthread=1)
    found = booster.predict(
        matrix, pred_contribs=True, iteration_range=(0, int(best) + 1 if best else 0), validate_features=False
    )
    found = np.asarray(found, dtype=np.float64)
    return found if found.ndim == 3 else found[:, np.newaxis, :]


def _catboost(model: Any, rows: Any) -> Floats:
    # Start-up: optional library.
    import catboost  # noqa: PLC0415

    pool = catboost.Pool(rows, cat_features=model.get_cat_feature_indices(), thread_count=1)
    found = np.asarray(model.get_feature_importance(pool, type="ShapValues", thread_count=1))
    return found if found.ndim == 3 else found[:, np.newaxis, :]


def _split(found: Floats, chosen: Indices) -> Contributions:
    of_class = found[:, 0] if found.shape[1] == 1 else found[np.arange(len(found)), chosen]
    return Contributions(of_class[:, -1], of_class[:, :-1])
