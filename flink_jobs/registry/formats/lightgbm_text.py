"""Writes, inspects and asks LightGBM boosters as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from flink_jobs.registry.formats.onnx_graphs import of_lightgbm
from flink_jobs.registry.maker_rows import numeric
from udfs.model.formats.base import Raw
from udfs.model.formats.lightgbm_text import category_columns
from udfs.model.manifest import Output, Signature, Value


def _dump(model: Any) -> bytes:
    return str(getattr(model, "booster_", model).model_to_string()).encode()


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    text = data.decode()
    booster = _read(data, trusted_types)
    found = re.search(r"^objective=(\S+)", text, re.MULTILINE)
    objective = found.group(1) if found else ""
    output = Output(kind="regression")
    if objective in ("binary", "cross_entropy"):
        output = classifier(range(2))
    elif objective in ("multiclass", "multiclassova"):
        output = classifier(range(booster.num_model_per_iteration()))
    names = booster.feature_name()
    unnamed = all(re.fullmatch(r"Column_\d+", name) for name in names)
    categories, unplaced = category_facts(booster)
    return Facts(None if unnamed else tuple(names), output, categories, unplaced)


def _read(data: bytes, _trusted_types: Sequence[str]) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=data.decode())


def category_facts(
    booster: lightgbm.Booster,
) -> tuple[dict[int, tuple[Value, ...]], tuple[tuple[Value, ...], ...]]:
    """The categories by the places of their columns; those of unknown places."""
    known = [tuple(values) for values in booster.pandas_categorical or ()]
    places = category_columns(booster)
    if places is None:
        return {}, tuple(known)
    return dict(zip(places, known, strict=True)), ()


def _says(model: Any, frame: pd.DataFrame, _signature: Signature) -> Raw:
    """A booster or an estimator of LightGBM. Without category columns it gets numbers, which may be codes."""
    booster = getattr(model, "booster_", model)
    rows: Any = numeric(frame)
    if not any(isinstance(dtype, pd.CategoricalDtype) for dtype in rows.dtypes):
        rows = rows.to_numpy("float64", na_value=np.nan)
    return Raw(np.asarray(booster.predict(rows, num_threads=1)))


FORMAT = ClientFormat(
    _dump, _inspect, {"with 32-bit floats": of_lightgbm}, read=_read, says=_says, coded=True
)
