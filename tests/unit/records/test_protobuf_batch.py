"""Messages that are read a field after the other have the outcome that Protobuf's own library gives each.

The adversaries are fields that come twice, in another order, of another type or not at all, numbers that are
longer than they need be, texts that are none in fields that no job names, and bytes that are spoiled.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.helpers.examples import sized
from tests.helpers.fuzz_framed import spoiled
from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.avro_batch import PADDING
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.records.protobuf import PlainProtobufDecoder
from udfs.records.protobuf_batch import plan_steps, read_batch

KINDS: dict[str, tuple[str, Any]] = {
    "STRING": ("string", ""),
    "INT32": ("long", 0),
    "INT64": ("long", 0),
    "UINT32": ("double", 0),
    "DOUBLE": ("double", 0.0),
    "FLOAT": ("double", 0.0),
    "BOOL": ("boolean", False),
}
SKIPPED = ("BYTES", "UINT64", "SINT32", "SINT64", "FIXED64", "SFIXED64", "FIXED32", "SFIXED32", "STRING")
FIELDS: list[dict[str, Any]] = []
for kind in KINDS:
    FIELDS.append(proto_field(kind.lower(), len(FIELDS) + 1, kind))
    optional = {"proto3Optional": True, "oneofIndex": len(FIELDS) // 2}
    FIELDS.append(proto_field(f"some_{kind.lower()}", len(FIELDS) + 1, kind) | optional)
# Beyond 15 a field has two bytes before it.
FIELDS += [proto_field(f"other_{kind.lower()}", 16 + place, kind) for place, kind in enumerate(SKIPPED)]
FILE: dict[str, Any] = {
    "name": "all.proto",
    "syntax": "proto3",
    "messageType": [
        {
            "name": "All",
            "field": [
                *FIELDS,
                proto_field("list", 90, "INT64", repeated=True),
                proto_field("below", 91, "MESSAGE", ".All"),
            ],
            "oneofDecl": [{"name": f"_some_{kind.lower()}"} for kind in KINDS],
        }
    ],
}
ALL = message_class(FILE, "All")
CONTRACT = Contract(
    (
        *(
            Field(f"{some}{kind.lower()}", column)  # type: ignore[arg-type]
            for kind, (column, _) in KINDS.items()
            for some in ("", "some_")
        ),
        Field("missing", "long"),
    )
)
SET = FileDescriptorSet(file=[json_format.ParseDict(FILE, FileDescriptorProto())]).SerializeToString()


class Careful(PlainProtobufDecoder):
    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None


def decoder(kind: type[PlainProtobufDecoder] = PlainProtobufDecoder) -> PlainProtobufDecoder:
    return kind(CONTRACT, 4_000, base64.b64encode(SET).decode(), "All")


def value(rng: random.Random, kind: str) -> Any:
    if kind == "STRING":
        return rng.choice(("", "é", "a" * 200))
    if kind == "BYTES":
        return rng.randbytes(rng.randrange(4))
    if kind == "BOOL":
        return rng.random() < 0.5
    if kind in ("DOUBLE", "FLOAT"):
        return rng.choice((0.0, -0.0, 1.5, 1e30, rng.uniform(-9, 9)))
    bits = 64 if "64" in kind else 32
    low = 0 if kind in ("UINT32", "UINT64", "FIXED32", "FIXED64") else -(2 ** (bits - 1))
    return rng.choice((0, 1, low, low + 2**bits - 1, 300))


def written(rng: random.Random) -> bytes:
    message = ALL()
    for kind in KINDS:
        for some in ("", "some_"):
            if rng.random() < 0.7:
                setattr(message, f"{some}{kind.lower()}", value(rng, kind))
    for kind in SKIPPED:
        if rng.random() < 0.3:
            setattr(message, f"other_{kind.lower()}", value(rng, kind))
    made: bytes = message.SerializeToString()
    return made


def shown(table: pa.Table) -> list[str]:
    return [repr(row) for row in table.to_pylist()]


def read(raws: list[bytes]) -> pa.Table:
    steps = plan_steps(ALL.DESCRIPTOR, CONTRACT)
    assert steps is not None
    lengths = np.array([len(raw) for raw in raws])
    ends = np.cumsum(lengths)
    return read_batch(steps, CONTRACT, b"".join(raws) + bytes(PADDING), ends - lengths, ends)


def test_what_the_library_writes_is_read_at_once_with_its_values() -> None:
    rng = random.Random(5)
    raws = [written(rng) for _ in range(sized(2_000, 500))]
    found = read(raws).to_pylist()
    for raw, row in zip(raws, found, strict=True):
        message = ALL.FromString(raw)
        wanted: dict[str, Any] = {"missing": None}
        for kind in KINDS:
            name = kind.lower()
            wanted[name] = getattr(message, name)
            wanted[f"some_{name}"] = (
                getattr(message, f"some_{name}") if message.HasField(f"some_{name}") else None
            )
        assert row == wanted


def test_spoiled_messages_have_one_outcome_alone_and_in_a_batch() -> None:
    rng = random.Random(6)
    quick, careful = decoder(), decoder(Careful)
    for _ in range(sized(400, 100)):
        good = [written(rng) for _ in range(rng.choice((1, 5, 40)))]
        share = rng.choice((0.02, 0.5, 1.0))
        raws = [
            spoiled(rng, raw, [bytes(5) + each for each in good]) if raw and rng.random() < share else raw
            for raw in good
        ]
        one, other = decode_batch(quick, raws), decode_batch(careful, raws)
        assert one.problems == other.problems
        assert shown(one.table) == shown(other.table)


TWICE = ALL(int64=1).SerializeToString() + ALL(int64=2).SerializeToString()
BACKWARD = ALL(bool=True).SerializeToString() + ALL(string="a").SerializeToString()
ODD = {
    "twice": TWICE,
    "backward": BACKWARD,
    "unknown": ALL(string="a").SerializeToString() + b"\xf8\x3f\x01",
    "a list": ALL(string="a", list=[1]).SerializeToString(),
    "a message": ALL(string="a", below=ALL(int64=3)).SerializeToString(),
    "a broken message": ALL(string="a").SerializeToString() + b"\xda\x05\x02\x08",
    "no text where nobody looks": b"\xc2\x01\x01\xff",
    "a long bool": b"\x68\x80\x80\x01",
    "a long number": b"\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    "a number too long": b"\x28" + b"\x80" * 10 + b"\x01",
    "another type": b"\x2d\0\0\0\0",
    "cut": ALL(string="abc").SerializeToString()[:-1],
    "a huge length": b"\x0a" + b"\xff" * 9 + b"\x01",
    "a long tag": b"\x8a\x00\x01a",
    "nothing": b"",
}


@pytest.mark.parametrize("case", ODD)
def test_what_no_serializer_writes_is_as_the_library_says(case: str) -> None:
    rng = random.Random(7)
    raws = [written(rng), ODD[case], written(rng)]
    one, other = decode_batch(decoder(), raws), decode_batch(decoder(Careful), raws)
    assert one.problems == other.problems
    assert shown(one.table) == shown(other.table)
