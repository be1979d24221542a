"""Writes, inspects and asks XGBoost boosters as UBJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from flink_jobs.registry.formats.onnx_graphs import of_xgboost
from flink_jobs.registry.maker_rows import numeric
from udfs.model.formats.base import Raw
from udfs.model.formats.xgboost_binary import category_columns
from udfs.model.manifest import Output, Signature, Value


def _dump(model: Any) -> bytes:
    return bytes((model.get_booster() if hasattr(model, "get_booster") else model).save_raw("ubj"))


def _read(data: bytes, _trusted_types: Sequence[str]) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    return booster


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    booster = _read(data, trusted_types)
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    output = Output(kind="regression")
    if objective == "binary:logistic":
        output = classifier(range(2))
    elif objective == "multi:softprob":
        output = classifier(range(int(learner["learner_model_param"]["num_class"])))
    names = tuple(booster.feature_names) if booster.feature_names else None
    return Facts(names, output, category_facts(booster), closed=True)


def category_facts(booster: xgboost.Booster) -> dict[int, tuple[Value, ...]]:
    """The categories by the places of their columns."""
    return {place: tuple(values) for place, values in category_columns(booster).items()}


def _says(model: Any, frame: pd.DataFrame, _signature: Signature) -> Raw:
    """A booster, up to its best iteration, or an estimator of XGBoost."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    best = booster.attr("best_iteration")
    rows = xgboost.DMatrix(numeric(frame), enable_categorical=True)
    if booster.feature_names is None:
        rows.feature_names = None
    return Raw(np.asarray(booster.predict(rows, iteration_range=(0, int(best) + 1 if best else 0))))


FORMAT = ClientFormat(_dump, _inspect, {"with 32-bit floats": of_xgboost}, read=_read, says=_says, coded=True)
