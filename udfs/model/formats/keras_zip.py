"""Loads Keras 3 models saved as `.keras`: one input of floats, probabilities or numbers out.

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
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, need_codes, same_count
from udfs.model.formats.neural import as_output, check_kind
from udfs.model.manifest import Signature

BACKENDS = ("tensorflow", "jax", "torch")


def load(data: bytes, signature: Signature) -> KerasModel:
    """Load a model; one with code in it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        return KerasModel(import_keras().saving.load_model(path, compile=False, safe_mode=True), signature)


class KerasModel(FormatModel):
    """A model on a float32 matrix; null is NaN."""

    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__(signature)
        check_kind(signature)
        need_codes(signature)
        if len(model.inputs) != 1 or len(model.inputs[0].shape) != 2:
            shapes = [tuple(item.shape) for item in model.inputs]
            raise ModelError(f"the model's only input must be a matrix; got inputs of the shapes {shapes}")
        same_count(int(model.inputs[0].shape[1]), signature)
        self._categories = arrow.categories(signature)
        self._model = model
        self._to_numpy = import_keras().ops.convert_to_numpy

    def infer(self, inputs: pa.Table) -> Raw:
        """Called, not `predict`, which would compile anew for each size of batch."""
        rows = arrow.matrix(inputs, self._categories).astype(np.float32)
        return Raw(as_output(self._to_numpy(self._model(rows, training=False)), self.signature))


def import_keras() -> Any:
    """The module, with a backend that is installed, where no environment variable says which."""
    if "KERAS_BACKEND" not in os.environ:
        installed = (name for name in BACKENDS if importlib.util.find_spec(name))
        os.environ["KERAS_BACKEND"] = next(installed, BACKENDS[0])
    return importlib.import_module("keras")
