"""Loads XGBoost boosters saved as UBJSON or JSON.

A booster gets codes. Since XGBoost 3.1 one that was fitted on a DataFrame holds the categories of its
category columns: the `values` of the signature's inputs must be these, in order.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import xgboost

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, need_codes, same_categories, same_count, same_names
from udfs.model.manifest import Signature, Value

_OBJECTIVES = {"binary": ("binary:logistic",), "multiclass": ("multi:softprob",)}


def load(data: bytes, signature: Signature) -> XGBoostModel:
    """Parse a booster from what `Booster.save_model` or `save_raw` writes."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    return XGBoostModel(booster, signature)


class XGBoostModel(FormatModel):
    """A booster on a float64 matrix; one thread; up to its best iteration if training stopped early."""

    def __init__(self, booster: xgboost.Booster, signature: Signature) -> None:
        super().__init__(signature)
        self.native = booster
        self._categories = arrow.categories(signature)
        best = booster.attr("best_iteration")
        self._range = (0, int(best) + 1 if best else 0)
        self.closed = arrow.category_columns(signature)
        self._rounded = arrow.rounding(signature)
        need_codes(signature)
        same_count(booster.num_features(), signature)
        if booster.feature_names is not None:
            same_names(list(booster.feature_names), signature)
        for place, values in category_columns(booster).items():
            same_categories(signature.inputs[place], values)
        _check_objective(booster, signature)
        booster.set_param({"nthread": 1})

    def infer(self, inputs: pa.Table) -> Raw:
        predicted = self.native.inplace_predict(
            self.rows(inputs), iteration_range=self._range, validate_features=False
        )
        return Raw(np.asarray(predicted))

    def rows(self, inputs: pa.Table) -> Floats:
        return self._rounded(arrow.matrix(inputs, self._categories))


def category_columns(booster: xgboost.Booster) -> dict[int, list[Value]]:
    """The categories by column, of a booster that holds them."""
    if not hasattr(booster, "get_categories"):
        return {}
    try:
        found = booster.get_categories(export_to_arrow=True).to_arrow()
    except xgboost.core.XGBoostError:
        return {}
    return {i: values.to_pylist() for i, (_, values) in enumerate(found) if values is not None}


def _check_objective(booster: xgboost.Booster, signature: Signature) -> None:
    kind = signature.output.kind
    if kind == "anomaly":
        raise ModelError(
            "an xgboost model must be binary, multiclass or regression; the signature says anomaly"
        )
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    classifies = objective.startswith(("binary:", "multi:"))
    fits = objective in _OBJECTIVES[kind] if kind in _OBJECTIVES else not classifies
    if not fits:
        raise ModelError(f"the model's objective must fit a {kind} output; got {objective}")
