"""Writes predictions as JSON of a schema, after its id, as Confluent's serializers do."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.encode import RawJson, json_objects
from udfs.records.output_schema import OutputField, OutputSchema, check_type


def json_schema_records(
    output: OutputSchema, columns: Mapping[str, pa.Array | RawJson], tail: Mapping[str, object]
) -> pa.Array:
    """A binary array, shape (rows,); `tail` are constants. Raises OtherTypeError."""
    fields = [field for field in output.fields if field.name in columns]
    written = {field.name: _checked(field, columns[field.name]) for field in fields}
    constants = {
        field.name: tail[field.name]
        for field in output.fields
        if field.name not in columns and field.name in tail
    }
    head = pa.scalar(b"\0" + output.id.to_bytes(4, "big"), pa.binary())
    return pc.binary_join_element_wise(head, json_objects(written, constants), pa.scalar(b""))


def _checked(field: OutputField, column: pa.Array | RawJson) -> pa.Array | RawJson:
    text = column.text if isinstance(column, RawJson) else column
    if not pa.types.is_null(text.type):
        check_type(field, text.type)
    return RawJson(text) if field.kind == "json" else column
