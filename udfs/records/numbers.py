"""Converts numbers between JSON, Arrow and models: a long is exact, a double is the nearest one.

The nearest double is that of IEEE 754 (ties to even), which is also what `float(text)` gives. A number beyond
the largest double is infinite, and a contract refuses it. -0 is 0.0, so that equal numbers are one key, one
category and one text.

>>> nearest_double(2**53 + 1), nearest_double(-0.0), nearest_double(10**400)
(9007199254740992.0, 0.0, inf)
>>> to_column([2**53 + 1, None], "long").to_pylist()
[9007199254740993, None]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from udfs.types import ARROW, ColumnType

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def nearest_double(number: int | float) -> float:
    """The double nearest to a number of any size; -0.0 becomes 0.0."""
    try:
        return float(number) + 0.0
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def to_column(values: Sequence[object], kind: ColumnType) -> pa.Array:
    """Values whose types a contract has checked, as an Arrow array."""
    if kind == "double":
        values = [None if value is None else nearest_double(value) for value in values]  # type: ignore[arg-type]
    return pa.array(values, type=ARROW[kind])


def without_negative_zero(table: pa.Table) -> pa.Table:
    """The table with 0.0 for each -0.0: x + 0.0 is x for all other doubles."""
    for index, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(index, field, pc.add(table.column(index), 0.0))
    return table


def cast_column(column: pa.ChunkedArray, kind: ColumnType) -> pa.ChunkedArray:
    """A column as a type that it may feed; a long becomes the nearest double."""
    nearest = kind == "double" and pa.types.is_integer(column.type)
    return column.cast(ARROW[kind], safe=not nearest)
