"""Repeated fields of Protobuf as lists: the same outcome alone and in any batch, written by its own library.

The adversaries are a producer with another descriptor, and one whose lists are too long.
"""

from __future__ import annotations

import base64
import time
from functools import partial
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.contract import Contract, Field, ListField
from udfs.records.decode import decode_batch
from udfs.records.problems import RejectedError
from udfs.records.protobuf import ProtobufDecoder, WriterFile, writer_file
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import Schema

FILE: dict[str, Any] = {
    "name": "order.proto",
    "package": "shop",
    "syntax": "proto3",
    "dependency": ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"],
    "messageType": [
        {
            "name": "Order",
            "field": [
                proto_field("id", 1, "INT64"),
                proto_field("tags", 2, "STRING", repeated=True),
                proto_field("items", 3, "MESSAGE", ".shop.Order.Item", repeated=True),
                proto_field("bigs", 4, "UINT64", repeated=True),
                proto_field("counts", 5, "MESSAGE", ".shop.Order.CountsEntry", repeated=True),
                proto_field("inner", 6, "MESSAGE", ".shop.Order.Inner"),
                proto_field("times", 7, "MESSAGE", ".google.protobuf.Timestamp", repeated=True),
            ],
            "nestedType": [
                {
                    "name": "Item",
                    "field": [
                        proto_field("sku", 1, "ENUM", ".shop.Sku"),
                        proto_field("qty", 2, "INT32"),
                        proto_field("note", 3, "MESSAGE", ".google.protobuf.StringValue"),
                    ],
                },
                {
                    "name": "CountsEntry",
                    "field": [proto_field("key", 1, "STRING"), proto_field("value", 2, "INT32")],
                    "options": {"mapEntry": True},
                },
                {"name": "Inner", "field": [proto_field("xs", 1, "FLOAT", repeated=True)]},
            ],
        }
    ],
    "enumType": [{"name": "Sku", "value": [{"name": "NONE", "number": 0}, {"name": "BOOK", "number": 1}]}],
}
Order = message_class(FILE, "shop.Order")
CONTRACT = Contract(
    (Field("id", "long"),),
    (
        ListField("tags", (Field("", "string", values=("a", "b")),), length=(None, 3)),
        ListField("items", (Field("sku", "string"), Field("qty", "long", high=9), Field("note", "string"))),
        ListField("bigs", (Field("", "long"),)),
        ListField("xs", (Field("", "double"),), path=("inner", "xs")),
        ListField("times", (Field("", "string"),)),
        ListField("gone", (Field("", "string"),)),
    ),
)


def schema(_number: int) -> Schema:
    text = json_format.ParseDict(FILE, FileDescriptorProto()).SerializeToString()
    return Schema(base64.b64encode(text).decode(), "PROTOBUF")


class Careful(ProtobufDecoder):
    """Reads each record alone."""

    def decode_columns(self, raws: Any) -> None:
        return None


def decoder(kind: type[ProtobufDecoder] = ProtobufDecoder, contract: Contract = CONTRACT) -> ProtobufDecoder:
    cache: SchemaCache[WriterFile] = SchemaCache(schema, partial(writer_file, contract), 0.0)
    return kind(contract, 5_000_000, RegistryParams("http://127.0.0.1:1"), cache)


def order(**fields: Any) -> bytes:
    written: bytes = json_format.ParseDict(fields, Order()).SerializeToString()
    return b"\0\0\0\0\1\0" + written


def outcomes(read: ProtobufDecoder, raws: list[bytes]) -> list[Any]:
    decoded = decode_batch(read, list(raws))
    assert decoded.table.schema == CONTRACT.arrow_schema()
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-9, 9).map(str),
        "tags": st.lists(st.sampled_from(["a", "b", "c"]), max_size=4),
        "items": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "sku": st.sampled_from(["NONE", "BOOK"]),
                    "qty": st.integers(0, 10),
                    "note": st.text(max_size=3),
                },
            ),
            max_size=4,
        ),
        "bigs": st.lists(st.sampled_from(["1", str(2**63 - 1), str(2**63)]), max_size=2),
        "inner": st.fixed_dictionaries({"xs": st.lists(st.floats(-2, 2, width=32), max_size=3)}),
        "times": st.just(["2013-07-01T05:17:00.000000123Z"]),
    },
)


def expected(record: dict[str, Any]) -> Any:
    """The columns, or the place of the first mistake."""
    tags = record.get("tags", [])
    if len(tags) > 3:
        return "$.tags"
    if "c" in tags:
        return f"$.tags[{tags.index('c')}]"
    for place, item in enumerate(record.get("items", [])):
        if item.get("qty", 0) > 9:
            return f"$.items[{place}].qty"
    bigs = record.get("bigs", [])
    if str(2**63) in bigs:
        return f"$.bigs[{bigs.index(str(2**63))}]"
    return {
        "id": int(record.get("id", 0)),
        "tags": tags,
        "items": [
            {"sku": each.get("sku", "NONE"), "qty": each.get("qty", 0), "note": each.get("note")}
            for each in record.get("items", [])
        ],
        "bigs": [int(each) for each in bigs],
        "xs": record["inner"]["xs"] if "inner" in record else None,
        "times": record.get("times", []),
        "gone": None,
    }


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(ORDERS, min_size=1, max_size=5))
def test_lists_are_read_as_they_were_written(records: list[Any]) -> None:
    raws = [order(**record) for record in records]
    together = outcomes(decoder(), raws)
    assert together == outcomes(decoder(Careful), raws)
    assert together == [found for raw in raws for found in outcomes(decoder(), [raw])]
    for found, record in zip(together, records, strict=True):
        where = expected(record)
        assert found == where if isinstance(where, dict) else found.message.startswith(f"{where}: ")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (ListField("id", (Field("", "long"),)), "$.id: expected a list, the writer has int64"),
        (ListField("counts", (Field("value", "long"),)), "$.counts: expected a list, the writer has a map"),
        (ListField("tags", (Field("", "long"),)), "$.tags[]: expected long, the writer has string"),
        (ListField("tags", (Field("a", "long"),)), "$.tags[]: expected a message, the writer has string"),
        (
            ListField("items", (Field("", "long"),)),
            "$.items[]: expected long, the writer has shop.Order.Item",
        ),
        (
            ListField("items", (Field("qty", "string"),)),
            "$.items[].qty: expected string, the writer has int32",
        ),
        (
            ListField("times", (Field("seconds", "long"),)),
            "$.times[]: expected a message, the writer has google.protobuf.Timestamp",
        ),
    ],
)
def test_a_schema_that_cannot_fill_a_list_is_refused(field: ListField, message: str) -> None:
    with pytest.raises(RejectedError) as caught:
        decoder(contract=Contract((), (field,))).decode_record(order())
    assert caught.value.problem.message == f"schema 1: {message}"


def test_a_hostile_list_costs_bounded_time() -> None:
    contract = Contract((), (ListField("bigs", (Field("", "long"),), length=(None, 5)),))
    many, good = order(bigs=["1"] * 100_000), order(bigs=["1"])
    read = decoder(contract=contract)
    started = time.process_time()
    decoded = decode_batch(read, [good, many, good])
    assert time.process_time() - started < 6
    assert decoded.table.to_pylist() == [{"bigs": [1]}] * 2
    assert decoded.problems[1].message == "$.bigs: expected at most 5 elements, got more"
