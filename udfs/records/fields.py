"""What a field of a record may hold, and what is wrong with a value that it may not.

>>> check_value(Field("amount", "double", low=0.0), -1, "$.amount").reason
'out_of_range'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.binary import byte_length, bytes_text, is_base64
from udfs.records.decimals import Digits, exact_text, json_type, scalars, unscaled
from udfs.records.numbers import INT64_MAX, INT64_MIN, nearest_double, to_column
from udfs.records.problems import Problem
from udfs.types import ARROW, ColumnType

Length = tuple[int | None, int | None]


class Field(msgspec.Struct, frozen=True):
    """One field of the record; `low` and `high` are inclusive, and integers for a long.

    For a double they and the `values` stand for their nearest doubles, as the record's number does. `path` is
    where it is in the record, if not at the top under its own name. `length` and `pattern` are of strings: in
    characters, and a regular expression (RE2) of the whole text. A decimal has `digits`, and its column their
    text; that of bytes is base64.
    """

    name: str
    type: ColumnType
    required: bool = False
    low: int | float | None = None
    high: int | float | None = None
    values: tuple[str | int | float | bool, ...] = ()
    path: tuple[str, ...] = ()
    length: Length = (None, None)
    pattern: str | None = None
    digits: Digits | None = None

    @property
    def kind(self) -> str:
        """What the record must hold, as messages call it."""
        return f"decimal({self.digits[0]}, {self.digits[1]})" if self.digits else self.type

    @property
    def written(self) -> pa.DataType:
        """What Arrow reads it as from JSON."""
        return json_type(self.digits) if self.digits else ARROW[self.type]

    def column(self, values: Sequence[object]) -> pa.Array:
        """Values that the contract has checked as an Arrow array of the column's type."""
        if self.digits:
            return pa.array([exact_text(value, self.digits) for value in values], pa.string())
        if self.type == "bytes":
            values = [bytes_text(value) for value in values]
        return to_column(values, self.type)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names that lead to it, from the top of the record."""
        return self.path or (self.name,)

    @property
    def path_text(self) -> str:
        """The path as messages show it."""
        return f"$.{'.'.join(self.steps)}"

    @property
    def bounds(self) -> tuple[int | float | Decimal | None, int | float | Decimal | None]:
        if self.digits:
            least, most = (None if b is None else scalars([b], self.digits)[0] for b in (self.low, self.high))
            return least, most
        if self.type != "double":
            return self.low, self.high
        low, high = (None if bound is None else nearest_double(bound) for bound in (self.low, self.high))
        return low, high

    @property
    def allowed(self) -> list[object]:
        """The values that a column of the type can hold."""
        if self.digits:
            return [*scalars(self.values, self.digits)]
        if self.type == "double":
            return [nearest_double(value) for value in self.values]  # type: ignore[arg-type]
        if self.type == "long":
            return [value for value in self.values if INT64_MIN <= value <= INT64_MAX]  # type: ignore[operator]
        return list(self.values)


def check_field(field: Field, record: Mapping[str, object], path: str) -> Problem | None:
    """What is wrong with the field of a record; `path` is how messages call it."""
    if field.name not in record:
        return violation("missing", f"{path}: required {field.kind} is missing") if field.required else None
    return check_value(field, record[field.name], path)


def check_value(field: Field, value: object, path: str) -> Problem | None:
    """What is wrong with a value of the field."""
    if value is None:
        return violation("null", f"{path}: required {field.kind} is null") if field.required else None
    found = _misfit(field, value)
    if found:
        return violation("wrong_type", f"{path}: expected {field.kind}, got {found}")
    if field.digits:
        value = Decimal(exact_text(value, field.digits) or "0")
    if field.type == "double":
        value = nearest_double(value)  # type: ignore[arg-type]
        if not math.isfinite(value):
            return violation("not_finite", f"{path}: expected a finite number, got NaN or infinity")
    low, high = field.bounds
    if low is not None and value < low:  # type: ignore[operator]
        return violation("out_of_range", f"{path}: expected at least {low:g}, got a smaller number")
    if high is not None and value > high:  # type: ignore[operator]
        return violation("out_of_range", f"{path}: expected at most {high:g}, got a larger number")
    if found := _wrong_length(field, value):
        return violation("wrong_length", f"{path}: expected {found}")
    if field.pattern is not None and not _matches(field.pattern, value):
        return violation("no_match", f"{path}: expected a text that matches {field.pattern}, got another")
    if field.values and value not in field.allowed:
        allowed = ", ".join(str(v) for v in field.values[:10]) + (", …" if len(field.values) > 10 else "")
        return violation("not_in_values", f"{path}: expected one of {allowed}, got another value")
    return None


def _misfit(field: Field, value: object) -> str | None:
    """What the value is, if not what the record must hold."""
    if field.digits:
        number = unscaled(value, field.digits)
        return number if isinstance(number, str) else None
    if field.type == "bytes" and isinstance(value, bytes | str):
        return None if isinstance(value, bytes) or is_base64(value) else "text that is no base64"
    return wrong_type(field.type, value)


def _wrong_length(field: Field, value: object) -> str | None:
    if field.type == "bytes":
        size = byte_length(value) if isinstance(value, str) else len(value)  # type: ignore[arg-type]
        return wrong_length(field.length, size, "bytes")
    return wrong_length(field.length, len(value), "characters") if isinstance(value, str) else None


def wrong_length(length: Length, found: int, of: str) -> str | None:
    """What is expected instead of a length that is not allowed."""
    low, high = length
    if low is not None and found < low:
        return f"at least {low} {of}, got fewer"
    if high is not None and found > high:
        return f"at most {high} {of}, got more"
    return None


def whole_pattern(pattern: str) -> str:
    """The expression of a text that matches as a whole."""
    return rf"\A(?:{pattern})\z"


def _matches(pattern: str, value: object) -> bool:
    """By the same engine as whole columns, so that a record's outcome is that of any batch."""
    matched: bool = pc.match_substring_regex(pa.scalar(value), whole_pattern(pattern)).as_py()
    return matched


def violation(reason: str, message: str) -> Problem:
    """A problem of the stage `contract`."""
    return Problem("contract", reason, message)


def wrong_type(expected: str, value: object) -> str | None:
    """The JSON name of the value's type if it is not the expected one; bool is no number, 1.0 is no long."""
    match value:
        case bool():
            return None if expected == "boolean" else "boolean"
        case int():
            if expected == "long":
                return None if INT64_MIN <= value <= INT64_MAX else "integer beyond 64 bits"
            return None if expected == "double" else "integer"
        case float():
            return None if expected == "double" else "number with a fraction or exponent"
        case str():
            return None if expected == "string" else "string"
        case list():
            return "array"
        case dict():
            return "object"
    return type(value).__name__
