"""Inspects and asks scikit-learn estimators, which more than one format holds, and converts them to ONNX."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from flink_jobs.registry.formats.base import Convert, Facts, classifier
from flink_jobs.registry.formats.encoders import missing_values
from flink_jobs.registry.formats.onnx_graphs import of_sklearn
from udfs.model.formats.base import Raw
from udfs.model.formats.causes import check_estimator
from udfs.model.manifest import Output, Signature

TO_ONNX: dict[str, Convert] = {f"with {bits}-bit floats": partial(of_sklearn, bits=bits) for bits in (32, 64)}


def estimator_facts(estimator: Any) -> Facts:
    """The columns that a fitted estimator names, its kind of output, and what encoders in it hold."""
    check_estimator(estimator)
    fitted = getattr(estimator, "feature_names_in_", None)
    names = None if fitted is None else tuple(map(str, fitted))
    told = Facts(names, missing=missing_values(estimator, names or ()))
    booster = _booster(estimator, names)
    if booster is not None:
        categories, unplaced = booster
        told = replace(told, categories=categories, unplaced=unplaced)
    if is_outlier_detector(estimator):
        return replace(told, output=Output(kind="anomaly"))
    if is_classifier(estimator):
        return replace(told, output=classifier(estimator.classes_.tolist()))
    if is_regressor(estimator):
        return replace(told, output=Output(kind="regression"))
    return told


def _booster(estimator: Any, names: tuple[str, ...] | None) -> Any:
    """The categories that a LightGBM or XGBoost estimator holds, if it gets the columns as they come."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    library = type(last).__module__.partition(".")[0]
    if library == "lightgbm" and hasattr(last, "booster_"):
        # Start-up: optional and slow to load.
        from flink_jobs.registry.formats import lightgbm_text  # noqa: PLC0415

        booster = lightgbm_text.FORMAT.read(lightgbm_text.FORMAT.dump(last), ())
        same = names is None or tuple(booster.feature_name()) == names or last is estimator
        return lightgbm_text.category_facts(booster) if same else None
    if library == "xgboost" and hasattr(last, "get_booster"):
        # Start-up: optional and slow to load.
        from flink_jobs.registry.formats import xgboost_binary  # noqa: PLC0415

        booster = last.get_booster()
        same = booster.feature_names is None or tuple(booster.feature_names) == names
        return (xgboost_binary.category_facts(booster), ()) if same else None
    return None


def says(estimator: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """What it predicts for the maker's DataFrame, or, if it was fitted on none, for the numbers in that."""
    check_estimator(estimator)
    rows: Any = frame
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None:
        rows = frame[list(fitted)]
    elif all(item.type != "string" for item in signature.inputs):
        narrow = set(frame.dtypes.astype(str)) == {"float32"}
        rows = frame.to_numpy("float32" if narrow else "float64", na_value=np.nan)
    kind = signature.output.kind
    if kind == "binary":
        return Raw(np.asarray(estimator.predict_proba(rows))[:, 1])
    if kind == "multiclass":
        return Raw(np.asarray(estimator.predict_proba(rows)))
    predicted = np.asarray(estimator.predict(rows))
    if kind == "anomaly":
        return Raw(-estimator.score_samples(rows), predicted == -1)
    return Raw(predicted)
