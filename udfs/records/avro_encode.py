r"""Writes predictions in Avro, column by column in Arrow, after the id of their schema.

>>> output = OutputSchema((OutputField("n", "long"), OutputField("city", "string")), id=7)
>>> avro_records(output, {"n": pa.array([1, None]), "city": pa.array(["Ur", ""])}, {}).to_pylist()
[b'\x00\x00\x00\x00\x07\x02\x02\x02\x04Ur', b'\x00\x00\x00\x00\x07\x00\x02\x00']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.encode import RawJson
from udfs.records.output_schema import Kind, OutputField, OutputSchema, check_type

# The branches of ["null", T].
_NULL, _GIVEN = b"\x00", b"\x02"
_LONGEST = 10


def avro_records(
    output: OutputSchema, columns: Mapping[str, pa.Array | RawJson], tail: Mapping[str, object]
) -> pa.Array:
    """A binary array, shape (rows,); `tail` are constants. Raises OtherTypeError.

    NaN and infinity become null, as in JSON, and so does what is not among the columns.
    """
    rows = len(_array(next(iter(columns.values()))))
    pieces: list[Any] = [b"\0" + output.id.to_bytes(4, "big")]
    for field in output.fields:
        if field.name in columns:
            pieces.append(_values(field, _array(columns[field.name])))
        else:
            pieces.append(_values(field, pa.array([tail.get(field.name)]))[0])
    empty, *parts = (
        pa.scalar(each, pa.binary()) if isinstance(each, bytes) else each for each in (b"", *pieces)
    )
    if not any(isinstance(part, pa.Array) for part in parts):
        parts.append(pa.array([b""] * rows, pa.binary()))
    return pc.binary_join_element_wise(*parts, empty)


def _array(column: pa.Array | RawJson) -> pa.Array:
    return column.text if isinstance(column, RawJson) else column


def _values(field: OutputField, column: pa.Array) -> pa.Array:
    """N values of a field as their bytes."""
    if field.nullable and pa.types.is_null(column.type):
        return pa.array([_NULL] * len(column), pa.binary())
    check_type(field, column.type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    if not field.nullable:
        return _WRITERS[field.kind](column)
    given = column.is_valid()
    if not pa.types.is_struct(column.type):
        column = column.fill_null(_ZERO.get(field.kind, 0))
    written = pc.binary_join_element_wise(pa.scalar(_GIVEN), _WRITERS[field.kind](column), pa.scalar(b""))
    return pc.if_else(given, written, pa.scalar(_NULL))


_ZERO: dict[Kind, Any] = {"string": "", "json": "", "double": 0.0, "boolean": False}


def _strings(column: pa.Array) -> pa.Array:
    texts = column.cast(pa.binary())
    return pc.binary_join_element_wise(_longs(pc.binary_length(texts)), texts, pa.scalar(b""))


def _doubles(column: pa.Array) -> pa.Array:
    values: npt.NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return _binary(np.ascontiguousarray(values, "<f8").tobytes(), np.full(len(values), 8))


def _booleans(column: pa.Array) -> pa.Array:
    values: npt.NDArray[np.bool_] = column.to_numpy(zero_copy_only=False)
    return _binary(values.astype(np.uint8).tobytes(), np.full(len(values), 1))


def _timestamps(column: pa.Array) -> pa.Array:
    return _longs(column.cast(pa.timestamp("ms")).cast(pa.int64()))


def _longs(column: pa.Array) -> pa.Array:
    """Zigzag, then seven bits a byte from the lowest on, of which all but the last have the eighth set."""
    values: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    left = ((values << 1) ^ (values >> 63)).view(np.uint64)
    digits = np.zeros((len(values), _LONGEST), dtype=np.uint8)
    lengths = np.ones(len(values), dtype=np.int64)
    for place in range(_LONGEST):
        digits[:, place] = (left & np.uint64(0x7F)).astype(np.uint8)
        left >>= np.uint64(7)
        more = left > 0
        digits[more, place] |= 0x80
        lengths += more
        if not more.any():
            break
    return _binary(digits[np.arange(_LONGEST) < lengths[:, None]].tobytes(), lengths)


def _maps(column: pa.Array) -> pa.Array:
    """A struct of doubles as one block, whose keys are the names of its fields."""
    count = column.type.num_fields
    pieces: list[Any] = [_longs(pa.array([count]))[0]]
    for index in range(count):
        name = pa.array([column.type.field(index).name])
        pieces += [_strings(name)[0], _values(OutputField("", "double"), column.field(index))]
    end = [pa.scalar(b"\0")] if count else []
    return pc.binary_join_element_wise(*pieces, *end, pa.scalar(b""))


def _binary(data: bytes, lengths: Sequence[int] | npt.NDArray[Any]) -> pa.Array:
    ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(data)]
    )


_WRITERS = {
    "string": _strings,
    "json": _strings,
    "double": _doubles,
    "long": _longs,
    "boolean": _booleans,
    "timestamp": _timestamps,
    "map": _maps,
}
