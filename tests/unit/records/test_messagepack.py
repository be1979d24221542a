"""MessagePack records have the outcomes of the same JSON, and text is one value.

The adversaries are truncated and mutated bytes, and types that JSON does not have. msgpack is written by hand
from its specification, or by msgspec's encoder; JSON's decoder is the judge.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.formats import FormatParams, make_decoder

CONTRACT = Contract(
    (
        Field("id", "long", required=True, low=0),
        Field("amount", "double", high=100.0),
        Field("kind", "string", values=("a", "b"), path=("of", "kind")),
        Field("flag", "boolean"),
    )
)
PACKED, JSON = (make_decoder(CONTRACT, 1000, FormatParams(name)) for name in ("messagepack", "json"))
pack = msgspec.msgpack.encode
scalars = st.sampled_from([None, True, 0, 1, -1, 2**63, 2.5, 1e9, "a", "c", "é", [], {}, [1], {"kind": "b"}])
documents: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={"id": scalars, "amount": scalars, "of": scalars, "flag": scalars, "more": scalars}
) | st.sampled_from([[], 1, "x", None])


@settings(max_examples=examples(300))
@given(st.lists(documents, min_size=1, max_size=50))
def test_outcomes_are_those_of_the_same_json(batch: list[Any]) -> None:
    packed = decode_batch(PACKED, [pack(each) for each in batch])
    plain = decode_batch(JSON, [json.dumps(each).encode() for each in batch])
    assert packed.table == plain.table
    assert packed.rows.tolist() == plain.rows.tolist()
    assert {row: each.reason for row, each in packed.problems.items()} == {
        row: each.reason for row, each in plain.problems.items()
    }


@settings(max_examples=examples(300))
@given(st.lists(st.binary(max_size=12) | documents.map(lambda d: pack(d)[:-1]), min_size=1, max_size=40))
def test_a_batch_of_any_bytes_decides_as_each_alone(batch: list[bytes]) -> None:
    together = decode_batch(PACKED, [*batch])
    assert sorted([*together.rows.tolist(), *together.problems]) == list(range(len(batch)))
    for at, raw in enumerate(batch):
        assert decode_batch(PACKED, [raw]).problems.get(0) == together.problems.get(at)


DEEPEST = b"\x82\xa2id\x01\xa1x" + b"\x91" * 98 + b"\x90"
FRACTION, FINITE = "number with a fraction or exponent", "expected a finite number, got NaN or infinity"
BAD = [
    (b"\xc1", "not_messagepack", "the bytes are no MessagePack: DecodeError"),
    (b"\x81\xa2id", "not_messagepack", "the bytes are no MessagePack: DecodeError"),
    (b"\x81\xa2id\x01\x00", "not_messagepack", "the bytes are no MessagePack: DecodeError"),
    (b"\xdf\xff\xff\xff\xff", "not_messagepack", "the bytes are no MessagePack: DecodeError"),
    (b"\x81\xa2id\xc4\x01x", "wrong_type", "$.id: expected long, got bytes"),
    (b"\x81\xa2id\xd6\xff\0\0\0\x01", "wrong_type", "$.id: expected long, got datetime"),
    (b"\x81\xa2id\xcb\x7f\xf8\0\0\0\0\0\0", "wrong_type", f"$.id: expected long, got {FRACTION}"),
    (b"\x82\xa2id\x01\xa6amount\xcb\x7f\xf8\0\0\0\0\0\0", "not_finite", f"$.amount: {FINITE}"),
    (b"\x82\xa2id\x01\xa1x\xa1\xff", "invalid_utf8", "a text is not valid UTF-8"),
    (DEEPEST.replace(b"\x90", b"\x91\x90"), "too_deep", "expected at most 100 levels of nesting"),
    (b"\x81\xa2id" + b"\x91" * 900 + b"\x01", "too_deep", "expected at most 100 levels of nesting"),
    (b"\x82\xa2id\x01\xa2of\x01", "wrong_type", "$.of: expected an object, got number"),
    (None, "tombstone", "the record has no value"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "reason", "message"), BAD)
def test_a_bad_record_has_its_reason_and_spares_its_neighbours(
    raw: bytes | None, reason: str, message: str
) -> None:
    decoded = decode_batch(PACKED, [b"\x81\xa2id\x01", raw, DEEPEST])
    ((row, problem),) = decoded.problems.items()
    assert (row, problem.reason, problem.message) == (1, reason, message)
    assert decoded.rows.tolist() == [0, 2]


def text(kind: str, *raws: bytes | None) -> Decoded:
    decoder = make_decoder(Contract((Field("x", kind, required=True),)), 10, FormatParams("text"))  # type: ignore[arg-type]
    return decode_batch(decoder, raws)


def test_a_record_of_text_is_one_value() -> None:
    assert text("double", b"2.5", b"7").table["x"].to_pylist() == [2.5, 7.0]
    assert text("string", "é {".encode(), b"").table["x"].to_pylist() == ["é {", ""]
    reasons = [problem.reason for problem in text("long", b"1.5", None, b"1" * 11, b"\xff").problems.values()]
    assert sorted(reasons) == ["invalid_utf8", "tombstone", "too_large", "wrong_type"]
