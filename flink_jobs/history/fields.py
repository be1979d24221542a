"""A column of a file as a field of records: lossless, or an error that names the column.

as_field(pa.chunked_array([[1.0, None]]), "long", "column 'seats'")     # int64: 1, null
"""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from flink_jobs.errors import InputError
from udfs.records.binary import bytes_text
from udfs.records.encode import RawJson
from udfs.records.event_time import Unit
from udfs.tables.columns import ColumnError, as_type, one_array
from udfs.types import ARROW, ColumnType

_encode = msgspec.json.Encoder().encode
_MS_PER: dict[str, tuple[int, int]] = {"ms": (1, 1), "s": (1, 1000), "us": (1000, 1)}


def as_field(column: pa.ChunkedArray, kind: str, what: str, unit: Unit = "iso8601") -> pa.Array:
    """The column in the field's type, shape (rows,); NaN is null.

    Times become text in ISO 8601 for a string, and numbers in `unit` for a long. Raises InputError, which
    begins with `what`, for a column of another type and for fractions where whole numbers must be.
    """
    values = one_array(column)
    if kind in ("decimal", "bytes"):
        values, kind = _written(values), "string"
    if _is_time(values.type) and kind in ("string", "long"):
        values = _text(values) if kind == "string" else _since_1970(values, unit)
    try:
        made = as_type(values, _known(kind))
    except ColumnError as error:
        raise _wrong(what, error) from None
    return _finite_or_null(made) if kind == "double" else made


def as_list(column: pa.ChunkedArray, what: str) -> RawJson:
    """A column of lists or maps as JSON, shape (rows,).

    Raises InputError, which begins with `what`, for another.
    """
    kind = column.type
    as_map = pa.types.is_map(kind)
    if not as_map and not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        raise InputError(f"{what} must be a list or a map, as the field is; got {kind}")
    try:
        values = [dict(v) if as_map and v is not None else v for v in column.to_pylist()]
        texts = [None if value is None else _encode(value).decode() for value in values]
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be a list of what JSON has: {error}") from None
    return RawJson(pa.array(texts, pa.string()))


def as_milliseconds(column: pa.ChunkedArray, what: str) -> pa.Array:
    """Times, or numbers of milliseconds since 1970, as int64; null stays null."""
    return as_field(column, "long", what, "ms")


def _text(times: pa.Array) -> pa.Array:
    written = _utc_ms(times).cast(pa.timestamp("ms")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(written, 10, 11, "T"), "Z", "")


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


def _written(values: pa.Array) -> pa.Array:
    """Decimals and bytes as JSON has them."""
    if pa.types.is_decimal(values.type):
        return values.cast(pa.string())
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return pa.array([bytes_text(value) for value in values.to_pylist()], pa.string())
    return values


def _known(kind: str) -> ColumnType:
    return next(name for name in ARROW if name == kind)


def _wrong(what: str, error: ColumnError) -> InputError:
    named = error.expected in ARROW
    hint = "; cast it before, as no value is ever converted" if named and error.expected != "string" else ""
    where = ", as in source.schema" if named else ""
    return InputError(f"{what} must be {error.expected}{where}; got {error.found}{hint}")
