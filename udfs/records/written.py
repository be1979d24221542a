"""Writes predictions in the format that the job asks for; only what that needs is imported."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from udfs.records.encode import RawJson, json_objects
from udfs.records.output_schema import OutputSchema


def written_records(
    schema: OutputSchema | None, columns: Mapping[str, pa.Array | RawJson], tail: Mapping[str, object]
) -> pa.Array:
    """A binary array, shape (rows,); without a schema JSON. Raises OtherTypeError."""
    if schema is None:
        return json_objects(columns, tail)
    if schema.format == "protobuf":
        from udfs.records.protobuf_encode import protobuf_records  # Start-up: for this format.  # noqa: PLC0415

        return protobuf_records(schema, columns, tail)
    if schema.format == "json_schema":
        from udfs.records.json_schema_encode import json_schema_records  # As above.  # noqa: PLC0415

        return json_schema_records(schema, columns, tail)
    from udfs.records.avro_encode import avro_records  # As above.  # noqa: PLC0415

    return avro_records(schema, columns, tail)
