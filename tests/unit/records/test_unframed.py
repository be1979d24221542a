"""Records behind Confluent's or AWS Glue's header, where no registry is asked and a file has their schema.

The adversaries are a producer with the other header, one that compresses in an unknown way, and few bytes
that inflate to many. Bodies are written by fastavro, protobuf's library and the standard one.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from uuid import UUID

import fastavro
import pytest
from google.protobuf import json_format, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.helpers.protobuf_records import PAYMENT, message_class
from udfs.records.contract import Contract, Field
from udfs.records.debezium import EnvelopeParams
from udfs.records.decode import Decoder, decode_batch
from udfs.records.formats import FormatName, FormatParams, make_decoder
from udfs.records.unframed import Framing

LIMIT = 1_000
CONTRACT = Contract((Field("id", "long", required=True),))
AVRO = {"type": "record", "name": "P", "fields": [{"name": "id", "type": "long"}]}
JSON = {"properties": {"id": {"type": "integer", "maximum": 1000}}}
VERSION = UUID("0a1b2c3d-4e5f-6a7b-8c9d-0e1f2a3b4c5d")


def as_avro(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), {"id": number})
    return stream.getvalue()


def as_protobuf(number: int) -> bytes:
    message: bytes = json_format.ParseDict(
        {"id": number}, message_class(PAYMENT, "shop.Payment")()
    ).SerializeToString()
    return message


def as_json(number: int) -> bytes:
    return json.dumps({"id": number}).encode()


def descriptors() -> str:
    known = [
        FileDescriptorProto.FromString(m.DESCRIPTOR.serialized_pb) for m in (timestamp_pb2, wrappers_pb2)
    ]
    own = json_format.ParseDict(PAYMENT, FileDescriptorProto())
    return base64.b64encode(FileDescriptorSet(file=[*known, own]).SerializeToString()).decode()


# Schema, message, how a record is written, and what stands before it in each framing beside the header.
FORMATS: dict[FormatName, tuple[str | None, str | None, Callable[[int], bytes], bytes, bytes]] = {
    "avro": (json.dumps(AVRO), None, as_avro, b"", b""),
    "protobuf": (descriptors(), "shop.Payment", as_protobuf, b"\x02\x02", b"\x01"),
    "json_schema": (json.dumps(JSON), None, as_json, b"", b""),
}
EACH = pytest.mark.parametrize("name", FORMATS)


def decoder(name: FormatName, framing: Framing, **more: object) -> Decoder:
    schema, message, *_ = FORMATS[name]
    return make_decoder(CONTRACT, LIMIT, FormatParams(name, schema, message, framing=framing, **more))  # type: ignore[arg-type]


def glue(name: FormatName, number: int, compression: int = 0) -> bytes:
    _, _, write, _, index = FORMATS[name]
    body = index + write(number)
    return bytes([3, compression]) + VERSION.bytes + (zlib.compress(body) if compression else body)


def confluent(name: FormatName, number: int) -> bytes:
    _, _, write, place, _ = FORMATS[name]
    return b"\0\0\0\0\7" + place + write(number)


@EACH
def test_records_behind_either_header_are_read_alone_and_in_batches(name: FormatName) -> None:
    of_glue = [glue(name, n, 5 * (n % 2)) for n in range(300)]
    of_confluent = [confluent(name, n) for n in range(300)]
    for framing, raws in (("glue", of_glue), ("confluent", of_confluent)):
        made = decoder(name, framing)  # type: ignore[arg-type]
        decoded = decode_batch(made, raws)
        assert not decoded.problems
        assert decoded.table.column("id").to_pylist() == list(range(300))
        assert made.decode_columns(raws) is not None, "and all at once"
        assert decode_batch(made, raws[7:8]).table.to_pylist() == [{"id": 7}]


@EACH
def test_other_headers_and_none_are_dead_letters(name: FormatName) -> None:
    good, other = glue(name, 1), confluent(name, 1)
    rows = [good, other, good[:17], bytes([3, 4]) + good[2:], bytes([4]) + good[1:], b"", None]
    decoded = decode_batch(decoder(name, "glue"), rows)
    assert decoded.rows.tolist() == [0]
    told = [(each.reason, each.message) for each in decoded.problems.values()]
    short = "a shorter value" if len(other) < 18 else "the first byte 0"
    assert told[0] == ("not_framed", f"expected AWS Glue's header of 18 bytes, with 3 at first, got {short}")
    assert told[1] == (
        "not_framed",
        "expected AWS Glue's header of 18 bytes, with 3 at first, got a shorter value",
    )
    assert told[2] == ("not_framed", "AWS Glue's header: expected compression 0 or 5, got 4")
    assert [reason for reason, _ in told[3:]] == ["not_framed", "empty", "tombstone"]
    (problem,) = decode_batch(decoder(name, "confluent"), [good]).problems.values()
    assert "AWS Glue's header: its registry is not asked (source.framing: glue)" in problem.message


def test_what_inflates_beyond_the_limit_or_is_cut_is_refused() -> None:
    head = bytes([3, 5]) + VERSION.bytes
    bomb = head + zlib.compress(b"0" * 5_000_000)[: LIMIT - 18]
    whole = glue("avro", 2**60, 5)
    rows = [bomb, whole[:-1], whole + b"x", head + b"no zlib", head]
    decoded = decode_batch(decoder("avro", "glue"), [*rows, whole])
    assert decoded.table.to_pylist() == [{"id": 2**60}]
    assert [each.reason for each in decoded.problems.values()] == ["too_large", *["not_framed"] * 4]


def test_a_schema_and_an_envelope_hold_behind_the_header() -> None:
    made = decoder("json_schema", "glue")
    (problem,) = decode_batch(made, [glue("json_schema", 1001)]).problems.values()
    assert problem.message == "properties/id/maximum of the JSON Schema does not hold"
    row = {"type": "record", "name": "V", "fields": AVRO["fields"]}
    fields = [{"name": "after", "type": ["null", row]}, {"name": "op", "type": "string"}]
    schema = {"type": "record", "name": "E", "fields": fields}
    stream = io.BytesIO(bytes([3, 0]) + VERSION.bytes)
    stream.seek(18)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), {"after": {"id": 5}, "op": "u"})
    written = FormatParams("avro", json.dumps(schema), envelope=EnvelopeParams("debezium"), framing="glue")
    assert decode_batch(make_decoder(CONTRACT, LIMIT, written), [stream.getvalue()]).table.to_pylist() == [
        {"id": 5}
    ]


def test_json_without_a_file_is_read_behind_the_header() -> None:
    made = make_decoder(CONTRACT, LIMIT, FormatParams("json_schema", framing="glue"))
    assert decode_batch(made, [glue("json_schema", 5, 5)]).table.to_pylist() == [{"id": 5}]
