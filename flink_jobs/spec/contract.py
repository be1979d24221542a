"""The data contract: what a field of the records, of their keys or of their headers may hold."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.lists import MEMBER_NAME, decimal_spelled_out, parse_length, parse_pattern, spelled_out
from flink_jobs.spec.scalars import Parsed, Scalar, matching, whole
from flink_jobs.spec.section import Section
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
