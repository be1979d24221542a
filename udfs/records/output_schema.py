"""The schema of a job's predictions, made of its columns, as plain data: importing it costs nothing.

`schema_texts` has it as each format writes schemas, and `written` writes records by it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import pyarrow as pa

Kind = Literal["string", "double", "long", "boolean", "timestamp", "map", "json"]
SchemaFormat = Literal["avro", "protobuf", "json_schema"]
# What registries call the formats.
KINDS: dict[SchemaFormat, str] = {"avro": "AVRO", "protobuf": "PROTOBUF", "json_schema": "JSON"}
RECORD = "tailrace.Prediction"


class OutputField(msgspec.Struct, frozen=True):
    """A field of predictions. One that may be null is so by default: it can be added and dropped.

    One of `json` holds JSON: an object where the format knows such, else its text.
    """

    name: str
    kind: Kind
    nullable: bool = True


class OutputSchema(msgspec.Struct, frozen=True):
    """The fields in their order, and the full name of the `record`.

    `id` is what the registry calls the schema, once it is registered.
    """

    fields: tuple[OutputField, ...]
    format: SchemaFormat = "avro"
    record: str = RECORD
    id: int = 0

    @property
    def kind(self) -> str:
        """What registries call the format."""
        return KINDS[self.format]

    @property
    def names(self) -> tuple[str, str]:
        """Namespace, or package, and name of the record."""
        namespace, _, name = self.record.rpartition(".")
        return namespace, name


class OtherTypeError(Exception):
    """A column is not of the type that the schema has."""


def check_type(field: OutputField, kind: pa.DataType) -> None:
    """Raises OtherTypeError unless a column of that type can be the field."""
    fits = {
        "string": pa.types.is_string,
        "double": pa.types.is_floating,
        "long": pa.types.is_integer,
        "boolean": pa.types.is_boolean,
        "timestamp": lambda kind: pa.types.is_timestamp(kind) or pa.types.is_integer(kind),
        "map": pa.types.is_struct,
        "json": pa.types.is_string,
    }
    if not fits[field.kind](kind):
        raise OtherTypeError(f"{field.name}: expected {field.kind}, as its schema says, got {kind}")
