"""Turns Arrow batches into what model libraries take: a matrix of floats, or a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from udfs.model.contract import Floats
from udfs.model.manifest import Signature


def floats(column: pa.ChunkedArray) -> Floats:
    """A numeric or boolean column as float64 with NaN for null."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    return cast(Floats, column.to_numpy())


def codes(column: pa.ChunkedArray, values: pa.Array) -> Floats:
    """A string column as positions in `values`, with NaN for null and for values that are not there."""
    return cast(Floats, pc.index_in(column, value_set=values).cast(pa.float64()).to_numpy())


def matrix(table: pa.Table, categories: Mapping[str, pa.Array] | None = None) -> Floats:
    """(n, d) float64: numbers and booleans as they are, strings as codes in their `categories`."""
    result = np.empty((table.num_rows, table.num_columns))
    for index, name in enumerate(table.column_names):
        column = table.column(index)
        coded = (categories or {}).get(name)
        result[:, index] = floats(column) if coded is None else codes(column, coded)
    return result


def categories(signature: Signature) -> dict[str, pa.Array]:
    """The value sets of the inputs that have values."""
    return {item.name: pa.array(item.values, pa.string()) for item in signature.inputs if item.values}


def frame(table: pa.Table) -> pd.DataFrame:
    """Numbers as float64 with NaN, strings as objects with None, booleans as bool (object with nulls)."""
    if all(is_number(kind) for kind in table.schema.types):
        return pd.DataFrame(matrix(table), columns=table.column_names, copy=False)
    columns: dict[str, Any] = {name: _frame_column(table[name]) for name in table.column_names}
    return pd.DataFrame(columns, copy=False)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers; booleans are none."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _frame_column(column: pa.ChunkedArray) -> Any:
    return floats(column) if is_number(column.type) else column.to_pandas().to_numpy()
