"""Writes and inspects XGBoost boosters as UBJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import xgboost

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from flink_jobs.registry.formats.onnx_graphs import of_xgboost
from udfs.model.manifest import Output


def _dump(model: Any) -> bytes:
    return bytes((model.get_booster() if hasattr(model, "get_booster") else model).save_raw("ubj"))


def _inspect(data: bytes, _trusted_types: Sequence[str]) -> Facts:
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    output = Output(kind="regression")
    if objective == "binary:logistic":
        output = classifier(range(2))
    elif objective == "multi:softprob":
        output = classifier(range(int(learner["learner_model_param"]["num_class"])))
    return Facts(tuple(booster.feature_names) if booster.feature_names else None, output)


FORMAT = ClientFormat(_dump, _inspect, {"with 32-bit floats": of_xgboost})
