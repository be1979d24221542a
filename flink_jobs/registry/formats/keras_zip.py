"""Writes, inspects and asks Keras models; the library is loaded only when it is used."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flink_jobs.errors import InputError
from flink_jobs.registry.formats.base import ClientFormat, Facts, network_output
from flink_jobs.registry.formats.tensors import matrix, numbers, vector, whole
from udfs.model.formats.base import Raw
from udfs.model.formats.neural import as_output
from udfs.model.manifest import Output, Signature
from udfs.records.vectors import part_names

_REGRESSION = {
    *("mse", "mae", "mape", "msle", "huber", "log_cosh", "poisson", "tweedie"),
    *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"),
    *("mean_squared_logarithmic_error", "cosine_similarity"),
}


def _worker() -> Any:
    # Start-up: optional and slow to load.
    from udfs.model.formats import keras_zip  # noqa: PLC0415

    return keras_zip


def _dump(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    return _worker().read(data)


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    """The names of its inputs, where it has one for each column, and what its output is.

    That is told by the last activation, or by the loss that it was compiled with.
    """
    model = _read(data, trusted_types)
    if len(model.outputs) != 1:
        raise InputError(f"the model must have one output, as a version has; got {len(model.outputs)}")
    output = model.outputs[0]
    layer = output._keras_history.operation
    end = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower())
    found = network_output(end, int(output.shape[-1] or 0))
    if found is None and output.shape[-1] == 1 and _loss(data) in _REGRESSION:
        found = Output(kind="regression")
    names = _worker().column_names(model)
    return Facts(None if names is None else tuple(names), found)


def _loss(data: bytes) -> str:
    """The name of the loss in the file, in the form that Keras itself has for names; else empty."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        loss = (json.loads(archive.read("config.json")).get("compile_config") or {}).get("loss")
    if isinstance(loss, dict):
        config = loss.get("config")
        loss = config.get("name") if isinstance(config, dict) else config
    return loss if isinstance(loss, str) else ""


def _says(model: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """What Keras's own `predict` gives."""
    rows: Any = matrix(frame, signature).astype("float32")
    if _worker().column_names(model) is not None:
        rows = {node.name: _column(node, frame, signature) for node in model.inputs}
    return Raw(as_output(np.asarray(model.predict(rows, verbose=0)), signature))


def _column(node: Any, frame: pd.DataFrame, signature: Signature) -> Any:
    inputs = {item.name: item for item in signature.inputs}
    if node.name not in inputs:
        return vector(frame, part_names(node.name, node.shape[1]), inputs).astype(node.dtype)
    item = next(item for item in signature.inputs if item.name == node.name)
    kind = np.dtype(node.dtype)
    values = (numbers if kind.kind == "f" else whole)(frame[item.name], item)
    made = values.astype(kind)
    if kind.kind != "f" and (made != values).any():
        raise ValueError(f"{item.name} must be of the model's {kind}")
    return made.reshape(len(made), *(1 for _ in node.shape[1:]))


FORMAT = ClientFormat(_dump, _inspect, read=_read, says=_says, coded=True, tensors=True)
