"""Writes predictions in Protobuf by its own library, after the id of their schema and the message's place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.encode import RawJson
from udfs.records.output_schema import OutputField, OutputSchema, check_type
from udfs.records.protobuf_schema import message_type

# The message is the file's first.
PLACE = b"\0"


def protobuf_records(
    output: OutputSchema, columns: Mapping[str, pa.Array | RawJson], tail: Mapping[str, object]
) -> pa.Array:
    """A binary array, shape (rows,); `tail` are constants. Raises OtherTypeError.

    A null, NaN or infinity is a field that is absent, or an entry of a map that is.
    """
    head = b"\0" + output.id.to_bytes(4, "big") + PLACE
    make = message_type(output)
    constants, names, values = {}, [], []
    for field in output.fields:
        if field.name in columns:
            column = columns[field.name]
            names.append(field.name)
            values.append(_values(field, column.text if isinstance(column, RawJson) else column))
        else:
            constants[field.name] = _values(field, pa.array([tail.get(field.name)]))[0]
    records = [
        head + make(**constants, **dict(zip(names, row, strict=True))).SerializeToString(deterministic=True)
        for row in zip(*values, strict=True)
    ]
    return pa.array(records, pa.binary())


def _values(field: OutputField, column: pa.Array) -> list[Any]:
    if pa.types.is_null(column.type):
        return [None] * len(column)
    check_type(field, column.type)
    if field.kind == "timestamp":
        times = column.cast(pa.timestamp("ms")).cast(pa.int64()).to_pylist()
        return [None if each is None else _instant(each) for each in times]
    if field.kind == "map":
        return [None if each is None else _entries(each) for each in column.to_pylist()]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    found: list[Any] = column.to_pylist()
    return found


def _instant(milliseconds: int) -> dict[str, int]:
    seconds, rest = divmod(milliseconds, 1000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}


def _entries(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None and abs(value) < float("inf")}


def read_message(output: OutputSchema, raw: bytes) -> dict[str, Any]:
    """The fields of a record, without its head, that are there; times as `datetime` in UTC."""
    message = message_type(output).FromString(raw)
    kinds = {field.name: field.kind for field in output.fields}
    return {
        field.name: value.ToDatetime(UTC)
        if kinds[field.name] == "timestamp"
        else dict(value)
        if kinds[field.name] == "map"
        else value
        for field, value in message.ListFields()
    }
