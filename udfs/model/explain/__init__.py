"""Explains predictions: what each input added to the raw score, exactly, batch by batch.

docs/explanations.md says what the raw score is and which method each kind of model has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.contract import Model, Scored
from udfs.model.explain.base import Contributions, Explainer, Indices, ModelExplainer
from udfs.model.manifest import Signature

__all__ = ["EXPLAINED", "Contributions", "Explainer", "explainer"]

EXPLAINED = (
    "LightGBM, XGBoost and CatBoost models, and scikit-learn's linear models, decision trees, forests and "
    "gradient boosting, alone or behind scalers, encoders, imputers and column transformers, calibrated or "
    "not"
)


def explainer(model: Model) -> Explainer:
    """What explains the predictions of `model`. Raises `ModelError` when nothing can."""
    signature = model.signature
    if signature.output.kind == "anomaly":
        raise ModelError("an anomaly score is no sum of contributions")
    native = getattr(model, "native", None)
    build, rows = _builder(native), getattr(model, "rows", None)
    if build is None or rows is None:
        raise ModelError(f"predictions of a {type(native or model).__name__} cannot be explained")
    explain = build(native, len(signature.inputs))

    def explained(inputs: pa.Table, scored: Scored) -> Contributions:
        return explain(rows(inputs), _chosen(scored, signature))

    return explained


def _builder(native: Any) -> Callable[[Any, int], ModelExplainer] | None:
    # Start-up: estimators needs scikit-learn, which workers without explanations do not load.
    from udfs.model.explain import boosters, estimators  # noqa: PLC0415

    library = type(native).__module__.partition(".")[0]
    if library in boosters.LIBRARIES:
        return boosters.build
    return estimators.build if hasattr(native, "get_params") else None


def _chosen(scored: Scored, signature: Signature) -> Indices:
    """(n,) the class whose score is explained: the positive one of two, else the one that was predicted."""
    if scored.probabilities is not None:
        return np.asarray(scored.probabilities.argmax(axis=1), dtype=np.intp)
    binary = signature.output.kind == "binary"
    return np.full(len(scored.prediction), int(binary), dtype=np.intp)
