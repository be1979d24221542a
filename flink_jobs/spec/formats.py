"""How records and their keys are written: envelopes, and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.contract import LARGEST_SCHEMA, LISTS, TEXTS, SchemaField
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath
from flink_jobs.spec.scalars import ColumnName, matching
from flink_jobs.spec.section import Section


def list_errors(fields: dict[str, SchemaField], *key: str) -> Iterator[tuple[Location, PydanticCustomError]]:
    """Lists are only of the records' values."""
    for name, field in fields.items():
        if field.type in LISTS:
            yield (*key, name, "type"), wrong("string, double, long or boolean here", f"a {field.type}")


def _no_text_errors(
    fields: dict[str, SchemaField], *key: str
) -> Iterator[tuple[Location, PydanticCustomError]]:
    """What is written as text."""
    for name, field in fields.items():
        if field.type not in TEXTS:
            yield (*key, name, "type"), wrong("string, double, long or boolean here", f"a {field.type}")


def text_errors(fields: dict[str, SchemaField], key: str) -> Iterator[tuple[Location, PydanticCustomError]]:
    """Text is one value."""
    yield from _no_text_errors(fields, key)
    if len(fields) > 1:
        yield (key,), wrong("one field, as the format is text", f"{len(fields)}")
    for name, field in fields.items():
        if field.field:
            yield (key, name, "field"), wrong("left out, as the format is text", "a path")


MessageName = Annotated[
    str,
    matching(
        r"[A-Za-z_][A-Za-z0-9_]{0,199}(\.[A-Za-z_][A-Za-z0-9_]{0,199}){0,20}",
        "the name of a message, shop.Payment",
    ),
]


class RecordKey(Section):
    """Columns from the records' keys."""

    format: Literal["text", "json", "json_schema", "avro", "protobuf", "messagepack"] = Field(
        default="text", description="How keys are written; text is one value, as text."
    )
    schema_file: AbsolutePath | None = Field(
        default=None,
        description="For avro: the .avsc file of all keys, or with schema_registry the reader's. For "
        "protobuf: their .proto or .desc file. For json_schema: their schema; without it, keys have an id.",
    )
    message: MessageName | None = Field(
        default=None, description="For protobuf with schema_file: which message of the file keys are."
    )
    fields: Annotated[dict[ColumnName, SchemaField], Field(min_length=1, max_length=LARGEST_SCHEMA)] = Field(
        description="The data contract of keys."
    )

    @model_validator(mode="after")
    def _check_text(self) -> RecordKey:
        check = text_errors if self.format == "text" else list_errors
        if errors := dict(check(self.fields, "fields")):
            raise wrong_at(errors)
        return self


class Envelope(Section):
    """What is around the fields of the records. `envelope: debezium` is short for `{kind: debezium}`."""

    kind: Literal["none", "debezium", "cloudevents"] = Field(
        default="none",
        description="debezium: rows of a table, with what changed them; cloudevents: data with attributes.",
    )
    fields: Annotated[dict[ColumnName, SchemaField], Field(max_length=100)] = Field(
        default_factory=dict,
        description="Columns of the envelope itself: op, ts_ms, source.table.",
    )
    deletes: Literal["dead_letter", "before"] = Field(
        default="dead_letter", description="Deleted rows: dead letters, or scored as they were before."
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _check_kind(self) -> Envelope:
        if self.kind == "none" and self.fields:
            raise wrong_at({("fields",): wrong("left out, as there is no envelope", "columns")})
        if self.kind == "cloudevents" and self.deletes != "dead_letter":
            raise wrong_at({("deletes",): wrong("left out, as the envelope is cloudevents", self.deletes)})
        if self.kind == "cloudevents" and (errors := dict(_no_text_errors(self.fields, "fields"))):
            raise wrong_at(errors)
        for name, field in self.fields.items() if self.kind == "cloudevents" else ():
            if field.field and "." in field.field:
                expected = "the name of an attribute, such as time"
                raise wrong_at({("fields", name, "field"): wrong(expected, describe(field.field))})
        return self


ValueName = Annotated[str, matching(r"[^\x00-\x1f]{1,200}", "the name of a value")]
Delimiter = Annotated[str, matching(r"[ -!#-~\t]", "one character of ASCII, but no quotation mark")]


class Csv(Section):
    """How records that are lines of CSV are written."""

    columns: (
        Annotated[tuple[ValueName, ...], Field(strict=False, min_length=1, max_length=LARGEST_SCHEMA)] | None
    ) = Field(
        default=None,
        description="The names of all values of a line, in their order; default: the fields of schema.",
    )
    delimiter: Delimiter = Field(default=",", description="What is between values.")
    null: Annotated[str, matching(r'[^"\r\n]{0,20}', "a short text without quotation marks")] = Field(
        default="", description="The text that is null where it stands without quotation marks."
    )

    @model_validator(mode="after")
    def _check_names(self) -> Csv:
        columns = self.columns or ()
        for place, name in enumerate(columns):
            if name in columns[:place]:
                raise wrong_at({("columns", place): wrong("a name listed once", describe(name))})
        if self.delimiter in self.null:
            raise wrong_at({("null",): wrong("a text without the delimiter", describe(self.null))})
        return self
