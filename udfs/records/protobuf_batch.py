"""Reads many Protobuf messages of one kind at once: a field after the other, by numpy, into Arrow.

Only what serializers write of plain messages is read so: single fields of primitive types, each once, in the
order of their numbers. All else, and what is not well formed, raises UnfitError; Protobuf's own library reads
it message by message, and alone says what is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from udfs.records.avro_batch import PADDING, Cursor, Longs, UnfitError
from udfs.records.contract import Contract, Field
from udfs.types import ARROW

_LARGEST = 2**31 - 1 - PADDING
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# Types with their wire type and the columns that they fill as they are; others are skipped, if that can be.
_TYPES: dict[int, tuple[int, tuple[str, ...]]] = {
    FieldDescriptor.TYPE_BOOL: (_VARINT, ("boolean",)),
    FieldDescriptor.TYPE_INT32: (_VARINT, ("long", "double")),
    FieldDescriptor.TYPE_INT64: (_VARINT, ("long", "double")),
    FieldDescriptor.TYPE_UINT32: (_VARINT, ("long", "double")),
    FieldDescriptor.TYPE_DOUBLE: (_EIGHT, ("double",)),
    FieldDescriptor.TYPE_FLOAT: (_FOUR, ("double",)),
    FieldDescriptor.TYPE_STRING: (_BYTES, ("string",)),
    FieldDescriptor.TYPE_UINT64: (_VARINT, ()),
    FieldDescriptor.TYPE_SINT32: (_VARINT, ()),
    FieldDescriptor.TYPE_SINT64: (_VARINT, ()),
    FieldDescriptor.TYPE_ENUM: (_VARINT, ()),
    FieldDescriptor.TYPE_FIXED64: (_EIGHT, ()),
    FieldDescriptor.TYPE_SFIXED64: (_EIGHT, ()),
    FieldDescriptor.TYPE_FIXED32: (_FOUR, ()),
    FieldDescriptor.TYPE_SFIXED32: (_FOUR, ()),
    FieldDescriptor.TYPE_BYTES: (_BYTES, ()),
}


@dataclass(frozen=True)
class Step:
    """A field: the bytes before it, and the columns that it fills."""

    kind: int
    tag: bytes
    presence: bool
    columns: tuple[int, ...]


def plan_steps(message: Descriptor, contract: Contract) -> tuple[Step, ...] | None:
    """How messages are read, by the fields' numbers; None where a column is more than a plain field."""
    if contract.lists or message.file.name.startswith("google/protobuf/"):
        return None
    wanted: dict[str, list[int]] = {}
    for place, field in enumerate(contract.fields):
        found = message.fields_by_name.get(field.steps[0])
        if found is not None and not _fills(found, field):
            return None
        wanted.setdefault(field.steps[0], []).append(place)
    steps = []
    for found in sorted(message.fields, key=lambda each: each.number):
        if found.label == FieldDescriptor.LABEL_REQUIRED or _is_one_of_several(found):
            return None
        if found.type in _TYPES and found.label != FieldDescriptor.LABEL_REPEATED:
            tag = _varint(found.number << 3 | _TYPES[found.type][0])
            steps.append(Step(found.type, tag, found.has_presence, tuple(wanted.get(found.name, ()))))
    return tuple(steps)


def _fills(found: FieldDescriptor, field: Field) -> bool:
    plain = len(field.steps) == 1 and found.label != FieldDescriptor.LABEL_REPEATED and not field.digits
    return plain and found.type in _TYPES and field.type in _TYPES[found.type][1]


def _is_one_of_several(found: FieldDescriptor) -> bool:
    """Of these the last that comes clears the others."""
    return found.containing_oneof is not None and len(found.containing_oneof.fields) > 1


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def read_batch(
    steps: Sequence[Step], contract: Contract, data: bytes, starts: Longs, ends: Longs
) -> pa.Table:
    """The columns of all messages. `data` has `PADDING` bytes more. Raises UnfitError."""
    if len(data) > _LARGEST:
        raise UnfitError
    cursor = Cursor(data, starts.copy(), ends)
    found: dict[int, pa.Array] = {}
    for step in steps:
        rows = np.flatnonzero(_have(cursor, step.tag))
        if not len(rows) and not step.columns:
            continue
        part = cursor.part(rows)
        part.advance(len(step.tag))
        values = _take(step.kind, part)
        cursor.at[rows] = part.at
        for place in step.columns:
            found[place] = _column(contract.fields[place], step, values, rows, len(starts))
    if (cursor.at != cursor.ends).any():
        raise UnfitError
    columns = [
        found[place] if place in found else pa.nulls(len(starts), ARROW[field.type])
        for place, field in enumerate(contract.fields)
    ]
    return pa.Table.from_arrays(columns, schema=contract.arrow_schema())


def _have(cursor: Cursor, tag: bytes) -> Any:
    """Which messages go on with this field."""
    has = cursor.at + len(tag) <= cursor.ends
    for place, byte in enumerate(tag):
        has &= cursor.bytes[cursor.at + place] == byte
    return has


def _take(kind: int, cursor: Cursor) -> pa.Array:
    wire = _TYPES[kind][0]
    if wire == _VARINT:
        return _numbers(kind, cursor)
    if wire == _BYTES:
        taken = cursor.texts(cursor.unsigned().astype(np.int64))
        return taken if kind == FieldDescriptor.TYPE_BYTES else _text(taken)
    size = 8 if wire == _EIGHT else 4
    fixed = cursor.fixed(size)
    with np.errstate(invalid="ignore"):  # NaN of a kind that a cast warns of
        return pa.array(fixed.view(f"<f{size}")[:, 0].astype(np.float64))


def _numbers(kind: int, cursor: Cursor) -> pa.Array:
    numbers = cursor.unsigned()
    if kind == FieldDescriptor.TYPE_BOOL:
        return pa.array(numbers != 0)
    if kind == FieldDescriptor.TYPE_INT32:
        return pa.array(numbers.astype(np.uint32).view(np.int32).astype(np.int64))
    if kind == FieldDescriptor.TYPE_UINT32:
        return pa.array(numbers.astype(np.uint32).astype(np.int64))
    return pa.array(numbers.view(np.int64))


def _text(taken: pa.Array) -> pa.Array:
    try:
        return taken.cast(pa.string())
    except pa.ArrowInvalid:
        raise UnfitError from None


def _column(field: Field, step: Step, values: pa.Array, rows: Longs, count: int) -> pa.Array:
    """The values where messages have them; elsewhere null, or what the field has by default."""
    kind = ARROW[field.type]
    if values.type != kind:
        values = values.cast(kind, safe=False)
    if len(rows) == count:
        return values
    place, absent = np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.bool_)
    place[rows], absent[rows] = np.arange(len(rows)), False
    spread = values.take(pa.array(place, mask=absent)) if len(values) else pa.nulls(count, kind)
    return spread if step.presence else pc.fill_null(spread, _default(kind))


def _default(kind: pa.DataType) -> pa.Scalar:
    plain: Any = "" if pa.types.is_string(kind) else False if pa.types.is_boolean(kind) else 0
    return pa.scalar(plain, kind)
