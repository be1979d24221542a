"""Columns while they are worked on: numbers in numpy, strings in Arrow, and which values are not null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from udfs.types import ARROW, ColumnType

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Column(NamedTuple):
    """`values`: numbers, booleans or milliseconds in numpy, 0 for null; or an Arrow array of strings."""

    values: Any
    valid: Bools

    def take(self, at: Ints) -> Column:
        taken = self.values[at] if isinstance(self.values, np.ndarray) else self.values.take(pa.array(at))
        return Column(taken, self.valid[at])

    def true(self) -> Bools:
        """Where a boolean is true."""
        return np.asarray(self.values & self.valid)

    def without(self, rows: Bools) -> Column:
        """Null in these rows."""
        valid = self.valid & ~rows
        if isinstance(self.values, np.ndarray):
            return Column(self.values, valid)
        return Column(pc.if_else(pa.array(valid), self.values, None), valid)

    def listed(self) -> list[Any]:
        """The values for Python, None for null."""
        if not isinstance(self.values, np.ndarray):
            return list(self.values.to_numpy(zero_copy_only=False).tolist())
        values: list[Any] = self.values.tolist()
        return (
            values
            if self.valid.all()
            else [v if ok else None for v, ok in zip(values, self.valid, strict=True)]
        )


def from_values(values: Any, valid: Bools) -> Column:
    """Of numbers, or of Python's strings."""
    if values.dtype != object:
        return Column(values, valid)
    return Column(pa.array(values, pa.string(), mask=~valid), valid)


def concat(columns: Sequence[Column]) -> Column:
    """One after the other."""
    valid = np.concatenate([column.valid for column in columns])
    if isinstance(columns[0].values, np.ndarray):
        return Column(np.concatenate([column.values for column in columns]), valid)
    return Column(pa.concat_arrays([column.values for column in columns]), valid)


def inverse(order: Ints) -> Ints:
    """Where each element went that `order` put into another place."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return back


def kind_of(arrow: pa.DataType) -> ColumnType:
    """The type of an Arrow column."""
    if pa.types.is_timestamp(arrow):
        return "timestamp"
    return next(kind for kind, other in ARROW.items() if other == arrow)


def read_column(array: pa.Array | pa.ChunkedArray, kind: ColumnType) -> Column:
    """-0.0 becomes 0.0: they are one value to every aggregate."""
    array = array.cast(ARROW[kind])
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if kind == "string":
        return Column(array, valid)
    if kind == "timestamp":
        array = array.cast(pa.int64())
    values = (array.fill_null(False if kind == "boolean" else 0) if array.null_count else array).to_numpy(
        zero_copy_only=False
    )
    return Column(values + 0.0 if kind == "double" else values, valid)


def write_column(column: Column, kind: ColumnType) -> pa.Array:
    """The column in the type's Arrow form."""
    if kind == "string":
        return column.values
    return pa.array(column.values, mask=~column.valid).cast(ARROW[kind])
