"""A Protobuf file and its messages, without a compiler."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import (
    descriptor_pool,
    json_format,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto


def proto_field(
    name: str, number: int, kind: str, of: str | None = None, repeated: bool = False
) -> dict[str, Any]:
    """A field of a message."""
    label = "LABEL_REPEATED" if repeated else "LABEL_OPTIONAL"
    made = {"name": name, "number": number, "type": f"TYPE_{kind}", "label": label}
    return {**made, "typeName": of} if of else made


PAYMENT: dict[str, Any] = {
    "name": "payment.proto",
    "package": "shop",
    "syntax": "proto3",
    "dependency": ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"],
    "messageType": [
        {"name": "Other", "field": [proto_field("a", 1, "INT32")]},
        {
            "name": "Payment",
            "field": [
                proto_field("id", 1, "INT64"),
                {**proto_field("amount", 2, "DOUBLE"), "proto3Optional": True, "oneofIndex": 0},
                proto_field("user", 3, "MESSAGE", ".shop.Payment.User"),
                proto_field("at", 4, "MESSAGE", ".google.protobuf.Timestamp"),
                proto_field("note", 5, "MESSAGE", ".google.protobuf.StringValue"),
                proto_field("kind", 6, "ENUM", ".shop.Kind"),
                proto_field("ok", 7, "BOOL"),
                proto_field("tags", 8, "STRING", repeated=True),
                proto_field("big", 9, "UINT64"),
                proto_field("raw", 10, "BYTES"),
            ],
            "oneofDecl": [{"name": "_amount"}],
            "nestedType": [{"name": "User", "field": [proto_field("country", 1, "STRING")]}],
        },
        {"name": "Node", "field": [proto_field("next", 1, "MESSAGE", ".shop.Node")]},
    ],
    "enumType": [{"name": "Kind", "value": [{"name": "NONE", "number": 0}, {"name": "CARD", "number": 1}]}],
}


_LINE = re.compile(r'  (optional )?([\w.]+|map<string, double>) (\w+) = (\d+)( \[json_name = "(\w+)"\])?;')
_WORDS = {"string": "STRING", "double": "DOUBLE", "int64": "INT64", "bool": "BOOL"}


def proto_file(text: str) -> dict[str, Any]:
    """The descriptor of a .proto file with one message of plain fields, timestamps and maps of doubles."""
    lines = text.splitlines()
    package = "".join(re.findall(r"^package (\S+);", text, re.MULTILINE))
    name = "".join(re.findall(r"^message (\w+)", text, re.MULTILINE))
    imports = re.findall(r'^import "(\S+)";', text, re.MULTILINE)
    fields: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    oneofs: list[dict[str, Any]] = []
    for line in lines[lines.index(f"message {name} {{") + 1 : -1]:
        found = _LINE.fullmatch(line)
        assert found, line
        optional, kind, called, number, _, in_json = found.groups()
        made = proto_field(called, int(number), _WORDS.get(kind, "MESSAGE"))
        if kind.startswith("map"):
            parts = [proto_field("key", 1, "STRING"), proto_field("value", 2, "DOUBLE")]
            entry = f"{called.title().replace('_', '')}Entry"
            entries.append({"name": entry, "field": parts, "options": {"mapEntry": True}})
            place = f".{package}.{name}.{entry}" if package else f".{name}.{entry}"
            made = proto_field(called, int(number), "MESSAGE", place, repeated=True)
        elif kind not in _WORDS:
            made["typeName"] = f".{kind}"
        if optional:
            made |= {"proto3Optional": True, "oneofIndex": len(oneofs)}
            oneofs.append({"name": f"X{len(oneofs)}"})
        fields.append(made | ({"jsonName": in_json} if in_json else {}))
    message = {"name": name, "field": fields, "nestedType": entries, "oneofDecl": oneofs}
    file = {"name": "p.proto", "package": package, "syntax": "proto3", "dependency": imports}
    return {**file, "messageType": [message]}


def message_class(file: dict[str, Any], name: str) -> Any:
    """The class of a message of the file."""
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
