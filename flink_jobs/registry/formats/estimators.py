"""Inspects scikit-learn estimators, which more than one format holds, and converts them to ONNX."""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from flink_jobs.registry.formats.base import Convert, Facts, classifier
from flink_jobs.registry.formats.onnx_graphs import of_sklearn
from udfs.model.formats.causes import check_estimator
from udfs.model.manifest import Output

TO_ONNX: dict[str, Convert] = {f"with {bits}-bit floats": partial(of_sklearn, bits=bits) for bits in (32, 64)}


def estimator_facts(estimator: Any) -> Facts:
    """The columns that a fitted estimator names, and its kind of output."""
    check_estimator(estimator)
    fitted = getattr(estimator, "feature_names_in_", None)
    names = None if fitted is None else tuple(map(str, fitted))
    if is_outlier_detector(estimator):
        return Facts(names, Output(kind="anomaly"))
    if is_classifier(estimator):
        return Facts(names, classifier(estimator.classes_.tolist()))
    if is_regressor(estimator):
        return Facts(names, Output(kind="regression"))
    return Facts(names)
