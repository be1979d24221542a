"""Protobuf: the same outcome by a batch and by each record, whatever a record or a descriptor holds.

The adversaries are a producer with another schema, one that sends rubbish, and one that nests without end.
Records are written by protobuf's own library.
"""

from __future__ import annotations

import base64
import random
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.helpers.protobuf_records import PAYMENT, message_class
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.problems import RejectedError
from udfs.records.protobuf import ProtobufDecoder, WriterFile, message_place, writer_file
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import NoSuchSchemaError, Schema

LIMIT = 10_000
CONTRACT = Contract(
    (
        Field("id", "long", required=True),
        Field("amount", "double"),
        Field("country", "string", path=("user", "country")),
        Field("at", "string"),
        Field("note", "string"),
        Field("kind", "string", values=("NONE", "CARD")),
        Field("ok", "boolean"),
        Field("gone", "string"),
    )
)
HEAD = b"\0\0\0\0\1\x02\x02"  # schema 1, its second message
NODE = b"\0\0\0\0\1\x02\x04"
Payment = message_class(PAYMENT, "shop.Payment")
FULL = {
    "id": "1",
    "amount": 2.5,
    "user": {"country": "NZ"},
    "at": "2013-07-01T05:17:00.000000123Z",
    "note": "é",
    "kind": "CARD",
    "ok": True,
    "tags": ["a", "b"],
    "big": "18446744073709551615",
}
ROW = {
    "id": 1,
    "amount": 2.5,
    "country": "NZ",
    "at": "2013-07-01T05:17:00.000000123Z",
    "note": "é",
    "kind": "CARD",
    "ok": True,
    "gone": None,
}


class CarefulDecoder(ProtobufDecoder):
    """Reads each record alone."""

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None


def descriptor(file: dict[str, Any]) -> str:
    return base64.b64encode(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString()).decode()


SCHEMAS = {
    1: Schema(descriptor(PAYMENT), "PROTOBUF"),
    2: Schema('syntax = "proto3"; message A { int64 id = 1; }', "PROTOBUF"),
    3: Schema('"long"', "AVRO"),
    4: Schema(descriptor({"name": "x", "dependency": ["nowhere.proto"]}), "PROTOBUF"),
}


def registered(number: int) -> Schema:
    if number not in SCHEMAS:
        raise NoSuchSchemaError("the registry has no such schema")
    return SCHEMAS[number]


def decoder(
    kind: type[ProtobufDecoder] = ProtobufDecoder, contract: Contract = CONTRACT, limit: int = LIMIT
) -> ProtobufDecoder:
    cache: SchemaCache[WriterFile] = SchemaCache(registered, partial(writer_file, contract), 0.0)
    return kind(contract, limit, RegistryParams("http://127.0.0.1:1"), cache)


def payment(**fields: Any) -> bytes:
    written: bytes = json_format.ParseDict(fields, Payment()).SerializeToString()
    return HEAD + written


def both(raws: list[bytes | None], contract: Contract = CONTRACT) -> Decoded:
    quick, careful = (
        decode_batch(decoder(kind, contract), raws) for kind in (ProtobufDecoder, CarefulDecoder)
    )
    assert quick.table.equals(careful.table)
    assert quick.rows.tolist() == careful.rows.tolist()
    assert quick.problems == careful.problems
    assert sorted([*quick.rows.tolist(), *quick.problems]) == list(range(len(raws)))
    return quick


def test_what_is_written_is_read_and_what_is_absent_is_null_or_its_default() -> None:
    assert decoder().decode_columns([payment(**FULL)] * 3) is not None, "at once"
    decoded = both([payment(**FULL), payment()])
    empty = {**dict.fromkeys(ROW), "id": 0, "kind": "NONE", "ok": False}
    assert decoded.table.to_pylist() == [ROW, empty]


GOOD = payment(**FULL)
BAD: list[tuple[bytes | None, str]] = [
    (None, "tombstone"),
    (b"", "empty"),
    (payment(user={"country": "x" * LIMIT}), "too_large"),
    (GOOD[:-1], "not_protobuf"),
    (GOOD + b"\xff", "not_protobuf"),
    (HEAD + b"\x1a\x03\x0a\x01\xff", "not_protobuf"),
    (HEAD + b"\x1a\xff\xff\xff\xff\x0f", "not_protobuf"),
    (b"\0\0\0\0\1", "not_framed"),
    (b"\0\0\0\0\1\x80", "not_framed"),
    (b"\0\0\0\0\1\xff\xff\xff\xff\xff\xff", "not_framed"),
    (b"\0\0\0\0\1\x7e" + b"\0" * 70, "not_framed"),
    (b"\1" + GOOD[1:], "not_framed"),
    (b"\0\0\0\0\1\x02\x08" + GOOD[7:], "schema_incompatible"),
    (b"\0\0\0\0\1\x02\x01" + GOOD[7:], "schema_incompatible"),
    (b"\0\0\0\0\2\0", "schema_incompatible"),
    (b"\0\0\0\0\3\0", "schema_incompatible"),
    (b"\0\0\0\0\4\0", "schema_incompatible"),
    (b"\0\0\0\0\x09\0", "schema_unknown"),
    (payment(**FULL | {"kind": 7}), "not_in_values"),
    (payment(**FULL | {"amount": "NaN"}), "not_finite"),
    (HEAD + b"\x22\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "wrong_type"),
]


@pytest.mark.parametrize(("raw", "reason"), BAD)
def test_a_bad_record_has_its_reason_and_spares_its_neighbours(raw: bytes | None, reason: str) -> None:
    for before, after in ((0, 0), (1, 1), (70, 30)):
        decoded = both([GOOD] * before + [raw] + [GOOD] * after)
        assert {i: problem.reason for i, problem in decoded.problems.items()} == {before: reason}
        assert decoded.table.to_pylist() == [ROW] * (before + after)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (Field("id", "string"), "schema 1: $.id: expected string, the writer has int64"),
        (Field("tags", "string"), "schema 1: $.tags: expected string, the writer has a list"),
        (Field("user", "string"), "schema 1: $.user: expected string, the writer has shop.Payment.User"),
        (Field("raw", "string"), "schema 1: $.raw: expected string, the writer has bytes"),
        (Field("x", "string", path=("id", "x")), "schema 1: $.id: expected a message, the writer has int64"),
        (
            Field("x", "string", path=("at", "seconds")),
            "schema 1: $.at: expected a message, the writer has google.protobuf.Timestamp",
        ),
    ],
)
def test_fields_that_cannot_be_read_are_told_with_id_and_path(field: Field, message: str) -> None:
    assert both([GOOD], Contract((field,))).problems[0].message == message


def test_numbers_beyond_64_bits_are_problems_of_their_records() -> None:
    contract = Contract((Field("big", "long"),))
    decoded = both([payment(big="5"), GOOD, payment(big="6")], contract)
    assert decoded.problems[1].message == "$.big: expected long, got integer beyond 64 bits"
    assert decoded.table.to_pylist() == [{"big": 5}, {"big": 6}]


@pytest.mark.parametrize("levels", [50, 5_000])
def test_nesting_has_an_end(levels: int) -> None:
    nested = message_class(PAYMENT, "shop.Node")
    body = b""
    for _ in range(levels):
        body = b"\x0a" + varint(len(body)) + body
    assert levels > 100 or nested.FromString(body).HasField("next")
    started = time.process_time()
    decoded = decode_batch(
        decoder(contract=Contract((Field("x", "string"),)), limit=100_000), [NODE + body] * 3
    )
    reasons = {problem.reason for problem in decoded.problems.values()}
    assert reasons == (set() if levels < 100 else {"not_protobuf"})
    assert time.process_time() - started < 2


def varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def test_spoiled_records_have_one_outcome_alone_and_in_any_batch() -> None:
    rng = random.Random(5)
    counts: Counter[str] = Counter()
    for _ in range(15):
        raws: list[bytes | None] = []
        for _ in range(200):
            raw = bytearray(payment(**dict(rng.sample(sorted(FULL.items()), rng.randrange(len(FULL))))))
            if rng.random() < 0.3:
                at = rng.randrange(len(raw))
                raw[at:] = rng.choice((b"", rng.randbytes(1) + raw[at + 1 :], b"\xff" * 9 + raw[at:]))
            raws.append(bytes(raw))
        decoded = both(raws)
        counts.update(problem.reason for problem in decoded.problems.values())
    assert "unexpected" not in counts
    assert counts["not_protobuf"] > 100


def test_the_place_of_a_message_is_read_as_it_is_written() -> None:
    assert message_place(b"\0abc", 0) == ((0,), 1)
    assert message_place(b"\x04\x02\x04abc", 0) == ((1, 2), 3)
    with pytest.raises(RejectedError):
        message_place(b"\x01", 0)
