"""The `source` section of a job file: the topic, where to begin, and what its records are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.contract import LARGEST_SCHEMA, LISTS, ContractField, HeaderField, SchemaField
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.event_time import EventTime, Isolation
from flink_jobs.spec.formats import (
    Csv,
    Envelope,
    MessageName,
    RecordKey,
    list_errors,
    text_errors,
)
from flink_jobs.spec.paths import AbsolutePath
from flink_jobs.spec.scalars import ColumnName, Expression, PositiveDuration, Size
from flink_jobs.spec.schema_registry import SchemaRegistry
from flink_jobs.spec.section import Section, Topic
from udfs.records.personal import Treatment

_BY_REGISTRY = ("avro", "protobuf")
_BY_FILE = (*_BY_REGISTRY, "json_schema")


class Source(Section):
    """The topic that the job reads."""

    topic: Topic = Field(description="Kafka topic to read.")
    format: Literal["json", "json_schema", "avro", "protobuf", "messagepack", "csv", "text"] = Field(
        default="json", description="How the records are written; text is one value, as text."
    )
    csv: Csv | None = Field(default=None, description="For csv: how its lines are written.")
    schema_file: AbsolutePath | None = Field(
        default=None,
        description="For avro: the .avsc file that all records are written with, or with schema_registry the "
        "reader's, for aliases and defaults. For protobuf: the .proto file, or the .desc that protoc made. "
        "For json_schema: the schema that records, then without an id, must hold.",
    )
    message: MessageName | None = Field(
        default=None, description="For protobuf with schema_file: which message of the file records are."
    )
    schema_registry: SchemaRegistry | None = Field(
        default=None, description="For avro, protobuf and json_schema: where the schemas of records are."
    )
    framing: Literal["none", "confluent", "glue"] | None = Field(
        default=None,
        description="For avro, protobuf and json_schema: what is before each record; not looked at without a "
        "registry. Default: nothing with schema_file, else confluent.",
    )
    start: Literal["earliest", "latest", "committed"] = Field(
        default="earliest",
        description="Where the first run starts; later runs start where the last one ended.",
    )
    isolation: Isolation = Field(
        default="read_committed", description="Whether records of aborted or open transactions are read, too."
    )
    key_pii: Treatment | None = Field(
        default=None, description="Personal data in the records' keys: what predictions get for their keys."
    )
    max_bytes: Size = Field(
        default="512 KB", validate_default=True, description="Larger records are dead letters."
    )
    event_time: EventTime = Field(default_factory=EventTime, description="Event time and watermarks.")
    read_ahead: PositiveDuration | None = Field(
        default=None,
        description="How far, in event time, partitions are read ahead of the slowest; default: no bound.",
    )
    fields: Annotated[dict[ColumnName, SchemaField], Field(min_length=1, max_length=LARGEST_SCHEMA)] = Field(
        alias="schema", description="The data contract: the fields of a record. Others are ignored."
    )
    rules: Annotated[dict[ColumnName, Expression], Field(max_length=100)] = Field(
        default_factory=dict,
        description="Name to SQL condition over the columns of a record; a false one makes it a dead letter.",
    )
    key: RecordKey | None = Field(default=None, description="Columns from the records' keys.")
    envelope: Envelope = Field(
        default_factory=Envelope, description="What is around the fields of the records."
    )
    headers: Annotated[dict[ColumnName, HeaderField], Field(max_length=100)] = Field(
        default_factory=dict, description="Columns from the records' headers, which are text."
    )

    @property
    def declared(self) -> dict[str, ContractField]:
        """All that a record has: of its value, with an envelope, its key and its headers."""
        of_key = self.key.fields if self.key else {}
        return {**self.fields, **self.envelope.fields, **of_key, **self.headers}

    @property
    def columns(self) -> dict[str, ContractField]:
        """That of it which is a column."""
        return {name: field for name, field in self.declared.items() if field.type not in LISTS}

    @property
    def lists(self) -> dict[str, SchemaField]:
        """Fields that are lists or vectors: no columns, but what expressions make columns of."""
        return {name: field for name, field in self.fields.items() if field.type in LISTS}

    @property
    def vectors(self) -> dict[str, int]:
        """The sizes of vectors, each element of which is a column."""
        return {name: field.size for name, field in self.fields.items() if field.size is not None}

    @property
    def csv_columns(self) -> tuple[str, ...]:
        """The values of a line of CSV; without names of the job's own its fields, in their order."""
        given = self.csv.columns if self.csv else None
        return given or tuple(field.field or name for name, field in self.fields.items())

    @property
    def subject(self) -> str:
        """What the registry calls the schemas of the topic's values."""
        registry = self.schema_registry
        return registry.subject_of(self.topic) if registry else f"{self.topic}-value"

    @model_validator(mode="after")
    def _check_format(self) -> Source:
        errors = dict(self._format_errors())
        if errors:
            raise wrong_at(errors)
        return self

    def _format_errors(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        alone = self.format == "json_schema" and self.schema_file and self.framing in (None, "none")
        plain = self.format == "json" or alone
        if self.event_time.field and not plain:
            expected = (
                f"left out, as Flink cannot read it from {self.format}: take the Kafka timestamp, or a header"
            )
            yield ("event_time", "field"), wrong(expected, describe(self.event_time.field))
        if self.schema_registry and not {self.format, self.key and self.key.format} & {*_BY_FILE}:
            yield ("schema_registry",), wrong(f"left out, as the format is {self.format}", "a value")
        yield from self._framing_errors()
        if self.csv and self.format != "csv":
            yield ("csv",), wrong(f"left out, as the format is {self.format}", "a value")
        if self.format == "csv":
            yield from _csv_errors(self)
        if self.format == "text":
            yield from text_errors(self.fields, "schema")
        yield from list_errors(self.envelope.fields, "envelope", "fields")
        if self.format in ("csv", "text") and self.envelope.kind == "debezium":
            yield ("envelope",), wrong(f"left out, as the format is {self.format}", "debezium")
        yield from self._schema_errors((), self)
        if self.key:
            yield from self._schema_errors(("key",), self.key)

    def _framing_errors(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        if self.framing is None:
            return
        if self.format not in _BY_FILE:
            yield ("framing",), wrong(f"left out, as the format is {self.format}", describe(self.framing))
        elif self.schema_registry and self.framing != "confluent":
            expected = "confluent, as schema_registry is given: without it, schema_file says what records are"
            yield ("framing",), wrong(expected, describe(self.framing))
        elif self.framing == "none" and self.format == "json_schema" and not self.schema_file:
            yield (
                ("framing",),
                wrong("confluent or glue without schema_file, else it is json", "none"),
            )

    def _schema_errors(
        self, where: Location, of: Source | RecordKey
    ) -> Iterator[tuple[Location, PydanticCustomError]]:
        file, registry = of.schema_file is not None, self.schema_registry is not None
        if file and of.format not in _BY_FILE:
            yield (*where, "schema_file"), wrong(f"left out, as the format is {of.format}", "a value")
        if file and registry and of.format in ("protobuf", "json_schema"):
            yield (*where, "schema_file"), wrong("left out, as schema_registry is given", "a value")
        if of.message and (of.format != "protobuf" or not file):
            expected = "left out, unless the format is protobuf and schema_file is given"
            yield (*where, "message"), wrong(expected, describe(of.message))
        if of.format in _BY_REGISTRY and not file and not registry:
            expected = f"given, unless schema_registry is, as the format is {of.format}"
            yield (*where, "schema_file"), wrong(expected, "nothing")


def _csv_errors(source: Source) -> Iterator[tuple[Location, PydanticCustomError]]:
    """Each field is a value of a line."""
    yield from list_errors(source.fields, "schema")
    for name, field in source.fields.items():
        if field.field and "." in field.field:
            yield (
                ("schema", name, "field"),
                wrong("the name of a value of csv.columns", describe(field.field)),
            )
        elif (field.field or name) not in source.csv_columns:
            yield ("schema", name), wrong("a value of csv.columns", describe(field.field or name))
