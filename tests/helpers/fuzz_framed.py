"""Spoils records in Avro and Protobuf behind the id of a schema, and holds decoders to one another.

What is accepted is what Apache's library for Avro, or Protobuf's own, reads of the same bytes; or what
fastavro does, of bytes that no writer makes: a boolean of 7, a varint of eleven bytes.
"""

from __future__ import annotations

import base64
import io
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import avro.io
import avro.schema
import fastavro
import pyarrow as pa
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.avro import AvroDecoder, writer_schema
from udfs.records.contract import Contract, Field, ListField
from udfs.records.decode import Decoder, decode_batch
from udfs.records.maps import map_field
from udfs.records.protobuf import ProtobufDecoder, writer_file
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import NoSuchSchemaError, Schema

FramedFormat = Literal["avro", "protobuf"]
MAX_BYTES = 4_000
PLAIN = (Field("id", "long", required=True), Field("amount", "double"), Field("ok", "boolean"))
DEEP = (*PLAIN, Field("country", "string", path=("user", "country")))
LISTS = (
    ListField("tags", (Field("", "string"),), length=(None, 50)),
    map_field("rates", Field("", "double")),
)
# Of the last, records have no messages within.
CONTRACTS = (Contract(DEEP), Contract(DEEP, LISTS), Contract(PLAIN))
# Known to the registry: good, another version, one that contains itself, one of another kind.
GOOD, OTHER, CYCLIC, FOREIGN = 1, 2, 3, 4
NOT_BY_APACHE = "(read, and not by Apache's library)"

USER = {"type": "record", "name": "User", "fields": [{"name": "country", "type": "string"}]}
FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "long"},
    {"name": "user", "type": ["null", USER]},
    {"name": "amount", "type": ["null", "double"]},
    {"name": "ok", "type": "boolean"},
]
MORE = [
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "rates", "type": {"type": "map", "values": "double"}},
]


def _entry(name: str) -> dict[str, Any]:
    fields = [proto_field("key", 1, "STRING"), proto_field("value", 2, "DOUBLE")]
    return {"name": name, "field": fields, "options": {"mapEntry": True}}


FILE: dict[str, Any] = {
    "name": "spoiled.proto",
    "syntax": "proto3",
    "messageType": [
        {"name": "Node", "field": [proto_field("next", 1, "MESSAGE", ".Node")]},
        {
            "name": "Payment",
            "field": [
                proto_field("id", 1, "INT64"),
                {**proto_field("amount", 2, "DOUBLE"), "proto3Optional": True, "oneofIndex": 0},
                proto_field("user", 3, "MESSAGE", ".Payment.User"),
                proto_field("ok", 4, "BOOL"),
                proto_field("tags", 5, "STRING", repeated=True),
                proto_field("rates", 6, "MESSAGE", ".Payment.RatesEntry", repeated=True),
                proto_field("below", 7, "MESSAGE", ".Node"),
            ],
            "oneofDecl": [{"name": "_amount"}],
            "nestedType": [
                {"name": "User", "field": [proto_field("country", 1, "STRING")]},
                _entry("RatesEntry"),
            ],
        },
    ],
}
_Payment = message_class(FILE, "Payment")


@dataclass
class Case:
    """A format under one contract: how records are written, both decoders, and what an oracle reads."""

    write: Callable[[dict[str, Any]], bytes]
    quick: Decoder
    careful: Decoder
    oracle: Callable[[bytes], dict[str, Any] | None]
    second: Callable[[bytes], dict[str, Any] | None] | None = None


def avro_case(contract: Contract) -> Case:
    """Records of Apache's writer."""
    fields = FIELDS + MORE * bool(contract.lists)
    schemas = {
        GOOD: {"type": "record", "name": "P", "fields": fields},
        OTHER: {"type": "record", "name": "P", "fields": fields[::-1]},
        CYCLIC: {"type": "record", "name": "P", "fields": [*fields, {"name": "next", "type": ["null", "P"]}]},
    }
    texts = {number: Schema(json.dumps(schema)) for number, schema in schemas.items()}
    texts[FOREIGN] = Schema("syntax", "PROTOBUF")
    cache = SchemaCache(partial(_fetch, texts), partial(writer_schema, contract, None), 0.0)
    parsed = {number: avro.schema.parse(json.dumps(schemas[number])) for number in (GOOD, OTHER)}

    def write(record: dict[str, Any]) -> bytes:
        number = GOOD if record["id"] % 3 else OTHER
        stream = io.BytesIO()
        avro.io.DatumWriter(parsed[number]).write(record, avro.io.BinaryEncoder(stream))
        return b"\0" + number.to_bytes(4, "big") + stream.getvalue()

    texts_of_fastavro = {number: fastavro.parse_schema(schemas[number]) for number in parsed}

    def second(raw: bytes) -> dict[str, Any] | None:
        stream = io.BytesIO(raw[5:])
        number = int.from_bytes(raw[1:5], "big")
        found = fastavro.schemaless_reader(stream, texts_of_fastavro[number], None)
        assert isinstance(found, dict)
        return found if stream.tell() == len(raw) - 5 else None

    def oracle(raw: bytes) -> dict[str, Any] | None:
        schema = parsed.get(int.from_bytes(raw[1:5], "big"))
        stream = io.BytesIO(raw[5:])
        found = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(stream))
        assert isinstance(found, dict)
        return found if stream.tell() == len(raw) - 5 else None

    quick = AvroDecoder(contract, MAX_BYTES, cache=cache)
    return Case(write, quick, _careful(AvroDecoder, contract, cache), oracle, second)


def protobuf_case(contract: Contract) -> Case:
    """Records of Protobuf's own library."""
    file = json_format.ParseDict(FILE, FileDescriptorProto()).SerializeToString()
    good = Schema(base64.b64encode(file).decode(), "PROTOBUF")
    texts = {GOOD: good, OTHER: good, FOREIGN: Schema('"long"')}
    cache = SchemaCache(partial(_fetch, texts), partial(writer_file, contract), 0.0)
    params = RegistryParams("http://127.0.0.1:1")

    def write(record: dict[str, Any]) -> bytes:
        held = {name: value for name, value in record.items() if value is not None}
        body: bytes = json_format.ParseDict(held, _Payment()).SerializeToString()
        return b"\0" + GOOD.to_bytes(4, "big") + b"\x02\x02" + body

    def oracle(raw: bytes) -> dict[str, Any] | None:
        # Only where the place of the message is that of ours, in the one way in which we write it.
        if raw[5:7] != b"\x02\x02":
            return None
        found = _Payment.FromString(raw[7:])
        return {
            "id": found.id,
            "amount": found.amount if found.HasField("amount") else None,
            "user": {"country": found.user.country} if found.HasField("user") else None,
            "ok": found.ok,
            "tags": list(found.tags),
            "rates": dict(found.rates),
        }

    quick = ProtobufDecoder(contract, MAX_BYTES, params, cache)

    class Careful(ProtobufDecoder):
        def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
            return None

    return Case(write, quick, Careful(contract, MAX_BYTES, params, cache), oracle)


def _careful(kind: type[AvroDecoder], contract: Contract, cache: Any) -> Decoder:
    class Careful(kind):  # type: ignore[misc, valid-type]
        def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
            return None

    made: Decoder = Careful(contract, MAX_BYTES, cache=cache)
    return made


def _fetch(texts: Mapping[int, Schema], number: int) -> Schema:
    if number not in texts:
        raise NoSuchSchemaError("the registry has no such schema")
    return texts[number]


def make_record(rng: random.Random, lists: bool) -> dict[str, Any]:
    """One that every format can hold."""
    record: dict[str, Any] = {
        "id": rng.choice((0, 1, -1, rng.randrange(-(2**63), 2**63))),
        "user": rng.choice((None, {"country": rng.choice(("NZ", "", "é" * rng.randrange(40)))})),
        "amount": rng.choice((None, 0.0, rng.uniform(-9, 9))),
        "ok": rng.random() < 0.5,
    }
    if lists:
        record["tags"] = [rng.choice(("a", "é", "")) for _ in range(rng.choice((0, 1, 3, 60)))]
        record["rates"] = {f"k{n}": rng.random() for n in range(rng.randrange(4))}
    return record


def spoiled(rng: random.Random, raw: bytes, others: Sequence[bytes]) -> bytes | None:
    """The record as a broken producer, a broken disk or an attacker sends it."""
    at = rng.randrange(len(raw) + 1)
    choices: list[bytes | None] = [None, b"", b"\0", raw[1:], b"{}", b"x" * (MAX_BYTES + 1)]
    match rng.randrange(12):
        case 0:
            return raw[:at]
        case 1 | 2:
            return raw[:at] + rng.randbytes(1) + raw[at + 1 :]
        case 3:
            return raw[:at] + b"\xff" * rng.randrange(1, 12) + raw[at:]
        case 4:
            return raw + rng.randbytes(rng.randrange(1, 4))
        case 5:
            number: int = rng.choice((*range(6), rng.randrange(2**32)))
            return raw[:1] + number.to_bytes(4, "big") + raw[5:]
        case 6:
            place = rng.choice(
                (b"\0", b"\x02\0", b"\x04\x02\0", b"\x02\x63", b"\xff" * 6, b"\x01", rng.randbytes(3))
            )
            return raw[:5] + place + raw[7:]
        case 7:
            # A length of up to 2^63 in the place of a byte.
            return raw[:at] + rng.randbytes(8).replace(b"\0", b"\x80") + b"\x01" + raw[at + 1 :]
        case 8:
            other: bytes = rng.choice(others)
            return raw[:at] + other[rng.randrange(5, 20) :]
        case 9:
            return raw[:7] + _nested(rng.choice((3, 90, 101, 400)))
        case 10:
            return rng.choice(choices)
    return raw[:5] + rng.randbytes(rng.randrange(60))


def _nested(levels: int) -> bytes:
    """Messages within messages, in the field that may hold them."""
    body = b""
    for _ in range(levels):
        body = b"\x0a" + _varint(len(body)) + body
    return b"\x3a" + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def differences(
    case: Case, contract: Contract, rng: random.Random, count: int
) -> tuple[Counter[str], list[str], float]:
    """How many records had which outcome, what did not agree, and the slowest batch's seconds per record."""
    made = [make_record(rng, bool(contract.lists)) for _ in range(count)]
    if "country" not in contract.names:
        made = [record | {"user": None} for record in made]
    good = [case.write(record) for record in made]
    share = rng.choice((0.02, 0.5, 1.0))
    raws = [spoiled(rng, raw, good) if rng.random() < share else raw for raw in good]
    counts: Counter[str] = Counter()
    found: list[str] = []
    start, slowest = 0, 0.0
    while start < len(raws):
        batch = raws[start : start + rng.choice((1, 3, 33, 200))]
        start += len(batch)
        begun = time.process_time()
        quick = decode_batch(case.quick, batch)
        slowest = max(slowest, (time.process_time() - begun) / len(batch))
        careful = decode_batch(case.careful, batch)
        if sorted([*quick.rows.tolist(), *quick.problems]) != list(range(len(batch))):
            found.append("a record has not one outcome")
        if not quick.table.equals(careful.table) or quick.problems != careful.problems:
            found.append(f"{batch!r}: quickly {quick.problems}, carefully {careful.problems}")
        counts.update(f"{each.stage} {each.reason}" for each in quick.problems.values())
        counts["read"] += len(quick.rows)
        for place, row in zip(quick.rows.tolist(), quick.table.to_pylist(), strict=True):
            raw = batch[place]
            assert raw is not None
            if not _agrees(row, case, case.oracle, raw):
                counts[NOT_BY_APACHE] += 1
                if case.second is None or not _agrees(row, case, case.second, raw):
                    found.append(f"{raw!r}: read as {row}")
    found += [f"{counts[name]} {name}" for name in counts if "unexpected" in name]
    return counts, found, slowest


def _agrees(
    row: dict[str, Any], case: Case, oracle: Callable[[bytes], dict[str, Any] | None], raw: bytes
) -> bool:
    try:
        wanted = oracle(raw)
    except Exception:  # that library refuses what was accepted
        return False
    if wanted is None:
        return raw[5:7] != b"\x02\x02" and isinstance(case.quick, ProtobufDecoder)
    same = {
        "id": wanted["id"],
        "amount": wanted["amount"],
        "ok": wanted["ok"],
        "country": (wanted["user"] or {}).get("country"),
    }
    if "country" not in row:
        del same["country"]
    if "tags" in row:
        same["tags"] = wanted["tags"]
        same["rates"] = wanted["rates"]
        row = {**row, "rates": {entry["key"]: entry["value"] for entry in row["rates"]}}
    return row == same


# Avro is read by the same way whatever is within a record.
CONTRACTS_OF: dict[FramedFormat, tuple[Contract, ...]] = {"avro": CONTRACTS[:2], "protobuf": CONTRACTS}
MAKERS: dict[FramedFormat, Callable[[Contract], Case]] = {"avro": avro_case, "protobuf": protobuf_case}
