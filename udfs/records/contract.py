"""The data contract of a source: which fields a record has, of which type, and which values are allowed.

>>> contract = Contract((Field("amount", "double", required=True, low=0.0),))
>>> contract.check({"amount": -1}).reason
'out_of_range'
>>> contract.violations(pa.table({"amount": [2.5, -1.0, None]})).tolist()
[False, True, True]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.numbers import INT64_MAX, INT64_MIN, nearest_double, to_column
from udfs.records.problems import Problem
from udfs.types import ARROW, ColumnType

Mask = npt.NDArray[np.bool_]


class Field(msgspec.Struct, frozen=True):
    """One field of the record; `low` and `high` are inclusive, and integers for a long.

    For a double they and the `values` stand for their nearest doubles, as the record's number does. `path` is
    where it is in the record, if not at the top under its own name.
    """

    name: str
    type: ColumnType
    required: bool = False
    low: int | float | None = None
    high: int | float | None = None
    values: tuple[str | int | float | bool, ...] = ()
    path: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """The names that lead to it, from the top of the record."""
        return self.path or (self.name,)

    @property
    def path_text(self) -> str:
        """The path as messages show it."""
        return f"$.{'.'.join(self.steps)}"

    @property
    def bounds(self) -> tuple[int | float | None, int | float | None]:
        if self.type != "double":
            return self.low, self.high
        low, high = (None if bound is None else nearest_double(bound) for bound in (self.low, self.high))
        return low, high

    @property
    def allowed(self) -> list[object]:
        """The values that a column of the type can hold."""
        if self.type == "double":
            return [nearest_double(value) for value in self.values]  # type: ignore[arg-type]
        if self.type == "long":
            return [value for value in self.values if INT64_MIN <= value <= INT64_MAX]  # type: ignore[operator]
        return list(self.values)


class Contract(msgspec.Struct, frozen=True):
    """All declared fields; others may be present and are ignored."""

    fields: tuple[Field, ...]

    def arrow_schema(self) -> pa.Schema:
        return pa.schema([(field.name, ARROW[field.type]) for field in self.fields])

    def violations(self, table: pa.Table) -> Mask:
        """The rows of a decoded batch, shape (rows,), that break the contract; types hold already."""
        bad = np.zeros(table.num_rows, dtype=np.bool_)
        for field in self.fields:
            column = table.column(field.name)
            if field.required and column.null_count:
                bad |= _mask(pc.is_null(column))
            if field.type in ("double", "long"):
                bad |= _outside(field, column)
            if field.values:
                allowed = to_column(field.allowed, field.type)
                bad |= _mask(pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=allowed))))
        return bad

    def check(self, record: Mapping[str, object]) -> Problem | None:
        """The first violation of one record, in the order of the contract."""
        for field in self.fields:
            problem = _check_field(field, record)
            if problem:
                return problem
        return None


def _mask(column: pa.ChunkedArray) -> Mask:
    mask: Mask = column.to_numpy()
    return mask


def _outside(field: Field, column: pa.ChunkedArray) -> Mask:
    """Rows whose number is not finite or out of range; null is neither."""
    filled = column.fill_null(0) if column.null_count else column
    values: npt.NDArray[Any] = filled.to_numpy()
    bad = ~np.isfinite(values) if field.type == "double" else np.zeros(len(values), dtype=np.bool_)
    low, high = field.bounds
    if low is not None:
        bad |= values < low
    if high is not None:
        bad |= values > high
    return bad & _mask(pc.is_valid(column)) if column.null_count else bad


def _check_field(field: Field, record: Mapping[str, object]) -> Problem | None:
    path = field.path_text
    if field.name not in record:
        return _problem("missing", f"{path}: required {field.type} is missing") if field.required else None
    value = record[field.name]
    if value is None:
        return _problem("null", f"{path}: required {field.type} is null") if field.required else None
    found = _wrong_type(field.type, value)
    if found:
        return _problem("wrong_type", f"{path}: expected {field.type}, got {found}")
    if field.type == "double":
        value = nearest_double(value)  # type: ignore[arg-type]
        if not math.isfinite(value):
            return _problem("not_finite", f"{path}: expected a finite number, got NaN or infinity")
    low, high = field.bounds
    if low is not None and value < low:  # type: ignore[operator]
        return _problem("out_of_range", f"{path}: expected at least {low:g}, got a smaller number")
    if high is not None and value > high:  # type: ignore[operator]
        return _problem("out_of_range", f"{path}: expected at most {high:g}, got a larger number")
    if field.values and value not in field.allowed:
        allowed = ", ".join(str(v) for v in field.values[:10]) + (", …" if len(field.values) > 10 else "")
        return _problem("not_in_values", f"{path}: expected one of {allowed}, got another value")
    return None


def _problem(reason: str, message: str) -> Problem:
    return Problem("contract", reason, message)


def _wrong_type(expected: ColumnType, value: object) -> str | None:
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
