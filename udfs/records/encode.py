"""Writes predictions as JSON, one object per row, built column by column in Arrow.

>>> lines = json_objects({"id": pa.array([1]), "score": pa.array([0.5])}, tail={"model": "fraud"})
>>> lines.to_pylist()
[b'{"id":1,"score":0.5,"model":"fraud"}']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_encode = msgspec.json.Encoder().encode


class RawJson(NamedTuple):
    """A column of strings that are JSON already."""

    text: pa.Array


def json_objects(columns: Mapping[str, pa.Array | RawJson], tail: Mapping[str, object]) -> pa.Array:
    """A binary array, shape (rows,), of JSON objects with the columns' values, then the constant `tail`.

    Columns are string, double, long, boolean, timestamp (ISO 8601, UTC), a struct of these, or raw JSON. NaN
    and infinity become null.
    """
    pieces: list[object] = []
    opening = "{"
    for name, column in columns.items():
        text = column.text if isinstance(column, RawJson) else json_values(column)
        pieces += [opening + _text(name) + ":", text]
        opening = ","
    constants = _encode(tail).decode()[1:-1]
    pieces.append((opening + constants if constants else "") + "}")
    joined = pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement="null")
    return joined.cast(pa.binary())


def json_values(column: pa.Array) -> pa.Array:
    """JSON text per value as a string array; null stays null."""
    kind = column.type
    if pa.types.is_string(kind):
        return _strings(column)
    if pa.types.is_floating(kind):
        finite = pc.is_finite(column)
        return pc.if_else(finite, column, None).cast(pa.string())
    if pa.types.is_timestamp(kind):
        text = column.cast(pa.timestamp("ms")).cast(pa.string())
        iso = pc.binary_replace_slice(text, 10, 11, "T")
        return pc.binary_join_element_wise('"', iso, 'Z"', "")
    if pa.types.is_struct(kind):
        fields = {kind.field(i).name: column.field(i) for i in range(kind.num_fields)}
        return json_objects(fields, {}).cast(pa.string())
    return column.cast(pa.string())


def _strings(column: pa.Array) -> pa.Array:
    if _needs_escapes(column):
        return pa.array([None if v is None else _text(v) for v in column.to_pylist()], type=pa.string())
    return pc.binary_join_element_wise('"', column, '"', "")


def _needs_escapes(column: pa.Array) -> bool:
    """Whether any byte of the column's text is a quote, a backslash or a control character."""
    data = column.buffers()[2]
    if data is None:
        return False
    text = np.frombuffer(data, dtype=np.uint8)
    return bool(((text < 0x20) | (text == 0x22) | (text == 0x5C)).any())


def _text(value: str) -> str:
    return _encode(value).decode()
