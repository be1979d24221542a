"""Writes and inspects LightGBM boosters as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import lightgbm

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from flink_jobs.registry.formats.onnx_graphs import of_lightgbm
from udfs.model.manifest import Output


def _dump(model: Any) -> bytes:
    return str(getattr(model, "booster_", model).model_to_string()).encode()


def _inspect(data: bytes, _trusted_types: Sequence[str]) -> Facts:
    text = data.decode()
    booster = lightgbm.Booster(model_str=text)
    found = re.search(r"^objective=(\S+)", text, re.MULTILINE)
    objective = found.group(1) if found else ""
    output = Output(kind="regression")
    if objective in ("binary", "cross_entropy"):
        output = classifier(range(2))
    elif objective in ("multiclass", "multiclassova"):
        output = classifier(range(booster.num_model_per_iteration()))
    names = booster.feature_name()
    unnamed = all(re.fullmatch(r"Column_\d+", name) for name in names)
    categories = tuple(tuple(map(str, values)) for values in booster.pandas_categorical or ())
    return Facts(None if unnamed else tuple(names), output, categories)


FORMAT = ClientFormat(_dump, _inspect, {"with 32-bit floats": of_lightgbm})
