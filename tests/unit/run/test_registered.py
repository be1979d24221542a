"""Fields for a job out of registered schemas: what is proposed is read by the decoder of that format.

The adversaries are a schema that contains itself, names that no path has, and a next version that leaves out
what the job requires.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.formats import contract_of, json_schema, message_misfits
from flink_jobs.run.registered import Registered, at_risk, proposed_fields, proposed_row, unfilled
from flink_jobs.spec import SchemaRegistry
from tests.helpers.protobuf_records import PAYMENT, message_class, proto_field
from udfs.records.avro_schema import parse_schema
from udfs.records.contract import Contract, Field

JOB: dict[str, Any] = {
    "job": "j",
    "model": {"name": "m", "registry": "models"},
    "source": {"topic": "t", "format": "protobuf", "schema_registry": {"url": "http://r"}},
}
DOCUMENT = {
    "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}},
    "title": "Payment",
    "type": "object",
    "required": ["id", "user", "kind"],
    "properties": {
        "id": {"type": "integer"},
        "amount": {"oneOf": [{"type": "null"}, {"type": "number"}]},
        "kind": {"enum": ["CARD", "CASH"]},
        "ok": {"type": ["boolean", "null"]},
        "user": {
            "required": ["country"],
            "properties": {"country": {"type": "string"}, "first-name": {"type": "string"}},
        },
        "receipt": {"type": "string", "contentEncoding": "base64"},
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "items": {"type": "array", "items": {"properties": {"sku": {"type": "string"}, "q": {}, "b-c": {}}}},
        "any": {},
        "mixed": {"type": ["string", "integer"]},
        "node": {"$ref": "#/$defs/node"},
    },
}


def written(schema: Any) -> list[tuple[str, str, str | None, bool]]:
    return [(f.name, f.path, f.written or f.type, f.required) for f in proposed_fields(schema)]


def contract(schema: Any, kind: str) -> Contract:
    """That of a job whose fields are all that is proposed."""
    fields = {
        each.name: {"type": each.written or each.type, "field": each.path, "required": each.required}
        for each in proposed_fields(schema)
        if each.written or each.type
    }
    job = {**JOB, "source": {**JOB["source"], "format": kind, "schema": fields}}
    return contract_of(load_job_text(yaml.safe_dump(job), "job.yaml", Path("/")).source)


def test_a_messages_fields_are_proposed_as_its_decoder_reads_them() -> None:
    message = message_class(PAYMENT, "shop.Payment").DESCRIPTOR
    assert written(message) == [
        ("id", "id", "long", True),
        ("amount", "amount", "double", False),
        ("user_country", "user.country", "string", False),
        ("at", "at", "string", False),
        ("note", "note", "string", False),
        ("kind", "kind", "string", True),
        ("ok", "ok", "boolean", True),
        ("tags", "tags", "list<string>", True),
        ("big", "big", "long", True),
        ("raw", "raw", "bytes", True),
    ]
    assert list(message_misfits(contract(message, "protobuf"), message)) == []


def test_messages_that_contain_themselves_or_nothing_end() -> None:
    tree = [proto_field("n", 1, "INT32"), proto_field("next", 2, "MESSAGE", ".x.Tree")]
    tree += [proto_field("none", 3, "MESSAGE", ".x.None"), proto_field("all", 4, "MESSAGE", ".x.Tree", True)]
    file = {
        "name": "x.proto",
        "package": "x",
        "syntax": "proto3",
        "messageType": [{"name": "Tree", "field": tree}, {"name": "None"}],
    }
    assert written(message_class(file, "x.Tree").DESCRIPTOR) == [
        ("n", "n", "long", True),
        ("next", "next", None, False),
        ("none", "none", None, False),
        ("all", "all", "list<{n: long}>", True),
    ]


def test_a_wide_and_deep_message_is_refused_and_not_walked_for_ever() -> None:
    messages: list[dict[str, Any]] = [{"name": "M0"}]
    for level in range(1, 30):
        fields = [proto_field(f"f{n}", n, "MESSAGE", f".x.M{level - 1}") for n in range(1, 9)]
        messages.append({"name": f"M{level}", "field": fields})
    file = {"name": "x.proto", "package": "x", "syntax": "proto3", "messageType": messages}
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString())
    with pytest.raises(InputError, match="at most 1000 fields"):
        proposed_fields(pool.FindMessageTypeByName("x.M29"))


def test_properties_are_proposed_as_json_has_them() -> None:
    schema = json_schema(json.dumps(DOCUMENT))
    assert written(schema) == [
        ("id", "id", "long", True),
        ("amount", "amount", "double", False),
        ("kind", "kind", "string", True),
        ("ok", "ok", "boolean", False),
        ("user_country", "user.country", "string", True),
        ("user_first_name", "user.first-name", None, False),
        ("receipt", "receipt", "bytes", False),
        ("rates", "rates", "map<string, double>", False),
        ("tags", "tags", "list<string>", False),
        ("items", "items", "list<{sku: string}>", False),
        ("any", "any", None, False),
        ("mixed", "mixed", None, False),
        ("node_next", "node.next", None, False),
        ("node_n", "node.n", "long", False),
    ]
    found = Registered(1, "json_schema", schema)
    assert list(unfilled(found, contract(schema, "json_schema"), "json_schema")) == []
    (other,) = unfilled(found, Contract(()), "avro")
    assert other[:3] == (("source", "format"), "json_schema, as the registry has a JSON Schema", "avro")


AVRO = {
    "type": "record",
    "name": "P",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "gone", "type": "string", "default": ""},
        {
            "name": "user",
            "type": [
                "null",
                {"type": "record", "name": "U", "fields": [{"name": "country", "type": "string"}]},
            ],
        },
    ],
}
REQUIRED = Contract(
    (
        Field("id", "long", required=True),
        Field("amount", "double"),
        Field("gone", "string", required=True),
        Field("country", "string", required=True, path=("user", "country")),
    )
)


@pytest.mark.parametrize(
    ("level", "risks"),
    [
        (None, ()),
        ("NONE", ("id", "gone", "country")),
        ("BACKWARD", ("id", "gone", "country")),
        ("FORWARD", ("gone",)),
        ("FULL_TRANSITIVE", ("gone",)),
    ],
)
def test_what_a_next_version_may_leave_out_is_told(level: str | None, risks: tuple[str, ...]) -> None:
    """As Apache's SchemaCompatibility has it: a reader needs what has no default."""
    node = parse_schema(json.dumps(AVRO))
    assert at_risk(Registered(1, "avro", node, None, level), REQUIRED) == risks


def test_of_json_optional_properties_may_go_and_of_protobuf_all() -> None:
    fields = Contract(
        (
            Field("id", "long", required=True),
            Field("ok", "boolean", required=True),
            Field("country", "string", required=True, path=("user", "country")),
        )
    )
    schema = json_schema(json.dumps(DOCUMENT))
    assert at_risk(Registered(1, "json_schema", schema, None, "FULL"), fields) == ("ok",)
    message = message_class(PAYMENT, "shop.Payment").DESCRIPTOR
    assert at_risk(Registered(1, "protobuf", message, None, "FULL"), fields) == ("id", "ok", "country")


@pytest.mark.parametrize(
    ("keys", "subject"),
    [
        ({}, "t-value"),
        ({"record": "shop.Payment"}, "t-value"),
        ({"strategy": "record", "record": "shop.Payment"}, "shop.Payment"),
        ({"strategy": "topic_record", "record": "shop.Payment"}, "t-shop.Payment"),
        ({"subject": "mine"}, "mine"),
    ],
)
def test_subjects_are_called_as_the_strategy_says(keys: dict[str, Any], subject: str) -> None:
    assert SchemaRegistry(url="http://r", **keys).subject_of("t") == subject


def named(found: Any) -> list[list[tuple[str, str]]]:
    return [[(each.name, each.path) for each in part] for part in found]


def test_of_an_envelope_its_own_fields_and_those_of_the_row_are_proposed() -> None:
    """A column of the row that is called as one of the envelope gets another name; its path stays."""
    row = {"properties": {"id": {"type": "integer"}, "op": {"type": "string"}}, "required": ["id"]}
    properties = {
        "before": {"$ref": "#/$defs/row"},
        "after": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/row"}]},
    }
    document = {
        "$defs": {"row": row},
        "properties": {**properties, "op": {"type": "string"}},
        "required": ["op"],
    }
    found = proposed_row(json_schema(json.dumps(document)))
    assert named(found) == [[("op", "op")], [("id", "id"), ("op_2", "op")]]

    value = {"name": "Value", "field": [proto_field("id", 1, "INT64"), proto_field("note", 2, "STRING")]}
    fields = [proto_field("before", 1, "MESSAGE", ".x.Value"), proto_field("after", 2, "MESSAGE", ".x.Value")]
    fields += [proto_field("op", 3, "STRING"), proto_field("ts_ms", 4, "INT64")]
    file = {"name": "x.proto", "package": "x", "syntax": "proto3"}
    messages = {"messageType": [value, {"name": "Envelope", "field": fields}]}
    found = proposed_row(message_class({**file, **messages}, "x.Envelope").DESCRIPTOR)
    assert named(found) == [[("op", "op"), ("ts_ms", "ts_ms")], [("id", "id"), ("note", "note")]]


@pytest.mark.parametrize("missing", ["op", "after"])
def test_what_only_looks_like_an_envelope_is_none(missing: str) -> None:
    properties = {"op": {"type": "string"}, "after": {"properties": {"id": {"type": "integer"}}}}
    del properties[missing]
    assert proposed_row(json_schema(json.dumps({"properties": properties}))) is None
