"""Columns with types, as the five types that Tailrace knows: no value changes, or an error says why.

>>> as_type(pa.array([1.0, None]), "long").to_pylist()
[1, None]
>>> as_type(pa.array([2139]), "string")
Traceback (most recent call last):
udfs.tables.columns.ColumnError: must be string; got int64
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from udfs.types import ARROW, ColumnType, TableType

_CHECKS: dict[TableType, tuple[Callable[[pa.DataType], bool], ...]] = {
    "string": (pa.types.is_string, pa.types.is_large_string),
    "long": (pa.types.is_integer,),
    "double": (pa.types.is_floating, pa.types.is_decimal),
    "boolean": (pa.types.is_boolean,),
    "timestamp": (pa.types.is_timestamp, pa.types.is_date),
}


class ColumnError(ValueError):
    """A column must be `expected`; got `found`."""

    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"must be {expected}; got {found}")


def column_type(type_: pa.DataType) -> TableType | None:
    """The type that holds the values of an Arrow type, None where there is none."""
    return next((name for name, fits in _CHECKS.items() if any(fit(type_) for fit in fits)), None)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The values in one piece, dictionaries as their values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks else pa.array([], column.type)
        if isinstance(column, pa.ChunkedArray):  # as older versions of Arrow do
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def as_type(column: pa.Array | pa.ChunkedArray, wanted: ColumnType) -> pa.Array:
    """The column as ARROW[wanted], shape (rows,). NaN is null, which it is in files that pandas wrote.

    Whole floats may be longs, as pandas writes them beside a missing one; numbers may be doubles; dates and
    times are timestamps of milliseconds in UTC, those without a zone are taken as UTC. Raises ColumnError for
    all else: nothing is made of a text, and no text of anything.
    """
    values = without_nan(one_array(column))
    found = column_type(values.type)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), ARROW[wanted])
    if found == wanted or (found, wanted) == ("long", "double"):
        return _cast(values, wanted)
    if (found, wanted) == ("double", "long") and pa.types.is_floating(values.type):
        return _whole(values)
    raise ColumnError(wanted, str(values.type))


def without_nan(values: pa.Array) -> pa.Array:
    """Floats as doubles, with null for NaN."""
    if not pa.types.is_floating(values.type):
        return values
    doubles = values.cast(pa.float64())
    return pc.if_else(pc.is_nan(doubles), pa.scalar(None, pa.float64()), doubles)


def _cast(values: pa.Array, wanted: ColumnType) -> pa.Array:
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    try:
        return values.cast(ARROW[wanted], safe=wanted == "long")
    except pa.ArrowException as error:
        raise ColumnError("64-bit integers" if wanted == "long" else wanted, str(error)) from None


def _whole(values: pa.Array) -> pa.Array:
    odd = values.filter(pc.fill_null(pc.not_equal(pc.floor(values), values), False))
    if len(odd):
        raise ColumnError("whole numbers, as it is a long", str(odd[0].as_py()))
    return _cast(values, "long")
