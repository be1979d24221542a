"""Loads scikit-learn estimators and pipelines (and what has their interface) written with joblib."""

from __future__ import annotations

import io
import threading
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from udfs.errors import ModelError
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, same_count, same_names
from udfs.model.formats.causes import check_estimator
from udfs.model.manifest import Signature

_METHODS = {
    "binary": ("predict_proba",),
    "multiclass": ("predict_proba",),
    "regression": ("predict",),
    "anomaly": ("score_samples", "predict"),
}
_thread = threading.local()


def load(data: bytes, signature: Signature) -> SklearnModel:
    """Unpickle an estimator. `data` must have been verified before: unpickling runs code."""
    return SklearnModel(joblib.load(io.BytesIO(data)), signature)


class SklearnModel(FormatModel):
    """Feeds an estimator a float64 matrix if it was fitted with one and has no strings; else a DataFrame."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        super().__init__(signature)
        self.native = estimator
        check_estimator(estimator)
        _check_methods(estimator, signature)
        _check_classes(estimator, signature)
        self._frames = arrow.Frames(signature) if _wants_frame(estimator, signature) else None
        self._dtype = _matrix_dtype(signature)
        if _last(estimator).startswith("xgboost."):
            self.closed = arrow.category_columns(signature)
        _one_job(estimator)

    def infer(self, inputs: pa.Table) -> Raw:
        _one_thread()
        rows = self.rows(inputs)
        kind = self.signature.output.kind
        if kind == "binary":
            return Raw(self.native.predict_proba(rows)[:, 1])
        if kind == "multiclass":
            return Raw(self.native.predict_proba(rows))
        predicted = np.asarray(self.native.predict(rows))
        if kind == "anomaly":
            return Raw(-self.native.score_samples(rows), predicted == -1)
        return Raw(predicted)

    def rows(self, inputs: pa.Table) -> Any:
        if self._frames is not None:
            return self._frames(inputs)
        return arrow.matrix(inputs).astype(self._dtype, copy=False)


def _check_methods(estimator: Any, signature: Signature) -> None:
    kind = signature.output.kind
    for method in _METHODS[kind]:
        if not hasattr(estimator, method):
            hint = "; wrap it in CalibratedClassifierCV" if method == "predict_proba" else ""
            name = type(estimator).__name__
            raise ModelError(f"a {kind} model must have the method {method}; {name} has none{hint}")


def _check_classes(estimator: Any, signature: Signature) -> None:
    expected = list(signature.output.classes)
    if not expected:
        return
    classes = np.asarray(estimator.classes_).tolist()
    if classes != expected:
        raise ModelError(f"the signature's classes must be the model's, in order: {classes}; got {expected}")


def _wants_frame(estimator: Any, signature: Signature) -> bool:
    fitted = fitted_names(estimator)
    if fitted is not None:
        same_names(fitted, signature)
        return True
    # CatBoost has forgotten it, and says 0, when it comes out of a pickle.
    if count := getattr(estimator, "n_features_in_", None):
        same_count(int(count), signature)
    return any(item.type == "string" for item in signature.inputs)


def fitted_names(estimator: Any) -> list[str] | None:
    """The columns that an estimator was fitted on; None for a matrix. CatBoost numbers those of a matrix."""
    if type(estimator).__module__.startswith("catboost."):
        names = [str(name) for name in estimator.feature_names_ or ()]
        return None if names == [str(index) for index in range(len(names))] else names
    fitted = getattr(estimator, "feature_names_in_", None)
    return None if fitted is None else [str(name) for name in fitted]


def wrapped(estimator: Any) -> Any:
    """What a search, a calibration or an ensemble holds, one of its fitted estimators; else None."""
    if calibrated := getattr(estimator, "calibrated_classifiers_", None):
        return calibrated[0].estimator
    if (best := getattr(estimator, "best_estimator_", None)) is not None:
        return best
    members = getattr(estimator, "estimators_", None)
    if isinstance(members, list) and members:
        return members[0]
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else None


def _last(estimator: Any) -> str:
    """The module of what predicts in the end: of a pipeline's last step, in whatever wraps it."""
    inner = estimator.steps[-1][1] if hasattr(estimator, "steps") else wrapped(estimator)
    return type(estimator).__module__ if inner is None else _last(inner)


def _matrix_dtype(signature: Signature) -> str:
    """float32 where all columns of the fit were: libraries compute in what they are given."""
    return "float32" if {item.pandas for item in signature.inputs} == {"float32"} else "float64"


def _one_job(estimator: Any) -> None:
    """Flink's workers share the machine's cores already, and one row must not start a pool."""
    if not hasattr(estimator, "get_params"):
        return
    jobs = [name for name in estimator.get_params() if name == "n_jobs" or name.endswith("__n_jobs")]
    if jobs:
        estimator.set_params(**dict.fromkeys(jobs, 1))


def _one_thread() -> None:
    """Limit BLAS and OpenMP to one thread. OpenMP keeps its limit per calling thread, hence once for each."""
    if not getattr(_thread, "limited", False):
        threadpool_limits(1)
        _thread.limited = True
