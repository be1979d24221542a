"""Explains scikit-learn estimators: takes pipelines apart, and adds up contributions of columns per input."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from udfs.errors import ModelError
from udfs.model.explain import boosters, trees
from udfs.model.explain.base import Contributions, Indices, ModelExplainer, folding
from udfs.model.explain.origins import origins


def build(estimator: Any, inputs: int) -> ModelExplainer:
    """The explainer of a fitted estimator. Raises `ModelError` when it has none."""
    return _traced(estimator, np.arange(inputs), inputs)


def _traced(estimator: Any, sources: Indices, inputs: int) -> ModelExplainer:
    """`sources`: (m,) which input each of the estimator's m columns comes from."""
    estimator = _uncalibrated(estimator)
    if not isinstance(estimator, Pipeline):
        return _final(estimator, sources, inputs)
    if len(estimator.steps) == 1:
        return _traced(estimator.steps[0][1], sources, inputs)
    before = estimator[:-1]
    explain = _traced(estimator[-1], sources[origins(before, len(sources))], inputs)
    return lambda rows, chosen: explain(before.transform(rows), chosen)


def _uncalibrated(estimator: Any) -> Any:
    """The one classifier whose score a calibration maps; that of several is no sum."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif isinstance(estimator, CalibratedClassifierCV):
            inner = estimator.calibrated_classifiers_
            if len(inner) > 1:
                raise ModelError(
                    "a CalibratedClassifierCV must have one classifier to be explained (ensemble=False, or "
                    f"a FrozenEstimator); got {len(inner)}"
                )
            estimator = inner[0].estimator
        else:
            return estimator


def _final(estimator: Any, sources: Indices, inputs: int) -> ModelExplainer:
    library = type(estimator).__module__.partition(".")[0]
    if library in boosters.LIBRARIES:
        return _folded(boosters.build(estimator, len(sources)), sources, inputs)
    if type(estimator).__module__.startswith("sklearn.linear_model.") and hasattr(estimator, "coef_"):
        return _linear(estimator, sources, inputs)
    explain = trees.build(estimator, sources, inputs)
    if explain is None:
        raise ModelError(f"predictions of a {type(estimator).__name__} cannot be explained")
    return explain


def _folded(explain: ModelExplainer, sources: Indices, inputs: int) -> ModelExplainer:
    if np.array_equal(sources, np.arange(inputs)):
        return explain
    fold = folding(sources, inputs)

    def folded(rows: Any, chosen: Indices) -> Contributions:
        base, values = explain(rows, chosen)
        return Contributions(base, values @ fold)

    return folded


def _linear(estimator: Any, sources: Indices, inputs: int) -> ModelExplainer:
    """Coefficient times value, with the intercept as the base."""
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, np.float64).ravel(), len(coefficients))
    weights = coefficients[:, :, np.newaxis] * folding(sources, inputs)

    def explain(rows: Any, chosen: Indices) -> Contributions:
        matrix = rows if hasattr(rows, "tocsr") else np.asarray(rows, dtype=np.float64)
        if len(weights) == 1:
            return Contributions(np.full(len(chosen), intercepts[0]), matrix @ weights[0])
        values = np.empty((len(chosen), inputs))
        for k in np.unique(chosen):
            of_class = np.flatnonzero(chosen == k)
            values[of_class] = matrix[of_class] @ weights[k]
        return Contributions(intercepts[chosen], values)

    return explain
