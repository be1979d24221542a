"""The `source` section of a job file: the topic, its event time, and the data contract of its records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.lists import MEMBER_NAME, decimal_spelled_out, parse_length, parse_pattern, spelled_out
from flink_jobs.spec.paths import AbsolutePath
from flink_jobs.spec.scalars import (
    ColumnName,
    Duration,
    Expression,
    Parsed,
    PositiveDuration,
    Scalar,
    Size,
    matching,
    whole,
)
from flink_jobs.spec.schema_registry import SchemaRegistry
from flink_jobs.spec.section import Section, Topic
from udfs.records.decimals import MOST_DIGITS, Digits, unscaled, written
from udfs.records.personal import Treatment
from udfs.records.vectors import LARGEST_VECTOR

TextType = Literal["string", "double", "long", "boolean"]
FieldType = Literal["string", "double", "long", "boolean", "decimal", "bytes"]
SchemaType = Literal["string", "double", "long", "boolean", "decimal", "bytes", "list", "vector", "map"]
TEXTS = get_args(TextType)
LISTS = ("list", "vector", "map")
PII = (
    "Personal data, and all that is made of it: written only as a keyed hash, encrypted, as a mask, or never."
)
Number = int | float
INT64 = range(-(2**63), 2**63)
LARGEST_SCHEMA = 1000


def _parse_range(value: object) -> tuple[Number | None, Number | None]:
    if not isinstance(value, list) or len(value) != 2 or not all(_is_bound(bound) for bound in value):
        raise wrong("[low, high], two finite numbers of which one may be null")
    low, high = value
    if low is None and high is None:
        raise wrong("[low, high] with at least one number")
    if low is not None and high is not None and low > high:
        suggestion = f"[{high}, {low}]"
        raise wrong("[low, high] with low at most high", suggestion=suggestion)
    return low, high


def _is_bound(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**1023


_RANGE_SCHEMA = {
    "type": "array",
    "items": {"type": ["number", "null"]},
    "minItems": 2,
    "maxItems": 2,
    "examples": [[0, 100], [0, None]],
}
Range = Annotated[tuple[Number | None, Number | None], Parsed(_parse_range, _RANGE_SCHEMA)]


FieldPath = Annotated[
    str,
    matching(
        r"[A-Za-z_][A-Za-z0-9_]{0,199}(\.[A-Za-z_][A-Za-z0-9_]{0,199}){0,19}",
        "a path of names with dots between, such as user.address.country",
    ),
]


_LENGTH_SCHEMA = {
    "type": "array",
    "items": {"type": ["integer", "null"], "minimum": 0},
    "minItems": 2,
    "maxItems": 2,
    "examples": [[1, 20], [0, None]],
}
Length = Annotated[tuple[int | None, int | None], Parsed(parse_length, _LENGTH_SCHEMA)]
Pattern = Annotated[str, Parsed(parse_pattern, {"type": "string", "minLength": 1, "maxLength": 1000})]


class ContractField(Section):
    """What a column of the records may hold."""

    type: SchemaType = Field(description="Type of the field. No value is ever converted to it.")
    required: bool = Field(
        default=False, description="A record without the field, or with null, is a dead letter."
    )
    range: Range | None = Field(default=None, description="[low, high], inclusive; null leaves a side open.")
    values: Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)] = Field(
        default=(), validate_default=False, description="The only values allowed."
    )
    precision: Annotated[int, whole(1, MOST_DIGITS)] | None = Field(
        default=None, description="Of a decimal: how many digits it has at most."
    )
    scale: Annotated[int, whole(0, MOST_DIGITS)] | None = Field(
        default=None, description="Of a decimal: how many of these are after the point; default: none."
    )
    length: Length | None = Field(
        default=None,
        description="[low, high] of a string's characters, of bytes, of a list's elements, or of a map's "
        "entries; null leaves a side open.",
    )
    pattern: Pattern | None = Field(
        default=None, description="Regular expression (RE2) that a string matches as a whole."
    )
    pii: Treatment | None = Field(default=None, description=PII)

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:
        return decimal_spelled_out({"type": data} if isinstance(data, str) else data)

    @model_validator(mode="after")
    def _check_constraints(self) -> ContractField:
        errors = self._digit_errors() or self._range_errors() | self._value_errors() | self._text_errors()
        if errors:
            raise wrong_at(errors)
        return self

    @property
    def column_type(self) -> FieldType:
        """The type of the column that the field is; lists are none."""
        assert self.type != "list"
        assert self.type != "vector"
        assert self.type != "map"
        return self.type

    def _text_errors(self) -> dict[Location, PydanticCustomError]:
        errors: dict[Location, PydanticCustomError] = {}
        if self.length and self.type not in ("string", "bytes", "list", "map"):
            found = f"a length for a {self.type}"
            errors["length",] = wrong("left out, as a length is for string, bytes, list and map", found)
        if self.pattern and self.type != "string":
            found = f"a pattern for a {self.type}"
            errors["pattern",] = wrong("left out, as a pattern is for string", found)
        return errors

    @property
    def digits(self) -> Digits | None:
        """Of a decimal: precision and scale."""
        return (self.precision, self.scale or 0) if self.precision else None

    def _digit_errors(self) -> dict[Location, PydanticCustomError]:
        given = [key for key in ("precision", "scale") if getattr(self, key) is not None]
        if self.type != "decimal":
            return {(key,): wrong(f"left out, as the type is {self.type}", "a value") for key in given[:1]}
        if self.precision is None:
            return {("type",): wrong("with its digits, such as decimal(10, 2)", "decimal alone")}
        if (self.scale or 0) > self.precision:
            return {("scale",): wrong(f"at most the precision, {self.precision}", f"{self.scale}")}
        return {}

    @property
    def low(self) -> Number | None:
        return self.range[0] if self.range else None

    @property
    def high(self) -> Number | None:
        return self.range[1] if self.range else None

    def _range_errors(self) -> dict[Location, PydanticCustomError]:
        if self.range is None:
            return {}
        if self.type not in ("double", "long", "decimal"):
            expected = "left out, as a range is for double, long and decimal"
            return {("range",): wrong(expected, f"a range for a {self.type}")}
        if self.type == "decimal" and not all(each is None or self._is_decimal(each) for each in self.range):
            return {("range",): wrong(f"two {self._written}", describe(list(self.range)))}
        if self.type == "long" and not all(bound is None or _has_type(bound, "long") for bound in self.range):
            return {
                ("range",): wrong("[low, high] in 64-bit integers for a long", describe(list(self.range)))
            }
        return {}

    def _value_errors(self) -> dict[Location, PydanticCustomError]:
        if self.values and self.type in LISTS:
            expected = f"that of element or members, as the type is {self.type}"
            return {("values",): wrong(expected, "values")}
        if self.values and self.type == "bytes":
            return {("values",): wrong("left out, as the type is bytes", "values")}
        errors: dict[Location, PydanticCustomError] = {}
        seen: set[Any] = set()
        for index, value in enumerate(self.values):
            fits = self._is_decimal(value) if self.digits else _has_type(value, self.type)
            if not fits:
                errors["values", index] = wrong(f"a {self._written}, the type of the field", describe(value))
            elif value in seen:
                errors["values", index] = wrong("a value listed once", f"{describe(value)} again")
            seen.add(value)
        return errors

    @property
    def _written(self) -> str:
        return f"decimal({self.precision}, {self.scale or 0})" if self.digits else self.type

    def _is_decimal(self, value: object) -> bool:
        return self.digits is not None and isinstance(unscaled(written(value), self.digits), int)


class ElementField(ContractField):
    """An element of a list, or a member of one, and what it may hold."""

    type: FieldType = Field(description="Type of the value. No value is ever converted to it.")
    field: FieldPath | None = Field(
        default=None, description="Where a member is in the element, a.b; default: under its own name."
    )

    @model_validator(mode="after")
    def _check_pii(self) -> ElementField:
        if self.pii:
            raise wrong_at({("pii",): wrong("that of the list itself", self.pii)})
        return self


MemberName = Annotated[str, matching(MEMBER_NAME, "the name of a member")]


class SchemaField(ContractField):
    """One field of the records, and what it may hold. `name: string` is short for `name: {type: string}`."""

    field: FieldPath | None = Field(
        default=None, description="Where it is in the record, a.b.c; default: at the top, under its own name."
    )
    element: ElementField | None = Field(
        default=None, description="Of a list of values, a vector or a map: what these may hold."
    )
    members: Annotated[dict[MemberName, ElementField], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Of a list of objects: what their members may hold; others are ignored."
    )

    size: Annotated[int, whole(1, LARGEST_VECTOR)] | None = Field(
        default=None, description="Of a vector: how many numbers it has."
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:
        return spelled_out(decimal_spelled_out({"type": data} if isinstance(data, str) else data))

    @property
    def held(self) -> dict[str, ElementField]:
        """Of a list: its members, or its element as one without a name, as are a map's values."""
        if self.type == "vector":
            return {"": self.element or ElementField(type="double")}
        return {"": self.element} if self.element else dict(self.members or {})

    @model_validator(mode="after")
    def _check_list(self) -> SchemaField:
        given = [key for key in ("element", "members", "size") if getattr(self, key) is not None]
        if self.type == "vector":
            return self._checked_vector()
        if self.element and self.element.field:
            raise wrong_at({("element", "field"): wrong("left out, as elements are values", "a path")})
        if self.type == "map":
            return self._checked_map(given)
        left_out = given if self.type != "list" else given[given.index("size") :] if self.size else []
        if left_out:
            raise wrong_at({(left_out[0],): wrong(f"left out, as the type is {self.type}", "a value")})
        if self.type == "list" and len(given) != 1:
            expected = "a list with element or members: list<string>, or list<{sku: string, qty: long}>"
            raise wrong_at({("type",): wrong(expected, " and ".join(given) or "list alone")})
        return self

    def _checked_map(self, given: list[str]) -> SchemaField:
        if left_out := [key for key in given if key != "element"]:
            raise wrong_at({(left_out[0],): wrong("left out, as the type is map", "a value")})
        if self.element is None:
            raise wrong_at({("type",): wrong("a map with element: map<string, double>", "map alone")})
        return self

    def _checked_vector(self) -> SchemaField:
        if self.size is None:
            raise wrong_at({("size",): wrong("given, as the type is vector: vector<float, 384>", "nothing")})
        if self.members is not None:
            raise wrong_at({("members",): wrong("left out, as the type is vector", "a value")})
        if self.element and self.element.type != "double":
            raise wrong_at({("element",): wrong("double, as the type is vector", self.element.type)})
        return self


HeaderName = Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,200}", "the name of a Kafka header")]


class HeaderField(ContractField):
    """A header as a column, and what it may hold. `name: string` is short for `name: {type: string}`."""

    type: TextType = Field(description="Type of the field. No value is ever converted to it.")
    header: HeaderName | None = Field(
        default=None, description="Name of the Kafka header; default: the name of the column."
    )


def _has_type(value: object, expected: SchemaType) -> bool:
    match value:
        case bool():
            return expected == "boolean"
        case int():
            return (expected == "long" and value in INT64) or (expected == "double" and abs(value) < 2**1023)
        case float():
            return expected == "double" and math.isfinite(value)
    return expected == "string"


class EventTime(Section):
    """Where a record's event time is, and how far out of order records may come."""

    field: Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a field of the record")] | None = (
        Field(
            default=None,
            description="Field of the record with the event time; default: the Kafka record's timestamp.",
        )
    )
    header: Annotated[str, matching(r"[!-~]{1,200}", "the name of a Kafka header")] | None = Field(
        default=None, description="Kafka header with the event time, as text."
    )
    unit: Literal["ms", "s", "us", "iso8601"] = Field(
        default="ms", description="How field or header is written."
    )
    out_of_order: Duration = Field(
        default="5s", validate_default=True, description="How much later than a newer record one may come."
    )
    idle: PositiveDuration = Field(
        default="30s", validate_default=True, description="A partition silent for so long holds nothing back."
    )
    max_ahead: Duration = Field(
        default="1h",
        validate_default=True,
        description="Event times further beyond the Kafka timestamp, or beyond now, are errors.",
    )

    @property
    def type(self) -> Literal["string", "long"]:
        """Of a field that `schema` does not name."""
        return "string" if self.unit == "iso8601" else "long"

    @model_validator(mode="after")
    def _check_origin(self) -> EventTime:
        if self.field and self.header:
            raise wrong_at({("header",): wrong("left out when field is given", describe(self.header))})
        if "unit" in self.model_fields_set and not (self.field or self.header):
            expected = "left out unless field or header is given"
            raise wrong_at({("unit",): wrong(expected, describe(self.unit))})
        return self


def _list_errors(fields: dict[str, SchemaField], *key: str) -> Iterator[tuple[Location, PydanticCustomError]]:
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


def _csv_errors(source: Source) -> Iterator[tuple[Location, PydanticCustomError]]:
    """Each field is a value of a line."""
    yield from _list_errors(source.fields, "schema")
    for name, field in source.fields.items():
        if field.field and "." in field.field:
            yield (
                ("schema", name, "field"),
                wrong("the name of a value of csv.columns", describe(field.field)),
            )
        elif (field.field or name) not in source.csv_columns:
            yield ("schema", name), wrong("a value of csv.columns", describe(field.field or name))


def _text_errors(fields: dict[str, SchemaField], key: str) -> Iterator[tuple[Location, PydanticCustomError]]:
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
        check = _text_errors if self.format == "text" else _list_errors
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


Isolation = Literal["read_committed", "read_uncommitted"]


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
            yield from _text_errors(self.fields, "schema")
        yield from _list_errors(self.envelope.fields, "envelope", "fields")
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
