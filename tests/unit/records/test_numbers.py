"""Numbers: the same outcome and the same bits, alone or among others, read quickly or carefully."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import fuzz
from tests.helpers.examples import examples, sized
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.json import JsonDecoder
from udfs.records.numbers import INT64_MAX, INT64_MIN, cast_column, nearest_double, without_negative_zero

CONTRACT = Contract((Field("amount", "double"), Field("count", "long")))
LARGEST = 2**1024 - 2**970
GOOD = b'{"amount":0.5,"count":1}'
EDGES = [
    0,
    1,
    2**53 - 1,
    2**53,
    2**53 + 1,
    2**53 + 3,
    2**62 + 257,
    2**63 - 1,
    2**63,
    2**64,
    LARGEST,
    LARGEST + 2**969,
]


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


def nearest(text: str) -> float:
    """From the exact fraction; zero has no sign."""
    return float(Fraction(text)) or 0.0


def surroundings(raw: bytes) -> list[list[bytes | None]]:
    """Alone, among good and among broken neighbours; the record is in the middle."""
    good: list[bytes | None] = [GOOD] * 40
    nothing: list[bytes | None] = [None] * 40
    return [[raw], [*good, raw, *good], [b"oops", raw, b'{"amount":"x"}'], [*nothing, raw, *nothing]]


def readings(raw: bytes, contract: Contract = CONTRACT) -> list[dict[str, object] | str]:
    """What becomes of a record in all surroundings, both ways: the row or the reason."""
    found: list[dict[str, object] | str] = []
    for decoder in (JsonDecoder(contract), fuzz.CarefulDecoder(contract)):
        for batch in surroundings(raw):
            decoded = decode_batch(decoder, batch)
            at = len(batch) // 2
            found.append(decoded.problems[at].reason if at in decoded.problems else row_at(decoded, at))
    return found


def row_at(decoded: Decoded, record: int) -> dict[str, object]:
    index = decoded.rows.tolist().index(record)
    row: dict[str, object] = decoded.table.slice(index, 1).to_pylist()[0]
    return row


whole = st.one_of(
    st.integers(INT64_MIN, INT64_MAX),
    st.integers(-(2**1024), 2**1024),
    st.builds(
        lambda edge, near, sign: sign * (edge + near),
        st.sampled_from(EDGES),
        st.integers(-3, 3),
        st.sampled_from([1, -1]),
    ),
).map(str)
decimal = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,40})\.[0-9]{1,60}([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(["-0", "-0.0", "-0e3", "-1e-400", "2.4703282292062327e-324", "2.4703282292062328e-324"]),
)


@settings(max_examples=examples(300))
@given(st.one_of(whole, decimal))
def test_a_number_in_a_double_column_is_the_nearest_double(text: str) -> None:
    try:
        expected: object = bits(nearest(text))
    except OverflowError:
        expected = "not_finite"
    for reading in readings(b'{"amount":%s}' % text.encode()):
        if isinstance(reading, Mapping):
            amount = reading["amount"]
            assert isinstance(amount, float)
            assert bits(amount) == expected
        else:
            assert reading == expected


@settings(max_examples=examples(300))
@given(whole)
def test_a_number_in_a_long_column_is_exact(text: str) -> None:
    exact = int(text)
    expected = {"amount": None, "count": exact} if INT64_MIN <= exact <= INT64_MAX else "wrong_type"
    assert all(reading == expected for reading in readings(b'{"count":%s}' % text.encode()))


@settings(max_examples=examples(100))
@given(st.lists(st.one_of(whole, decimal), min_size=1, max_size=4), st.one_of(whole, decimal))
def test_allowed_values_of_a_double_are_compared_as_doubles(allowed: list[str], text: str) -> None:
    values = tuple(json.loads(one) for one in allowed)
    contract = Contract((Field("amount", "double", values=values),))
    for number in (text, allowed[0]):
        expected = _nearest_or_infinite(number) in {_nearest_or_infinite(one) for one in allowed}
        for reading in readings(b'{"amount":%s}' % number.encode(), contract):
            if reading != "not_finite":
                assert isinstance(reading, Mapping) == expected


def _nearest_or_infinite(text: str) -> float:
    try:
        return nearest(text)
    except OverflowError:
        return float("inf") if not text.startswith("-") else float("-inf")


@settings(max_examples=examples(100))
@given(st.one_of(whole, decimal), st.one_of(whole, decimal))
def test_bounds_of_a_double_are_compared_as_doubles(low: str, text: str) -> None:
    contract = Contract((Field("amount", "double", low=json.loads(low)),))
    outcomes = readings(b'{"amount":%s}' % text.encode(), contract)
    inside = _nearest_or_infinite(text) >= _nearest_or_infinite(low)
    assert all(reading == "not_finite" or isinstance(reading, Mapping) == inside for reading in outcomes)


def test_a_whole_number_beyond_2_53_beside_a_broken_record_raises_for_nobody() -> None:
    decoded = decode_batch(JsonDecoder(CONTRACT), [b"oops", b'{"amount":9007199254740993}'])
    assert decoded.table["amount"].to_pylist() == [9007199254740992.0]
    assert decoded.problems[0].reason == "not_json"


class _Failing(JsonDecoder):
    """Fails in ways that no decoder should."""

    quickly = False

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        if self.quickly and b"?" in b"".join(raw or b"" for raw in raws):
            raise ZeroDivisionError("secret")
        return super().decode_columns(raws)

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        if raw == b"?":
            raise ZeroDivisionError("secret")
        return super().decode_record(raw)


@pytest.mark.parametrize("quickly", [True, False])
def test_a_decoder_that_fails_costs_the_records_on_which_it_does(quickly: bool) -> None:
    decoder = _Failing(CONTRACT)
    decoder.quickly = quickly
    decoded = decode_batch(decoder, [GOOD] * 100 + [b"?"] + [GOOD] * 100)
    assert decoded.rows.tolist() == [i for i in range(201) if i != 100]
    problem = decoded.problems[100]
    assert (problem.stage, problem.reason) == ("decode", "unexpected")
    assert "ZeroDivisionError at test_numbers.py:" in problem.message
    assert "secret" not in problem.message


def test_a_value_that_arrow_cannot_hold_costs_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract checks what Arrow can hold; here it is made to let anything pass."""
    monkeypatch.setattr(Contract, "check", lambda _contract, _record: None)
    raws: list[bytes | None] = [b'{"count":1}', b'{"count":"x"}', b'{"count":3}']
    decoded = decode_batch(fuzz.CarefulDecoder(CONTRACT), raws)
    assert decoded.rows.tolist() == [0, 2]
    assert decoded.table["count"].to_pylist() == [1, 3]
    assert decoded.problems[1].reason == "unexpected"


@settings(max_examples=examples(300))
@given(st.lists(st.one_of(st.none(), st.integers(INT64_MIN, INT64_MAX)), max_size=5))
def test_a_long_that_feeds_a_double_is_the_nearest(longs: list[int | None]) -> None:
    cast = cast_column(pa.chunked_array([pa.array(longs, pa.int64())]), "double")
    assert cast.to_pylist() == [None if one is None else float(Fraction(one)) for one in longs]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=5))
def test_zero_has_one_sign(values: list[float | None]) -> None:
    table = without_negative_zero(pa.table({"a": pa.array(values, pa.float64())}))
    assert [None if v is None else bits(v) for v in table["a"].to_pylist()] == [
        None if v is None else bits(v or 0.0) for v in values
    ]
    assert bits(nearest_double(-0.0)) == bits(0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hard_records_in_random_batches_agree_with_a_strict_reading(seed: int) -> None:
    """The short form of `python -m tests.bench.fuzz`."""
    rng = random.Random(seed)
    counts, found = fuzz.differences(fuzz.make_records(rng, sized(3_000, 1_000)), rng)
    assert not found, found[:5]
    assert counts["valid"] > sized(800, 250)
    assert counts["refused"] > sized(800, 250)
