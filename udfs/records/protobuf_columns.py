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
from udfs.records.contract import Contract, Field, ListField
from udfs.records.maps import MapField, entries_of
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
    **dict.fromkeys(("int32", "int64", "uint32", "uint64"), ("long", "double", "decimal")),
    **dict.fromkeys(("float", "double"), ("double",)),
    "string": ("string", "decimal"),
    "enum": ("string",),
}
_TIMESTAMP, _WRAPPERS = "google.protobuf.Timestamp", "google.protobuf.wrappers"


@dataclass(frozen=True)
class MessageColumn:
    """A column and how it is read; None for one that the message does not have."""

    field: Field | ListField
    read: Read | None


def find_columns(message: Descriptor, contract: Contract) -> tuple[MessageColumn, ...]:
    """All columns; raises SchemaError naming the first that the message cannot fill."""
    return (
        *(MessageColumn(field, _find(message, field)) for field in contract.fields),
        *(MessageColumn(each, _find_list(message, each)) for each in contract.lists),
    )


def find_column(message: Descriptor, column: Field | ListField) -> Read | None:
    """How a column is read, None where the message does not have it. Raises SchemaError."""
    return _find_list(message, column) if isinstance(column, ListField) else _find(message, column)


def _find(message: Descriptor, column: Field) -> Read | None:
    steps = _steps(message, column)
    if steps is None:
        return None
    leaf = _leaf(steps[-1], column.type)
    if leaf is None:
        found = field_name(steps[-1])
        raise SchemaError(f"{column.path_text}: expected {column.kind}, the writer has {found}")
    return _reader(steps, leaf)


def _find_list(message: Descriptor, column: ListField) -> Read | None:
    steps = _steps(message, column)
    if steps is None:
        return None
    last = steps[-1]
    if isinstance(column, MapField):
        return _map_reader(steps, column)
    if not is_repeated(last) or is_map(last):
        raise SchemaError(f"{column.path_text}: expected a list, the writer has {field_name(last)}")
    element = _element(last, column)

    def elements(values: Any) -> object:
        # Of a list that is too long anyway, nothing is read.
        return (
            [None] * len(values) if column.wrong_length(len(values)) else [element(each) for each in values]
        )

    return _reader(steps, elements)


def _map_reader(steps: list[FieldDescriptor], column: MapField) -> Read:
    last, value = steps[-1], column.members[1]
    if not is_map(last) or _kind(last.message_type.fields_by_name["key"]) != "string":
        found = "a map of other keys" if is_map(last) else field_name(last)
        raise SchemaError(f"{column.path_text}: expected a map of strings, the writer has {found}")
    inner = last.message_type.fields_by_name["value"]
    leaf = _single_leaf(inner, value.type)
    if leaf is None:
        raise SchemaError(f"{column.path_text}[]: expected {value.kind}, the writer has {_kind(inner)}")
    return _reader(steps, lambda found: entries_of(found.items(), column, lambda each, _: leaf(each)))


def _element(field: FieldDescriptor, column: ListField) -> Callable[[Any], object]:
    """What makes an element of one of the repeated field."""
    where = f"{column.path_text}[]"
    if column.bare:
        (member,) = column.members
        leaf = _single_leaf(field, member.type)
        if leaf is None:
            raise SchemaError(f"{where}: expected {member.kind}, the writer has {_kind(field)}")
        return leaf
    inner = field.message_type
    if inner is None or is_value(inner):
        raise SchemaError(f"{where}: expected a message, the writer has {_kind(field)}")
    try:
        found = [(member.name, _find(inner, member)) for member in column.members]
    except SchemaError as error:
        raise SchemaError(str(error).replace("$.", f"{where}.", 1)) from None
    reads = [(name, read) for name, read in found if read]
    return lambda element: {name: read(element) for name, read in reads}


def _steps(message: Descriptor, column: Field | ListField) -> list[FieldDescriptor] | None:
    """The fields along the path; None where the last is not there."""
    steps: list[FieldDescriptor] = []
    level: Descriptor | None = message
    for position, name in enumerate(column.steps):
        if level is None or (position and is_value(level)):
            before = ".".join(column.steps[:position])
            raise SchemaError(f"$.{before}: expected a message, the writer has {field_name(steps[-1])}")
        found = level.fields_by_name.get(name)
        if found is None:
            return None
        steps.append(found)
        level = None if is_repeated(found) else found.message_type
    return steps


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
    return None if is_repeated(field) else _single_leaf(field, wanted)


def _single_leaf(field: FieldDescriptor, wanted: ColumnType) -> Callable[[Any], object] | None:
    if field.message_type is not None:
        return _message_leaf(field.message_type, wanted)
    kind = _KINDS[field.cpp_type]
    if field.type == FieldDescriptor.TYPE_BYTES or wanted == "bytes":
        return _same if field.type == FieldDescriptor.TYPE_BYTES and wanted == "bytes" else None
    if wanted not in _COLUMNS[kind]:
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


def is_value(message: Descriptor) -> bool:
    """Whether the message is one value of a column, as a Timestamp is."""
    return message.full_name == _TIMESTAMP or _is_wrapper(message)


def _is_wrapper(message: Descriptor) -> bool:
    return bool(message.file.name == "google/protobuf/wrappers.proto")


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether it is a list or a map."""
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def is_map(field: FieldDescriptor) -> bool:
    """Whether it is a map."""
    return bool(is_repeated(field) and field.message_type and field.message_type.GetOptions().map_entry)


def field_name(field: FieldDescriptor) -> str:
    """What the field is called in messages."""
    if is_repeated(field):
        return "a map" if is_map(field) else "a list"
    return _kind(field)


def _kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return str(field.message_type.full_name)
    return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else _KINDS[field.cpp_type]
