"""Turns Arrow batches into what model libraries take: a matrix of floats, or a DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET, structs

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.manifest import Input, InputType, Output, Signature
from udfs.records.vectors import LARGEST_VECTOR, part_names
from udfs.types import ARROW

_MISSING = {UNSET: None, "none": None, "nan": np.nan, "NA": pd.NA}
# Floats that hold less than a double: a value is rounded as it was in the DataFrame of the fit.
NARROW = ("float32", "float16")
_INDEX = {"string": "object", "long": "int64", "double": "float64", "boolean": "bool"}
_TYPES: dict[pa.DataType, InputType] = {ARROW[kind]: kind for kind in ("double", "long", "string", "boolean")}


def tensor_columns(tensors: Mapping[str, Sequence[object]]) -> dict[str, list[str]]:
    """The inputs that each of several tensors takes, by its shape: one of its name, or a vector's elements.

    >>> tensor_columns({"age": ("n", 1), "embedding": ("n", 2)})
    {'age': ['age'], 'embedding': ['embedding_0', 'embedding_1']}
    """
    found = {}
    for name, shape in tensors.items():
        size = shape[1] if len(shape) == 2 else 1
        vector = isinstance(size, int) and 1 < size <= LARGEST_VECTOR
        found[name] = part_names(name, cast(int, size)) if vector else [name]
    return found


def floats(column: pa.ChunkedArray) -> Floats:
    """A numeric or boolean column as float64 with NaN for null."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    return cast(Floats, column.to_numpy())


def codes(column: pa.ChunkedArray, values: pa.Array) -> Floats:
    """A column as positions in `values`, with NaN for null and for values that are not there."""
    return cast(Floats, pc.index_in(column, value_set=values).cast(pa.float64()).to_numpy())


def matrix(table: pa.Table, categories: Mapping[str, pa.Array] | None = None) -> Floats:
    """(n, d) float64: numbers and booleans as they are, inputs with `categories` as codes in these."""
    result = np.empty((table.num_rows, table.num_columns))
    for index, name in enumerate(table.column_names):
        column = table.column(index)
        coded = (categories or {}).get(name)
        result[:, index] = floats(column) if coded is None else codes(column, coded)
    return result


def categories(signature: Signature) -> dict[str, pa.Array]:
    """The value sets of the inputs that have values."""
    return {item.name: _value_set(item) for item in signature.inputs if item.values}


def category_columns(signature: Signature) -> dict[str, pa.Array]:
    """The value sets of the inputs that are category columns to the library itself."""
    inputs = [item for item in signature.inputs if item.values and str(item.pandas).startswith("category")]
    return {item.name: _value_set(item) for item in inputs}


def rounding(signature: Signature) -> Callable[[Floats], Floats]:
    """Rounds the columns of a matrix that were narrower than float64 in the fit, in place."""
    narrow = [(i, str(item.pandas)) for i, item in enumerate(signature.inputs) if item.pandas in NARROW]

    def rounded(rows: Floats) -> Floats:
        for index, dtype in narrow:
            rows[:, index] = rows[:, index].astype(dtype)
        return rows

    return rounded


def exactly(values: npt.NDArray[Any], kind: type[np.generic], name: str) -> npt.NDArray[Any]:
    """Numbers as an integer or boolean type has them. Raises `ModelError` where it has no such number."""
    with np.errstate(invalid="ignore"):
        made = values.astype(kind)
    if not np.array_equal(made, values):
        raise ModelError(f"{name} must be a number that the model's {np.dtype(kind)} can hold")
    return made


class Frames:
    """Makes DataFrames as that which an estimator was fitted on, whatever else is in the batch.

    Numbers are float64 with NaN, strings objects with None, booleans bool (object with nulls), where the
    signature does not say otherwise with `pandas` and `missing`.
    """

    def __init__(self, signature: Signature) -> None:
        plain = all(item.pandas is UNSET and item.type in ("double", "long") for item in signature.inputs)
        self._columns = None if plain else [_column(item) for item in signature.inputs]

    def __call__(self, table: pa.Table) -> pd.DataFrame:
        if self._columns is None:
            return pd.DataFrame(matrix(table), columns=table.column_names, copy=False)
        made = zip(table.column_names, self._columns, table.columns, strict=True)
        return pd.DataFrame({name: make(values) for name, make, values in made}, copy=False)


def _column(item: Input) -> Callable[[pa.ChunkedArray], Any]:
    dtype = str(item.pandas) if item.pandas is not UNSET else None
    if dtype is None:
        return floats if item.type in ("double", "long") else _objects(item, plain=True)
    if dtype.startswith("category"):
        return _categorical(item)
    if dtype == "object":
        return _objects(item, plain=False)
    if dtype == "bool":
        return _objects(item, plain=True)
    if dtype.startswith("float"):
        return lambda column: floats(column).astype(dtype)
    if dtype == "int64":
        return lambda column: column.to_numpy() if not column.null_count else floats(column)
    return lambda column: pd.array(column.to_pylist(), dtype=dtype)


def _objects(item: Input, *, plain: bool) -> Callable[[pa.ChunkedArray], npt.NDArray[Any]]:
    """Python objects with what stands for a missing value; `plain`: booleans without null as bool."""
    missing = _MISSING[item.missing]

    def made(column: pa.ChunkedArray) -> npt.NDArray[Any]:
        if plain and pa.types.is_boolean(column.type) and not column.null_count:
            return cast(npt.NDArray[Any], column.to_pandas().to_numpy())
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist() if pa.types.is_integer(column.type) else column.to_pandas()
        if missing is not None and column.null_count:
            values[column.is_null().to_pandas().to_numpy()] = missing
        return values

    return made


def _categorical(item: Input) -> Callable[[pa.ChunkedArray], pd.Categorical]:
    """Values that the fit did not see are further categories, as they are in a DataFrame of new rows."""
    known = _value_set(item)
    dtype = str(item.pandas).removeprefix("category").strip("[]") or _INDEX[item.type]

    def made(column: pa.ChunkedArray) -> pd.Categorical:
        places = pc.index_in(column, value_set=known)
        values = list(item.values)
        if places.null_count > column.null_count:
            values += column.filter(pc.and_(places.is_null(), column.is_valid())).unique().to_pylist()
            places = pc.index_in(column, value_set=pa.array(values, ARROW[item.type]))
        numbers = places.fill_null(-1).to_numpy()
        return pd.Categorical.from_codes(numbers, categories=pd.Index(values, dtype=dtype))

    return made


def _value_set(item: Input) -> pa.Array:
    return pa.array(item.values, ARROW[item.type])


def frame(table: pa.Table) -> pd.DataFrame:
    """Rows as `Frames` makes them of a signature whose inputs `trained` gives: what training fits on."""
    inputs = tuple(trained(Input(name=f.name, type=_TYPES[f.type])) for f in table.schema)
    return Frames(Signature(inputs=inputs, output=Output(kind="regression")))(table)


def trained(item: Input) -> Input:
    """The input of a model that is trained here: a missing string or boolean is NaN, as in pandas."""
    return item if item.type in ("double", "long") else structs.replace(item, missing="nan")
