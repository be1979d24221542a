"""Where the columns of a job are in a Protobuf message: by the names of fields, or by their path.

What a message says nothing of is null: absent messages, and absent fields that tell absence from a default.
Other fields have their default, as Protobuf says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from udfs.records.avro_schema import SchemaError
from udfs.records.avro_values import timestamp_text
from udfs.records.contract import Contract, Field
from udfs.types import ColumnType

Read = Callable[[Message], object]
_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_INT32: "int32",
    FieldDescriptor.CPPTYPE_INT64: "int64",
    FieldDescriptor.CPPTYPE_UINT32: "uint32",
    FieldDescriptor.CPPTYPE_UINT64: "uint64",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_DOUBLE: "double",
    FieldDescriptor.CPPTYPE_ENUM: "enum",
    FieldDescriptor.CPPTYPE_STRING: "string",
}
_COLUMNS: dict[str, tuple[ColumnType, ...]] = {
    "bool": ("boolean",),
    **dict.fromkeys(("int32", "int64", "uint32", "uint64"), ("long", "double")),
    **dict.fromkeys(("float", "double"), ("double",)),
    **dict.fromkeys(("string", "enum"), ("string",)),
}
_TIMESTAMP, _WRAPPERS = "google.protobuf.Timestamp", "google.protobuf.wrappers"


@dataclass(frozen=True)
class MessageColumn:
    """A column and how it is read; None for one that the message does not have."""

    field: Field
    read: Read | None


def find_columns(message: Descriptor, contract: Contract) -> tuple[MessageColumn, ...]:
    """All columns; raises SchemaError naming the first that the message cannot fill."""
    return tuple(MessageColumn(field, _find(message, field)) for field in contract.fields)


def _find(message: Descriptor, column: Field) -> Read | None:
    steps: list[FieldDescriptor] = []
    level: Descriptor | None = message
    for position, name in enumerate(column.steps):
        if level is None or (position and _is_value(level)):
            before = ".".join(column.steps[:position])
            raise SchemaError(f"$.{before}: expected a message, the writer has {_name(steps[-1])}")
        found = level.fields_by_name.get(name)
        if found is None:
            return None
        steps.append(found)
        level = None if _repeated(found) else found.message_type
    leaf = _leaf(steps[-1], column.type)
    if leaf is None:
        raise SchemaError(f"{column.path_text}: expected {column.type}, the writer has {_name(steps[-1])}")
    return _reader(steps, leaf)


def _reader(steps: list[FieldDescriptor], leaf: Callable[[Any], object]) -> Read:
    if len(steps) == 1 and not steps[0].has_presence:
        get = attrgetter(steps[0].name)
        return get if leaf is _same else lambda message: leaf(get(message))
    *above, last = [(step.name, step.has_presence) for step in steps]

    def read(message: Message) -> object:
        for name, _ in above:
            if not message.HasField(name):
                return None
            message = getattr(message, name)
        name, tells_absence = last
        return None if tells_absence and not message.HasField(name) else leaf(getattr(message, name))

    return read


def _leaf(field: FieldDescriptor, wanted: ColumnType) -> Callable[[Any], object] | None:
    """What makes a value of the column of one of the field; None where that cannot be."""
    if _repeated(field):
        return None
    if field.message_type is not None:
        return _message_leaf(field.message_type, wanted)
    kind = _KINDS[field.cpp_type]
    if field.type == FieldDescriptor.TYPE_BYTES or wanted not in _COLUMNS[kind]:
        return None
    return _symbol(field.enum_type) if kind == "enum" else _same


def _message_leaf(message: Descriptor, wanted: ColumnType) -> Callable[[Any], object] | None:
    if message.full_name == _TIMESTAMP:
        return _instant if wanted == "string" else None
    if _is_wrapper(message):
        inner = _leaf(message.fields_by_name["value"], wanted)
        return None if inner is None else lambda value: inner(value.value)
    return None


def _same(value: Any) -> object:
    return value


def _symbol(kind: EnumDescriptor) -> Callable[[Any], object]:
    """The symbol of a number; a number without one, of a newer schema, is its digits."""
    names = {value.number: value.name for value in reversed(kind.values)}
    return lambda number: names.get(number, str(number))


def _instant(value: Any) -> object:
    return f"{timestamp_text(value.seconds * 1_000_000_000 + value.nanos, 9)}Z"


def _is_value(message: Descriptor) -> bool:
    return message.full_name == _TIMESTAMP or _is_wrapper(message)


def _is_wrapper(message: Descriptor) -> bool:
    return bool(message.file.name == "google/protobuf/wrappers.proto")


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def _name(field: FieldDescriptor) -> str:
    if _repeated(field):
        return "a list"
    if field.message_type is not None:
        return str(field.message_type.full_name)
    return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else _KINDS[field.cpp_type]
