"""The data contract of a source: which fields a record has, of which type, and which values are allowed.

>>> contract = Contract((Field("amount", "double", required=True, low=0.0),))
>>> contract.check({"amount": -1}).reason
'out_of_range'
>>> contract.violations(pa.table({"amount": [2.5, -1.0, None]})).tolist()
[False, True, True]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.binary import byte_lengths
from udfs.records.decimals import MOST_DIGITS, parsed
from udfs.records.fields import Field, check_field, violation, whole_pattern
from udfs.records.lists import ListField
from udfs.records.maps import MapField
from udfs.records.numbers import to_column
from udfs.records.problems import Problem
from udfs.types import ARROW

__all__ = ["Contract", "Field", "ListField", "Mask"]

Mask = npt.NDArray[np.bool_]


class Contract(msgspec.Struct, frozen=True):
    """All declared fields, of which `lists` come last; others may be present and are ignored."""

    fields: tuple[Field, ...]
    lists: tuple[ListField, ...] = ()

    @property
    def names(self) -> list[str]:
        """Those of all columns, in order."""
        return [each.name for each in self.every]

    @property
    def every(self) -> list[Field | ListField]:
        """All fields and lists, in order."""
        return [*self.fields, *self.lists]

    @property
    def decimals(self) -> bool:
        """Whether records have decimals."""
        held = (*self.fields, *(member for each in self.lists for member in each.members))
        return any(field.digits for field in held)

    def arrow_schema(self) -> pa.Schema:
        fields = [(field.name, ARROW[field.type]) for field in self.fields]
        return pa.schema([*fields, *((each.name, each.arrow) for each in self.lists)])

    def columns(self, records: Iterable[Mapping[str, object]]) -> pa.Table:
        """Records that the contract has checked, as columns."""
        rows = list(records)
        columns = [field.column([row.get(field.name) for row in rows]) for field in self.fields]
        columns += [each.column([row.get(each.name) for row in rows]) for each in self.lists]
        return pa.Table.from_arrays(columns, schema=self.arrow_schema())

    def violations(self, table: pa.Table) -> Mask:
        """The rows of a decoded batch, shape (rows,), that break the contract; types hold already."""
        bad = np.zeros(table.num_rows, dtype=np.bool_)
        for field in self.fields:
            bad |= _violations(field, table.column(field.name))
        for each in self.lists:
            bad |= _list_violations(each, table.column(each.name))
        return bad

    def check(self, record: Mapping[str, object]) -> Problem | None:
        """The first violation of one record, in the order of the contract."""
        for field in self.fields:
            problem = check_field(field, record, field.path_text)
            if problem:
                return problem
        for each in self.lists:
            problem = _check_list(each, record)
            if problem:
                return problem
        return None


def _check_list(each: ListField, record: Mapping[str, object]) -> Problem | None:
    if each.name in record:
        return each.check(record[each.name])
    kind = "map" if isinstance(each, MapField) else "list"
    return violation("missing", f"{each.path_text}: required {kind} is missing") if each.required else None


def _violations(field: Field, column: pa.ChunkedArray | pa.Array) -> Mask:
    bad = np.zeros(len(column), dtype=np.bool_)
    if field.required and column.null_count:
        bad |= _mask(pc.is_null(column))
    if field.type in ("double", "long"):
        bad |= _outside(field, column)
    if field.type == "decimal":
        return bad | _other_decimals(field, column)
    if field.type in ("string", "bytes") and (field.length != (None, None) or field.pattern is not None):
        bad |= _unlike(field, column)
    if field.values:
        allowed = to_column(field.allowed, field.type)
        bad |= _mask(pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=allowed))))
    return bad


def _unlike(field: Field, column: pa.ChunkedArray | pa.Array) -> Mask:
    """Rows whose text is of another length, or does not match; null does."""
    filled = column.fill_null("")
    good = np.ones(len(column), dtype=np.bool_)
    lengths = byte_lengths(filled) if field.type == "bytes" else _mask(pc.utf8_length(filled))
    low, high = field.length
    if low is not None:
        good &= lengths >= low
    if high is not None:
        good &= lengths <= high
    if field.pattern is not None:
        good &= _mask(pc.match_substring_regex(filled, whole_pattern(field.pattern)))
    return ~good & _mask(pc.is_valid(column))


def _other_decimals(field: Field, column: pa.ChunkedArray | pa.Array) -> Mask:
    """Rows whose decimal is out of range, or none of the values; null is neither."""
    (low, high), bad = field.bounds, np.zeros(len(column), dtype=np.bool_)
    if field.digits is None or (low is None and high is None and not field.values):
        return bad
    kind = pa.decimal128(MOST_DIGITS, field.digits[1])
    numbers = parsed(column, field.digits[1])
    if low is not None:
        bad |= _mask(pc.less(numbers, pa.scalar(low, kind)).fill_null(False))
    if high is not None:
        bad |= _mask(pc.greater(numbers, pa.scalar(high, kind)).fill_null(False))
    if field.values:
        among = pc.is_in(numbers, value_set=pa.array(field.allowed, kind))
        bad |= _mask(pc.and_(pc.is_valid(numbers), pc.invert(among)))
    return bad


def _list_violations(each: ListField, column: pa.ChunkedArray) -> Mask:
    whole = column.combine_chunks()
    bad: Mask = each.wrong_lengths(whole)
    if each.required and whole.null_count:
        bad |= _mask(pc.is_null(whole))
    elements = whole.flatten()
    if not len(elements):
        return bad
    wrong = np.zeros(len(elements), dtype=np.bool_)
    for member in each.members:
        wrong |= _violations(member, each.member(elements, member))
    if wrong.any():
        bad[each.parents(whole)[wrong]] = True
    return bad


def _mask(column: pa.ChunkedArray | pa.Array) -> Mask:
    mask: Mask = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(False)
    return mask


def _outside(field: Field, column: pa.ChunkedArray | pa.Array) -> Mask:
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
