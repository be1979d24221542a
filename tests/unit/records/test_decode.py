"""Decoding: exact reasons, and the same outcome by the quick way and the careful way."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples, sized
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.json import MAX_DEPTH, JsonDecoder
from udfs.records.raws import Raws

CONTRACT = Contract(
    (
        Field("id", "long", required=True, low=0),
        Field("amount", "double", low=-10.0, high=1e6),
        Field("kind", "string", values=("a", "b", "é")),
        Field("flag", "boolean"),
    )
)
LIMIT = 100_000
GOOD = b'{"id":1,"amount":2.5,"kind":"a","flag":true,"extra":{"x":[1,2]}}'

BAD = {
    "tombstone": (None, "decode"),
    "empty": (b"", "decode"),
    "too_large": (b'{"id":1,"x":"' + b"x" * LIMIT + b'"}', "decode"),
    "invalid_utf8": (b'{"id":1,"kind":"\xff"}', "decode"),
    "not_json": (b"oops", "decode"),
    "not_an_object": (b"[1,2]", "decode"),
    "too_deep": (b'{"id":1,"x":' + b"[" * 1000 + b"]" * 1000 + b"}", "decode"),
    "duplicate_key": (b'{"id":1,"id":2}', "decode"),
    "missing": (b'{"amount":1}', "contract"),
    "null": (b'{"id":null}', "contract"),
    "wrong_type": (b'{"id":true}', "contract"),
    "not_finite": (b'{"id":1,"amount":NaN}', "contract"),
    "out_of_range": (b'{"id":1,"amount":-11}', "contract"),
    "not_in_values": (b'{"id":1,"kind":"c"}', "contract"),
}
MORE_BAD: list[tuple[bytes | None, str]] = [
    (b"  \n ", "empty"),
    (b'{"id":1}{"id":2}', "not_json"),
    (b'{"id":1', "not_json"),
    (b'"id":1}', "not_json"),
    (b'{"id":1,}', "not_json"),
    (b"\xef\xbb\xbf" + GOOD, "not_json"),
    (b'{"id":01}', "not_json"),
    (b'{"id":1,"extra":NaN}', "not_json"),
    (b'{"id":1,"extra":[[{"x":-Infinity}]]}', "not_json"),
    (b"null", "not_an_object"),
    (b"3", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b'{"id":1,"\\u0069d":2}', "duplicate_key"),
    (b'{"id":1,"kind":"\\ud800"}', "invalid_utf8"),
    (b'{"id":"1"}', "wrong_type"),
    (b'{"id":1.0}', "wrong_type"),
    (b'{"id":1e2}', "wrong_type"),
    (b'{"id":9223372036854775808}', "wrong_type"),
    (b'{"id":' + b"9" * 5000 + b"}", "wrong_type"),
    (b'{"id":1,"amount":"2"}', "wrong_type"),
    (b'{"id":1,"amount":[]}', "wrong_type"),
    (b'{"id":1,"kind":{}}', "wrong_type"),
    (b'{"id":1,"flag":1}', "wrong_type"),
    (b'{"id":1,"amount":1e999}', "not_finite"),
    (b'{"id":1,"amount":-Infinity}', "not_finite"),
    (b'{"id":1,"amount":1000000.1}', "out_of_range"),
    (b'{"id":-1}', "out_of_range"),
]


def decode(raws: list[bytes | None]) -> Decoded:
    """From a list, and the same from the array in which Flink sends records."""
    decoder = JsonDecoder(CONTRACT, LIMIT)
    decoded, sent = decode_batch(decoder, raws), decode_batch(decoder, Raws(pa.array(raws, pa.binary())))
    assert decoded.table.equals(sent.table)
    assert (decoded.rows.tolist(), decoded.problems) == (sent.rows.tolist(), sent.problems)
    return decoded


@pytest.mark.parametrize(("raw", "reason"), [(raw, reason) for reason, (raw, _) in BAD.items()] + MORE_BAD)
def test_a_bad_record_has_its_reason_and_spares_its_neighbours(raw: bytes | None, reason: str) -> None:
    decoded = decode([GOOD, raw, GOOD])
    assert {row: problem.reason for row, problem in decoded.problems.items()} == {1: reason}
    assert decoded.rows.tolist() == [0, 2]
    assert decoded.table.to_pylist() == [{"id": 1, "amount": 2.5, "kind": "a", "flag": True}] * 2


@pytest.mark.parametrize(("reason", "raw", "stage"), [(reason, *bad) for reason, bad in BAD.items()])
def test_each_reason_has_one_stage(reason: str, raw: bytes | None, stage: str) -> None:
    assert decode([raw]).problems[0].stage == stage


def test_messages_name_the_path_and_never_the_value() -> None:
    problem = decode([b'{"id":1,"kind":"secret-value"}']).problems[0]
    assert problem.message == "$.kind: expected one of a, b, é, got another value"
    assert decode([b'{"id":"secret"}']).problems[0].message == "$.id: expected long, got string"


@pytest.mark.parametrize(
    ("raw", "amount"),
    [
        (b'{"id":1,"amount":3}', 3.0),
        (b'{"id":1,"amount":0.1}', 0.1),
        (b'{"id":1,"amount":1e-400}', 0.0),
        (b'{"id":1,"amount":2.2250738585072011e-308}', 2.2250738585072011e-308),
        (b' {"id":1, "amount" : 123456.7890123 }\n', 123456.7890123),
        (b'{"id":1,"amount":5,"x":{"x":1,"x":2}}', 5.0),
        (b'{"id":1,"amount":5,"text":"NaN Inf } \\n{"}', 5.0),
    ],
)
def test_odd_but_valid_records_pass(raw: bytes, amount: float) -> None:
    for batch in ([raw], [GOOD] * 50 + [raw]):
        decoded = decode(list(batch))
        assert not decoded.problems
        assert decoded.table["amount"].to_pylist()[-1] == amount


def test_depth_is_counted_in_levels_not_in_brackets() -> None:
    wide = b'{"id":1,"x":[' + b",".join([b"[]"] * 500) + b"]}"
    deepest = b'{"id":1,"x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    deeper = b'{"id":1,"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"
    decoded = decode([wide, deepest, deeper])
    assert decoded.rows.tolist() == [0, 1]
    assert decoded.problems[2].reason == "too_deep"


@pytest.mark.parametrize(
    "hostile",
    [
        # Each pair or triple parses to as many documents as it has lines, but not one per line.
        [b'{"id":1}{"id":2}', b"  "],
        [b'{"id":1,', b'"flag":true}', b'{"id":3}{"id":4}'],
        [b'{"id":1,"x":{}', b"}", b'{"id":2}{"id":3}'],
        [b'{"id":1}\n{"id":2}', b""],
        [b'{"id":1,"x":[{}', b'{"id":2}]}', b'{"id":3}{"id":4}'],
    ],
)
def test_records_never_borrow_from_their_neighbours(hostile: list[bytes]) -> None:
    together = decode([GOOD, *hostile, GOOD])
    for i, raw in enumerate(hostile):
        assert together.problems[i + 1].reason == decode([raw]).problems[0].reason
    assert together.rows.tolist() == [0, len(hostile) + 1]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["a", "b", "é", "NaN", "\x00", '"', "\ud800"]),
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3)
)
names = st.sampled_from(["id", "amount", "kind", "flag", "extra"])
documents = st.lists(st.tuples(names, values), max_size=6)


def written(pairs: list[tuple[str, object]], ascii_only: bool) -> bytes:
    members = (f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=ascii_only)}" for k, v in pairs)
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


objects = st.builds(written, documents, st.booleans())
cut = st.builds(lambda raw, at: raw[: int(at * len(raw))], objects, st.floats(0, 1))
typical = st.builds(
    lambda i, amount, kind: json.dumps({"id": i, "amount": amount, "kind": kind}).encode(),
    st.integers(-2, 5),
    st.one_of(st.none(), st.floats(-20, 2e6), st.integers(-20, 20)),
    st.sampled_from(["a", "b", "c", None]),
)
records = st.one_of(typical, objects, cut, st.binary(max_size=20), st.none())


@settings(max_examples=sized(200, 25))
@given(st.lists(records, max_size=12))
def test_a_batch_decides_as_each_record_alone(raws: list[bytes | None]) -> None:
    together = decode(raws)
    rows = dict(zip(together.rows.tolist(), together.table.to_pylist(), strict=True))
    assert sorted([*rows, *together.problems]) == list(range(len(raws))), "one outcome for each record"
    for i, raw in enumerate(raws):
        alone = decode([raw])
        assert alone.problems.get(0) == together.problems.get(i)
        if not alone.problems:
            assert alone.table.to_pylist()[0] == rows[i]


@settings(max_examples=examples(200))
@given(objects)
def test_the_quick_way_accepts_what_the_careful_way_accepts(raw: bytes) -> None:
    decoder = JsonDecoder(CONTRACT, LIMIT)
    table = decoder.decode_columns([raw])
    if table is None:
        return
    record = decoder.decode_record(raw)
    quick_bad = bool(decoder.contract.violations(table)[0])
    assert quick_bad == (decoder.contract.check(record) is not None)
    if not quick_bad:
        expected = {name: record.get(name) for name in table.column_names}
        assert table.to_pylist()[0] == expected


@settings(max_examples=examples(200))
@given(st.binary(max_size=200))
def test_decoding_never_raises(raw: bytes) -> None:
    decoded = decode([raw, GOOD, raw])
    assert 1 in decoded.rows.tolist()
    assert len(decoded.rows) + len(decoded.problems) == 3


def test_large_batches_with_rare_bad_records() -> None:
    rng = np.random.default_rng(7)
    bad = set(rng.choice(5000, 40, replace=False).tolist())
    raws = [b"x" if i in bad else b'{"id":%d}' % i for i in range(5000)]
    decoded = decode(list(raws))
    assert set(decoded.problems) == bad
    assert decoded.table["id"].to_pylist() == [i for i in range(5000) if i not in bad]
    assert decoded.rows.tolist() == decoded.table["id"].to_pylist()


def test_numbers_survive_exactly() -> None:
    rng = np.random.default_rng(3)
    amounts = np.exp(rng.uniform(-50, 13, 2000))
    decoded = decode([json.dumps({"id": 1, "amount": a}).encode() for a in amounts.tolist()])
    assert decoded.table["amount"].to_pylist() == amounts.tolist()
    assert all(math.isfinite(a) for a in amounts)
