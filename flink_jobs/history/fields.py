"""A column of a file as a field of records: lossless, or an error that names the column.

as_field(pa.chunked_array([[1.0, None]]), "long", "column 'seats'")     # int64: 1, null
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flink_jobs.errors import InputError
from udfs.records.event_time import Unit
from udfs.types import ARROW, ColumnType

_MS_PER: dict[str, tuple[int, int]] = {"ms": (1, 1), "s": (1, 1000), "us": (1000, 1)}


def event_time_kind(unit: Unit) -> ColumnType:
    """The type of a field that holds an event time in this unit."""
    return "string" if unit == "iso8601" else "long"


def as_field(column: pa.ChunkedArray, kind: str, what: str, unit: Unit = "iso8601") -> pa.Array:
    """The column in the field's type, shape (rows,); NaN is null.

    Times become text in ISO 8601 for a string, and numbers in `unit` for a long. Raises InputError, which
    begins with `what`, for a column of another type and for fractions where whole numbers must be.
    """
    values = _plain(column)
    found = values.type
    if pa.types.is_null(found):
        return values.cast(ARROW[_known(kind)])
    if kind == "string":
        return _text(values, what)
    if kind == "long":
        return _whole(_since_1970(values, unit) if _is_time(found) else values, what)
    if kind == "double" and _is_number(found):
        return _finite_or_null(values.cast(pa.float64(), safe=False))
    if kind == "boolean" and pa.types.is_boolean(found):
        return values
    raise _wrong(what, kind, found)


def as_milliseconds(column: pa.ChunkedArray, what: str) -> pa.Array:
    """Times, or numbers of milliseconds since 1970, as int64; null stays null."""
    values = _plain(column)
    return _whole(_since_1970(values, "ms") if _is_time(values.type) else values, what)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], column.type)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _text(values: pa.Array, what: str) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values.cast(pa.string())
    if not _is_time(kind):
        raise _wrong(what, "string", kind)
    written = _utc_ms(values).cast(pa.timestamp("ms")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(written, 10, 11, "T"), "Z", "")


def _whole(values: pa.Array, what: str) -> pa.Array:
    """Pandas writes whole numbers as floats where one is missing."""
    kind = values.type
    if pa.types.is_floating(kind):
        values = _finite_or_null(values.cast(pa.float64()))
        odd = pc.filter(values, pc.fill_null(pc.not_equal(pc.floor(values), values), False))
        if len(odd):
            raise InputError(f"{what} must be whole numbers, as it is a long; got {odd[0].as_py()}")
    elif not pa.types.is_integer(kind):
        raise _wrong(what, "long", kind)
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(f"{what} must be 64-bit integers; {error}") from error


def _since_1970(values: pa.Array, unit: Unit) -> pa.Array:
    milliseconds = _utc_ms(values).cast(pa.int64())
    factor, divisor = _MS_PER.get(unit, (1, 1))
    return pc.divide(pc.multiply(milliseconds, factor), divisor)


def _utc_ms(values: pa.Array) -> pa.Array:
    """As Tailrace reads event times: to the millisecond; a time without a zone is in UTC."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    zone = values.type.tz
    return values.cast(pa.timestamp("ms", tz=zone), safe=False).cast(pa.timestamp("ms", tz=zone and "UTC"))


def _finite_or_null(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_finite(values), values, None)


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_number(kind: pa.DataType) -> bool:
    checks: tuple[Any, ...] = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def _known(kind: str) -> ColumnType:
    return next(name for name in ARROW if name == kind)


def _wrong(what: str, kind: str, found: pa.DataType) -> InputError:
    hint = "; cast it before, as no value is ever converted" if kind in ("long", "double", "boolean") else ""
    return InputError(f"{what} must be {kind}, as in source.schema; got {found}{hint}")
