"""Writes, inspects and asks CatBoost models as `.cbm`; the library is loaded only when it is used."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from udfs.model.formats.base import Raw
from udfs.model.manifest import Output, Signature


def _dump(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        return path.read_bytes()


def _worker() -> Any:
    # Start-up: optional and slow to load.
    from udfs.model.formats import catboost_binary  # noqa: PLC0415

    return catboost_binary


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    return _worker().read(data)


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    worker, model = _worker(), _read(data, trusted_types)
    names = worker.column_names(model)
    output = Output(kind="regression")
    if worker.classifies(model):
        output = classifier(np.asarray(model.classes_).tolist())
    return Facts(None if names is None else tuple(names), output)


def _says(model: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """What its own methods say; a model of the base class gives margins there, so its output is named."""
    names = _worker().column_names(model)
    rows = frame.set_axis(range(len(frame.columns)), axis=1) if names is None else frame[names]
    if signature.output.kind == "regression":
        return Raw(np.asarray(model.predict(rows)))
    said = np.asarray(model.predict(rows, prediction_type="Probability"))
    return Raw(said[:, 1] if signature.output.kind == "binary" else said)


FORMAT = ClientFormat(_dump, _inspect, read=_read, says=_says)
