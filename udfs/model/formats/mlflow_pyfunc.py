"""Loads models of MLflow's `python_function` flavor: the folder that MLflow saved, as an archive.

MLflow loads and calls them, and so holds each batch to the model's own signature. What `predict` gives is
taken for numbers, or for probabilities where the output has classes.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import weakref
import zipfile
from typing import Any

import mlflow.pyfunc
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import structs

from udfs.errors import ModelError
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, same_names
from udfs.model.formats.neural import as_output
from udfs.model.manifest import Signature

# MLflow takes no other dtype for these types of its own.
DTYPES = {"integer": "int32", "long": "int64", "float": "float32"}


def load(data: bytes, signature: Signature) -> PyfuncModel:
    """Load the folder in an archive. `data` must have been verified before: loading runs code."""
    return PyfuncModel(read(data), signature)


def read(data: bytes) -> Any:
    """MLflow's own model. Its folder stays for as long as the model does: some load parts of it later."""
    folder = tempfile.mkdtemp(prefix="tailrace-pyfunc-")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    model = mlflow.pyfunc.load_model(folder, suppress_warnings=True)
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return model


def column_types(model: Any) -> dict[str, str]:
    """MLflow's type of each column. Raises `ModelError` for a model without a signature of columns."""
    schema = model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        raise ModelError("a pyfunc model must have an MLflow signature of named columns: save it with one")
    return {column.name: getattr(column.type, "name", str(column.type)) for column in schema.inputs}


def numbers(said: Any, signature: Signature) -> npt.NDArray[Any]:
    """What `predict` gave, a DataFrame, Series, array or list, in the shape of the output."""
    try:
        values = np.asarray(said, dtype=np.float64)
    except (TypeError, ValueError):
        wanted = "probabilities of the classes" if signature.output.classes else "numbers"
        raise ModelError(
            f"predict of a pyfunc model must give {wanted}; got a {type(said).__name__}"
        ) from None
    return as_output(values, signature)


class PyfuncModel(FormatModel):
    """A model on a DataFrame with the dtypes of its MLflow signature."""

    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__(signature)
        if signature.output.kind == "anomaly":
            raise ModelError(
                "a pyfunc model must be binary, multiclass or regression; the signature says anomaly"
            )
        types = {name: kind.lower() for name, kind in column_types(model).items()}
        same_names(list(types), signature)
        typed = [
            structs.replace(item, pandas=DTYPES[types[item.name]]) if types[item.name] in DTYPES else item
            for item in signature.inputs
        ]
        self._model = model
        self._frames = arrow.Frames(structs.replace(signature, inputs=tuple(typed)))

    def infer(self, inputs: pa.Table) -> Raw:
        said = self._model.predict(self._frames(_never_missing_alone(inputs)))
        return Raw(numbers(said, self.signature)[: inputs.num_rows])


def _never_missing_alone(inputs: pa.Table) -> pa.Table:
    """With one row more where a column of booleans is all missing: MLflow would take that for one of floats.

    Else what becomes of a record would depend on others of its batch.
    """
    row = inputs.slice(0, 1)
    for place, field in enumerate(inputs.schema):
        if pa.types.is_boolean(field.type) and inputs.column(place).null_count == inputs.num_rows:
            row = row.set_column(place, field, pa.array([True]))
    return inputs if row.equals(inputs.slice(0, 1)) else pa.concat_tables([inputs, row])
