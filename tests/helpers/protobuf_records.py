"""A Protobuf file and its messages, without a compiler."""

from __future__ import annotations

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


def message_class(file: dict[str, Any], name: str) -> Any:
    """The class of a message of the file."""
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
