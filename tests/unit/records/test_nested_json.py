"""Columns within objects of JSON: the same outcome by both ways, held to Python's own reading.

The adversary is a producer whose objects are sometimes null, absent, of another type, or twice there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import sized
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.records.nested_json import NestedJsonDecoder

CONTRACT = Contract(
    (
        Field("id", "long", required=True),
        Field("country", "string", path=("user", "address", "country")),
        Field("age", "long", low=0, path=("user", "age")),
        Field("spent", "double", path=("stats", "spent")),
        Field("again", "double", path=("stats", "spent")),
        Field("flag", "boolean"),
    )
)
GOOD = b'{"id":1,"user":{"address":{"country":"NZ","zip":1},"age":7},"stats":{"spent":2},"flag":true}'
ROW = {"id": 1, "country": "NZ", "age": 7, "spent": 2.0, "again": 2.0, "flag": True}


class CarefulDecoder(NestedJsonDecoder):
    """Reads each record alone."""

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None


def outcomes(decoder: NestedJsonDecoder, raws: list[bytes]) -> list[Any]:
    decoded = decode_batch(decoder, list(raws))
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    assert sorted([*rows, *decoded.problems]) == list(range(len(raws)))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


def test_plain_batches_are_read_at_once() -> None:
    table = NestedJsonDecoder(CONTRACT).decode_columns([GOOD] * 3)
    assert table is not None
    assert table.to_pylist() == [ROW] * 3
    assert type(make_decoder(CONTRACT, 100, FormatParams())) is NestedJsonDecoder


@pytest.mark.parametrize(
    ("user", "reason", "message"),
    [
        ('"x"', "wrong_type", "$.user: expected an object, got string"),
        ("[]", "wrong_type", "$.user: expected an object, got array"),
        ('{"address":3}', "wrong_type", "$.user.address: expected an object, got number"),
        ('{"age":"7"}', "wrong_type", "$.user.age: expected long, got string"),
        ('{"age":{}}', "wrong_type", "$.user.age: expected long, got object"),
        ('{"age":-1}', "out_of_range", "$.user.age: expected at least 0, got a smaller number"),
        ('{"age":1,"age":2}', "duplicate_key", "$.user.age: stands more than once"),
        ('{"age":1},"user":{}', "duplicate_key", "$.user: stands more than once"),
        (
            '{"address":{"country":"a","country":"b"}}',
            "duplicate_key",
            "$.user.address.country: stands more than once",
        ),
        (
            '{"address":{"country":"\\ud800"}}',
            "invalid_utf8",
            "$.user.address.country: has half of a surrogate pair",
        ),
        ('{"other":NaN}', "not_json", "NaN is not JSON"),
    ],
)
def test_what_is_wrong_below_is_told_with_its_path(user: str, reason: str, message: str) -> None:
    raw = b'{"id":2,"user":%b}' % user.encode()
    for decoder in (NestedJsonDecoder(CONTRACT), CarefulDecoder(CONTRACT)):
        before, found, after = outcomes(decoder, [GOOD, raw, GOOD])
        assert before == after == ROW
        assert (found.reason, found.message) == (reason, message)


def test_null_on_the_way_is_null_and_nothing_on_the_way_is_missing() -> None:
    contract = Contract((Field("c", "string", required=True, path=("user", "country")),))
    for raw, reason in ((b'{"user":null}', "null"), (b"{}", "missing"), (b'{"user":{}}', "missing")):
        found = outcomes(NestedJsonDecoder(contract), [raw])[0]
        assert found.reason == reason
        assert found.message.startswith("$.user.country: required string is ")


def test_an_object_may_be_a_column_only_where_it_is_none() -> None:
    both = Contract((Field("user", "string"), Field("age", "long", path=("user", "age"))))
    found = outcomes(NestedJsonDecoder(both), [b'{"user":"x"}', b'{"user":{"age":1}}', b'{"user":null}'])
    assert [getattr(each, "reason", each) for each in found] == [
        "wrong_type",
        "wrong_type",
        {"user": None, "age": None},
    ]


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.sampled_from(["NZ", "é", ""])
)
NAMES = st.sampled_from(["id", "user", "address", "country", "age", "stats", "spent", "flag", "zip"])
ANY = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=8,
)
USUAL = st.fixed_dictionaries(
    {"id": st.integers()},
    optional={
        "user": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "address": st.none() | st.fixed_dictionaries({}, optional={"country": LEAVES, "zip": ANY}),
                "age": st.integers(-1, 9) | LEAVES,
            },
        ),
        "stats": st.fixed_dictionaries(
            {}, optional={"spent": st.floats(-2, 2) | st.integers(-5, 5) | LEAVES}
        ),
        "flag": st.booleans() | LEAVES,
        "zip": ANY,
    },
)


def expected(record: Any) -> dict[str, Any] | None:
    """The columns, by Python's own values; None where the record is refused."""
    if not isinstance(record, dict):
        return None
    row: dict[str, Any] = {}
    for field in CONTRACT.fields:
        found: Any = record
        for step in field.steps:
            if found is not None and not isinstance(found, dict):
                return None
            found = (found or {}).get(step)
        kinds = {"long": (int,), "double": (int, float), "string": (str,), "boolean": (bool,)}[field.type]
        if found is not None and type(found) not in kinds:
            return None
        row[field.name] = float(found) + 0.0 if field.type == "double" and found is not None else found
    fits = row["id"] is not None and -(2**63) <= row["id"] < 2**63 and (row["age"] is None or row["age"] >= 0)
    return row if fits else None


@given(st.lists(USUAL | USUAL | USUAL | ANY, min_size=1, max_size=80))
@settings(max_examples=sized(300, 25))
def test_any_nesting_is_read_as_python_reads_it(records: list[Any]) -> None:
    raws = [json.dumps(record).encode() for record in records]
    quick, careful = outcomes(NestedJsonDecoder(CONTRACT), raws), outcomes(CarefulDecoder(CONTRACT), raws)
    assert quick == careful
    assert [each if isinstance(each, dict) else None for each in quick] == [
        expected(record) for record in records
    ]
