"""Loads CatBoost models saved as `.cbm`.

CatBoost takes a DataFrame as that of the fit: categories as texts or whole numbers, which it knows by their
text. It refuses a row with a missing category, and takes one that it has not seen.
"""

from __future__ import annotations

from typing import Any

import catboost
import numpy as np
import pandas as pd
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, same_count, same_names
from udfs.model.manifest import Signature

_BINARY = ("Logloss", "CrossEntropy")
_OBJECTIVES = {"binary": _BINARY, "multiclass": ("MultiClass", "MultiClassOneVsAll")}


def load(data: bytes, signature: Signature) -> CatBoostModel:
    """Read a model from what `save_model` writes in the format `cbm`."""
    return CatBoostModel(read(data), signature)


def read(data: bytes) -> Any:
    """The library's own model: a classifier where its objective says so, else a regressor."""
    model = catboost.CatBoost().load_model(blob=data)
    kind = catboost.CatBoostClassifier if classifies(model) else catboost.CatBoostRegressor
    return kind().load_model(blob=data)


def objective(model: Any) -> str:
    """The loss function without its parameters."""
    return str(model.get_all_params().get("loss_function", "none")).partition(":")[0]


def classifies(model: Any) -> bool:
    """Whether it gives probabilities of classes."""
    return any(objective(model) in names for names in _OBJECTIVES.values())


def column_names(model: Any) -> list[str] | None:
    """The columns of the fit; None where they had numbers alone."""
    names = [str(name) for name in model.feature_names_]
    return None if names == [str(index) for index in range(len(names))] else names


class CatBoostModel(FormatModel):
    """A model on a DataFrame; one thread."""

    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__(signature)
        self.native = model
        self._names = column_names(model)
        self._frames = arrow.Frames(signature)
        same_count(len(model.feature_names_), signature)
        if self._names is not None:
            same_names(self._names, signature)
        if model.get_text_feature_indices() or model.get_embedding_feature_indices():
            raise ModelError("a catboost model must be of numbers and categories; got text or embeddings")
        _check_output(model, signature)

    def infer(self, inputs: pa.Table) -> Raw:
        rows = self.rows(inputs)
        if self.signature.output.kind == "regression":
            return Raw(np.asarray(self.native.predict(rows, thread_count=1)))
        said = np.asarray(self.native.predict_proba(rows, thread_count=1))
        return Raw(said[:, 1] if self.signature.output.kind == "binary" else said)

    def rows(self, inputs: pa.Table) -> pd.DataFrame:
        rows = self._frames(inputs)
        return rows if self._names is not None else rows.set_axis(range(len(rows.columns)), axis=1)


def _check_output(model: Any, signature: Signature) -> None:
    kind, loss = signature.output.kind, objective(model)
    fits = (
        loss in _OBJECTIVES[kind] if kind in _OBJECTIVES else kind == "regression" and not classifies(model)
    )
    if not fits:
        raise ModelError(f"the model's objective must fit a {kind} output; got {loss}")
    known, given = np.asarray(model.classes_).tolist(), list(signature.output.classes)
    if given and known != given:
        raise ModelError(f"the signature's classes must be the model's, in order: {known}; got {given}")
