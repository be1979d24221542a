"""The table of types by formats in docs/formats.md: each cell is what a job of that type in that format does.

The adversary is a page that promises what is refused. Records are written by other libraries: Apache's for
Avro, Protobuf's own, the standard library's JSON, CSV and base64.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_feature_plan
from flink_jobs.plan.params import source_params
from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.decode import decode_batch
from udfs.records.formats import make_decoder
from udfs.records.personal import PrivacyParams

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
READ, REFUSED = "read", "refused"


@dataclass(frozen=True)
class Type:
    """How a value is written: as JSON has it, in Avro, in Protobuf; and what the column then has."""

    declared: str
    value: Any
    column: Any
    avro: Any
    protobuf: dict[str, Any]
    plain: Any = None


ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [{"name": "sku", "type": "string"}, {"name": "qty", "type": "long"}],
}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
STRING, LONG, DOUBLE = (proto_field("v", 1, kind) for kind in ("STRING", "INT64", "DOUBLE"))
TYPES = {
    "`string`": Type("string", "é", "é", "string", STRING),
    "`long`": Type("long", 2**53 + 1, 2**53 + 1, "long", LONG),
    "`double`": Type("double", 0.5, 0.5, "double", DOUBLE),
    "`boolean`": Type("boolean", True, True, "boolean", proto_field("v", 1, "BOOL")),
    "`decimal(p, s)`": Type('"decimal(6, 2)"', "12.5", "12.50", DECIMAL, STRING),
    "`bytes`": Type("bytes", "AP8=", "AP8=", "bytes", proto_field("v", 1, "BYTES"), b"\0\xff"),
    "`list` of values": Type(
        "list<long>",
        [1, 2],
        3,
        {"type": "array", "items": "long"},
        proto_field("v", 1, "INT64", repeated=True),
    ),
    "`list` of objects": Type(
        '"list<{sku: string, qty: long}>"',
        [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2}],
        3,
        {"type": "array", "items": ITEM},
        proto_field("v", 1, "MESSAGE", ".M.Item", repeated=True),
    ),
    "`map`": Type(
        '"map<string, double>"',
        {"a": 0.5},
        0.5,
        {"type": "map", "values": "double"},
        proto_field("v", 1, "MESSAGE", ".M.VEntry", repeated=True),
    ),
    "`vector`": Type(
        '"vector<float, 2>"',
        [0.5, 1.5],
        [0.5, 1.5],
        {"type": "array", "items": "float"},
        proto_field("v", 1, "FLOAT", repeated=True),
    ),
    "a field within others": Type(
        "{type: long, field: v.qty}",
        {"sku": "a", "qty": 7},
        7,
        ITEM,
        proto_field("v", 1, "MESSAGE", ".M.Item"),
    ),
}
DERIVED = {"`list` of values": "SUM(v)", "`list` of objects": "SUM(v.qty)", "`map`": "v['a']"}
NESTED = [
    {"name": "Item", "field": [proto_field("sku", 1, "STRING"), proto_field("qty", 2, "INT64")]},
    {
        "name": "VEntry",
        "field": [proto_field("key", 1, "STRING"), proto_field("value", 2, "DOUBLE")],
        "options": {"mapEntry": True},
    },
]


def as_json(kind: Type, _folder: Path) -> bytes:
    return json.dumps({"v": kind.value}).encode()


def as_avro(kind: Type, folder: Path) -> bytes:
    from decimal import Decimal

    schema = {"type": "record", "name": "R", "fields": [{"name": "v", "type": kind.avro}]}
    (folder / "r.avsc").write_text(json.dumps(schema))
    value = Decimal(kind.value) if kind.avro is DECIMAL else kind.plain or kind.value
    stream = io.BytesIO()
    if kind.avro is DECIMAL:
        value = value.quantize(Decimal("0.01"))
    avro.io.DatumWriter(avro.schema.parse(json.dumps(schema))).write(
        {"v": value}, avro.io.BinaryEncoder(stream)
    )
    return stream.getvalue()


def as_protobuf(kind: Type, folder: Path) -> bytes:
    message = {"name": "M", "field": [kind.protobuf], "nestedType": NESTED}
    file = {"name": "m.proto", "syntax": "proto3", "messageType": [message]}
    parsed = json_format.ParseDict(file, FileDescriptorProto())
    (folder / "m.desc").write_bytes(FileDescriptorSet(file=[parsed]).SerializeToString())
    made: bytes = json_format.ParseDict({"v": kind.value}, message_class(file, "M")()).SerializeToString()
    return made


def as_messagepack(kind: Type, _folder: Path) -> bytes:
    return msgspec.msgpack.encode({"v": kind.plain or kind.value})


def as_csv(kind: Type, _folder: Path) -> bytes:
    line = io.StringIO()
    value = json.dumps(kind.value) if not isinstance(kind.value, str) else kind.value
    csv.writer(line).writerow([value])
    return line.getvalue().encode()


def as_text(kind: Type, _folder: Path) -> bytes:
    return (kind.value if isinstance(kind.value, str) else json.dumps(kind.value)).encode()


FORMATS: dict[str, tuple[str, Callable[[Type, Path], bytes]]] = {
    "`json`": ("json", as_json),
    "`json_schema`": ("json_schema", lambda kind, folder: b"\0\0\0\0\1" + as_json(kind, folder)),
    "`avro`": ("avro\n  schema_file: r.avsc", as_avro),
    "`protobuf`": ("protobuf\n  schema_file: m.desc", as_protobuf),
    "`messagepack`": ("messagepack", as_messagepack),
    "`csv`": ("csv", as_csv),
    "`text`": ("text", as_text),
}
JOB = """
job: a
source:
  topic: in
  format: FORMAT
  schema: {v: TYPE}
features: {derive: {DERIVED}}
model: {name: m}
predictions: PREDICTIONS
"""


def job_of(name: str, written: str, predictions: str = "{}") -> str:
    derived = f'of_v: "{DERIVED[name]}"' if name in DERIVED else ""
    text = JOB.replace("FORMAT", written).replace("TYPE", TYPES[name].declared).replace("DERIVED", derived)
    return text.replace("PREDICTIONS", predictions)


def outcome(name: str, form: str, folder: Path) -> str:
    """What the job does with the value; a value that is read must be that which was written."""
    kind, (written, write) = TYPES[name], FORMATS[form]
    raw = write(kind, folder)
    try:
        job = load_job_text(job_of(name, written), "a.yaml", folder, {})
        wanted = "of_v" if name in DERIVED else "v_1" if name == "`vector`" else "v"
        make_feature_plan(job, [wanted])
    except (JobFileError, InputError):
        return REFUSED
    params = source_params(job, PrivacyParams())
    decoded = decode_batch(make_decoder(params.contract, 10_000, params.written), [raw])
    assert not decoded.problems, (name, form, decoded.problems)
    (row,) = decoded.table.to_pylist()
    value = row["v"]
    if name == "`list` of values":
        value = sum(value)
    elif name == "`list` of objects":
        value = sum(each["qty"] for each in value)
    elif name == "`map`":
        value = {each["key"]: each["value"] for each in value}["a"]
    assert value == kind.column, (name, form)
    return READ


def table_of_page() -> dict[str, dict[str, str]]:
    text = PAGE.read_text().split("## Types by format\n")[1].split("\n## ")[0]
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    heads = lines[0]
    return {line[0]: dict(zip(heads[1:], line[1:], strict=True)) for line in lines[1:]}


@pytest.mark.parametrize("form", FORMATS)
def test_the_page_says_what_is_read_of_each_format(form: str, tmp_path: Path) -> None:
    page = table_of_page()
    assert [*page] == [*TYPES]
    assert {name: line[form] for name, line in page.items()} == {
        name: outcome(name, form, tmp_path) for name in TYPES
    }


def test_the_page_says_what_predictions_carry() -> None:
    """A list, a map or a vector is no column, of which predictions are made."""
    page = table_of_page()
    for more in ("", ', format: avro, schema_registry: {url: "http://r"}'):
        assert {name: line["in predictions"] for name, line in page.items()} == {
            name: _included(name, f"{{include: [v]{more}}}") for name in TYPES
        }


def _included(name: str, predictions: str) -> str:
    try:
        load_job_text(job_of(name, "json", predictions), "a.yaml", Path("/"), {})
    except JobFileError:
        return REFUSED
    return "written"
