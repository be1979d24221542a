"""Loads XGBoost boosters saved as UBJSON or JSON. String inputs need `values`: boosters get their codes."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import xgboost

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, need_codes, same_count, same_names
from udfs.model.manifest import Signature

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
        need_codes(signature)
        same_count(booster.num_features(), signature)
        if booster.feature_names is not None:
            same_names(list(booster.feature_names), signature)
        _check_objective(booster, signature)
        booster.set_param({"nthread": 1})

    def infer(self, inputs: pa.Table) -> Raw:
        predicted = self.native.inplace_predict(
            self.rows(inputs), iteration_range=self._range, validate_features=False
        )
        return Raw(np.asarray(predicted))

    def rows(self, inputs: pa.Table) -> Floats:
        return arrow.matrix(inputs, self._categories)


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
