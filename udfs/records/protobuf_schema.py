"""The Protobuf message of a job's predictions: its descriptor, its text, and its class.

A field's number follows from its name alone, so columns can be added, dropped and moved, whatever a job wrote
before: no number ever means another field. Those of included columns take four bytes in a record.

>>> from udfs.records.output_schema import OutputField
>>> field_number("prediction"), field_number("city") == field_number("city")
(1, True)
>>> print(proto_text(OutputSchema((OutputField("score", "double"),), "protobuf")))
syntax = "proto3";
package tailrace;
message Prediction {
  optional double score = 2;
}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from zlib import crc32

from google.protobuf import descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from udfs.records.output_schema import Kind, OutputField, OutputSchema

_KNOWN = (
    *("prediction", "score", "probabilities", "explanation", "partition", "offset", "event_time"),
    *("window_start", "window_end", "records", "model", "version", "digest", "release", "topic"),
)
_NUMBERS = {name: number for number, name in enumerate(_KNOWN, 1)}
# Beyond what Protobuf keeps for itself; as many as numbers of four bytes allow, in round figures.
_FIRST, _COUNT = 20_000, 2**24
_TYPES: dict[Kind, tuple[int, str]] = {
    "string": (FieldDescriptorProto.TYPE_STRING, "string"),
    "json": (FieldDescriptorProto.TYPE_STRING, "string"),
    "double": (FieldDescriptorProto.TYPE_DOUBLE, "double"),
    "long": (FieldDescriptorProto.TYPE_INT64, "int64"),
    "boolean": (FieldDescriptorProto.TYPE_BOOL, "bool"),
    "timestamp": (FieldDescriptorProto.TYPE_MESSAGE, "google.protobuf.Timestamp"),
    "map": (FieldDescriptorProto.TYPE_MESSAGE, "map<string, double>"),
}
_TIMESTAMP_FILE = "google/protobuf/timestamp.proto"


def field_number(name: str) -> int:
    """The number of a field of that name."""
    return _NUMBERS.get(name) or _FIRST + crc32(name.encode()) % _COUNT


def same_numbers(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names of the same number, if there are any: one in 3,000 for a hundred names."""
    taken: dict[int, str] = {}
    for name in names:
        other = taken.setdefault(field_number(name), name)
        if other != name:
            return other, name
    return None


def proto_text(output: OutputSchema) -> str:
    """The file, as it is registered: there are registries that compare no other form."""
    package, name = output.names
    lines = ['syntax = "proto3";', *([f"package {package};"] if package else [])]
    if any(field.kind == "timestamp" for field in output.fields):
        lines.append(f'import "{_TIMESTAMP_FILE}";')
    return "\n".join([*lines, f"message {name} {{", *(_line(each) for each in output.fields), "}"])


def _line(field: OutputField) -> str:
    label = "" if field.kind in ("map", "timestamp") else "optional "
    # Else a_b and aB had one name in JSON.
    named = f' [json_name = "{field.name}"]' if "_" in field.name else ""
    return f"  {label}{_TYPES[field.kind][1]} {field.name} = {field_number(field.name)}{named};"


@lru_cache(maxsize=8)
def message_type(output: OutputSchema) -> Any:
    """The class of the messages."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(_file(output))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(output.record))


def _file(output: OutputSchema) -> FileDescriptorProto:
    package, name = output.names
    file = FileDescriptorProto(name=f"{output.record}.proto", package=package, syntax="proto3")
    if any(field.kind == "timestamp" for field in output.fields):
        file.dependency.append(_TIMESTAMP_FILE)
    message = file.message_type.add(name=name)
    names = {field.name for field in output.fields}
    for field in output.fields:
        made = message.field.add(
            name=field.name,
            number=field_number(field.name),
            type=_TYPES[field.kind][0],
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            json_name=field.name,
        )
        if field.kind == "timestamp":
            made.type_name = ".google.protobuf.Timestamp"
        elif field.kind == "map":
            made.label = FieldDescriptorProto.LABEL_REPEATED
            made.type_name = f".{output.record}.{_add_entry(message, field.name)}"
        else:
            made.proto3_optional = True
            made.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=next(each for each in _free(field.name) if each not in names))
    return file


def _free(name: str) -> Iterator[str]:
    """Names for what protoc makes of an optional field."""
    made = f"_{name}"
    while True:
        yield made
        made = f"X{made}"


def _add_entry(message: Any, name: str) -> str:
    """The message of a map's entries."""
    called = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = message.nested_type.add(name=called)
    entry.options.map_entry = True
    parts: tuple[tuple[str, Kind], ...] = (("key", "string"), ("value", "double"))
    for number, (part, kind) in enumerate(parts, 1):
        entry.field.add(
            name=part, number=number, type=_TYPES[kind][0], label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    return called
