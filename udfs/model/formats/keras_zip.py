"""Loads Keras 3 models saved as `.keras`: a matrix or columns in, probabilities or numbers out.

Loading is in safe mode: no Lambda layers, and no classes but those of Keras itself. The backend is that of
KERAS_BACKEND, or else the first that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, any_rows, need_codes, same_count
from udfs.model.formats.neural import as_output, check_kind
from udfs.model.manifest import Signature

BACKENDS = ("tensorflow", "jax", "torch")


def load(data: bytes, signature: Signature) -> KerasModel:
    """Load a model; one with code in it is refused."""
    return KerasModel(read(data), signature)


def read(data: bytes) -> Any:
    """The library's own model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        return import_keras().saving.load_model(path, compile=False, safe_mode=True)


def column_names(model: Any) -> list[str] | None:
    """The names of its inputs if it has one for each column or vector; None where it takes one matrix."""
    shapes = [tuple(node.shape) for node in model.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 2:
        return None
    if all(len(shape) == 1 or (len(shape) == 2 and shape[1] is not None) for shape in shapes):
        return [name for names in node_columns(model).values() for name in names]
    raise ModelError(
        "the model's inputs must be one matrix, or one for each column or vector; got inputs of the shapes "
        f"{shapes}"
    )


def node_columns(model: Any) -> dict[str, list[str]]:
    """The columns that each of several inputs takes."""
    return arrow.tensor_columns({str(node.name): tuple(node.shape) for node in model.inputs})


class KerasModel(FormatModel):
    """Null is NaN in an input of floats; an input of whole numbers cannot have one."""

    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__(signature)
        check_kind(signature)
        need_codes(signature)
        self._categories = arrow.categories(signature)
        self._rounded = arrow.rounding(signature)
        self._model = model
        self._to_numpy = import_keras().ops.convert_to_numpy
        for node in model.inputs:
            any_rows(node.shape, f"the model's input {node.name}")
        self._taken = node_columns(model)
        self._nodes = self._named() if column_names(model) is not None else None
        if self._nodes is None:
            same_count(int(model.inputs[0].shape[1]), signature)

    def infer(self, inputs: pa.Table) -> Raw:
        """Called, not `predict`, which would compile anew for each size of batch."""
        matrix = self._rounded(arrow.matrix(inputs, self._categories))
        rows: Any = matrix.astype(np.float32)
        if self._nodes is not None:
            rows = {node.name: self._column(inputs, matrix, node) for node in self._nodes}
        return Raw(as_output(self._to_numpy(self._model(rows, training=False)), self.signature))

    def _named(self) -> list[Any]:
        nodes = list(self._model.inputs)
        names = column_names(self._model) or []
        if sorted(names) != sorted(self.signature.names):
            raise ModelError(
                f"the signature's inputs must be the model's: {names}; got {self.signature.names}"
            )
        if odd := next((node for node in nodes if node.dtype == "string"), None):
            raise ModelError(f"the model's input {odd.name} must be of numbers; got strings")
        for node in nodes:
            if self._taken[node.name] != [node.name] and np.dtype(node.dtype).kind != "f":
                raise ModelError(
                    f"the model's input {node.name} of a vector must be of floats; got {node.dtype}"
                )
        return nodes

    def _column(self, inputs: pa.Table, matrix: Floats, node: Any) -> Any:
        if (taken := self._taken[node.name]) != [node.name]:
            return matrix[:, [self.signature.names.index(name) for name in taken]].astype(node.dtype)
        shape = (len(matrix), *(1 for _ in node.shape[1:]))
        place, kind = self.signature.names.index(node.name), np.dtype(node.dtype)
        values = matrix[:, place]
        if kind.kind == "f":
            return values.astype(kind).reshape(shape)
        if inputs[node.name].null_count:
            raise ModelError(f"{node.name} must not be missing: the model's input is a {kind}")
        if pa.types.is_integer(inputs[node.name].type) and node.name not in self._categories:
            values = inputs[node.name].to_numpy()
        if np.isnan(values).any():
            raise ModelError(f"{node.name} must be one of its values: the model's input is a {kind}")
        return arrow.exactly(values, kind.type, node.name).reshape(shape)


def import_keras() -> Any:
    """The module, with a backend that is installed, where no environment variable says which."""
    if "KERAS_BACKEND" not in os.environ:
        installed = (name for name in BACKENDS if importlib.util.find_spec(name))
        os.environ["KERAS_BACKEND"] = next(installed, BACKENDS[0])
    return importlib.import_module("keras")
