"""Decimals and bytes: exact in every format, the same alone and in any batch, held to Python's decimal.

The adversaries are a producer whose numbers have a digit too many, one that writes them with exponents, and a
reader that goes by way of a double.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import partial
from typing import Any

import avro.io
import avro.schema
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.avro_records import CarefulDecoder, write
from tests.helpers.examples import examples
from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.avro import AvroDecoder
from udfs.records.binary import bytes_text, is_base64
from udfs.records.contract import Contract, Field, ListField
from udfs.records.decode import Decoder, decode_batch
from udfs.records.formats import FormatName, FormatParams, make_decoder

DIGITS = [(4, 2), (9, 0), (38, 10), (38, 38), (2, 2)]


class Careful:
    """Reads each record alone."""

    def __init__(self, inner: Decoder) -> None:
        self.contract, self._inner = inner.contract, inner

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        return None

    def decode_record(self, raw: bytes | None) -> Any:
        return self._inner.decode_record(raw)


def outcomes(decoder: Decoder, raws: Sequence[bytes]) -> list[Any]:
    """The rows, or why there is none."""
    decoded = decode_batch(decoder, list(raws))
    assert decoded.table.schema == decoder.contract.arrow_schema()
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    assert sorted([*rows, *decoded.problems]) == list(range(len(raws)))
    return [rows.get(i) or decoded.problems[i].reason for i in range(len(raws))]


def same_everywhere(decoder: Decoder, raws: Sequence[bytes], careful: Decoder | None = None) -> list[Any]:
    together = outcomes(decoder, raws)
    assert together == outcomes(careful or Careful(decoder), raws)
    assert together == [each for raw in raws for each in outcomes(decoder, [raw])]
    return together


def exactly(text: str, digits: tuple[int, int]) -> str | None:
    """By Python's decimal: the number with the digits of its type, None where it is not one of it."""
    precision, scale = digits
    context = Context(prec=precision, traps=[Inexact, InvalidOperation])
    try:
        found = Decimal(text).quantize(Decimal(1).scaleb(-scale), context=context)
    except (Inexact, InvalidOperation):
        return None
    return f"{found or abs(found):f}"


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-120, max_value=120).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9).map(str),
    st.integers(-(10**40), 10**40).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["-0", "-0.00", "0e99", "99.99", "100", "0.1", "1e-38", "0.99", "1e1000", "123456789.5"]),
)


def written(text: str, name: FormatName, as_text: bool) -> bytes:
    """A record with the number as JSON has it, or as text."""
    if name == "json":
        return f'{{"id": 1, "x": {json.dumps(text) if as_text else text}}}'.encode()
    return msgspec.msgpack.encode({"id": 1, "x": text})


@pytest.mark.parametrize("name", ["json", "messagepack"])
@pytest.mark.parametrize("path", [(), ("deep", "x")])
@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.booleans()), min_size=1, max_size=6), st.sampled_from(DIGITS))
def test_numbers_are_those_of_pythons_decimal(
    name: FormatName, path: tuple[str, ...], numbers: list[tuple[str, bool]], digits: tuple[int, int]
) -> None:
    contract = Contract((Field("id", "long"), Field("x", "decimal", digits=digits, path=path)))
    raws = [written(text, name, as_text) for text, as_text in numbers]
    if path and name == "json":
        raws = [raw.replace(b'"x": ', b'"deep": {"x": ')[:-1] + b"}}" for raw in raws]
    elif path:
        raws = [msgspec.msgpack.encode({"id": 1, "deep": {"x": text}}) for text, _ in numbers]
    found = same_everywhere(make_decoder(contract, 10_000, FormatParams(name)), raws)
    exact = [exactly(text, digits) for text, _ in numbers]
    assert found == ["wrong_type" if text is None else {"id": 1, "x": text} for text in exact]


@pytest.mark.parametrize("value", ["true", '"1,5"', '"0x1"', '"NaN"', '" 1"', "[1]", "{}", '"1" '])
def test_what_is_no_number_is_refused(value: str) -> None:
    decoder = make_decoder(
        Contract((Field("x", "decimal", digits=(5, 1), required=True),)), 1_000, FormatParams()
    )
    raws = [b'{"x": 1}', f'{{"x": {value}}}'.encode(), b'{"x": 2.5}']
    good = {"x": "1.0"}
    assert same_everywhere(decoder, raws) == [
        good,
        good if value == '"1" ' else "wrong_type",
        {"x": "2.5"},
    ]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.none() | st.decimals(-3, 3, places=2), min_size=1, max_size=5))
def test_ranges_and_values_are_compared_as_decimals(numbers: list[Decimal | None]) -> None:
    ranged = Field("x", "decimal", digits=(20, 2), low=-0.1, high=2)
    listed = Field("x", "decimal", digits=(20, 2), values=(0.1, "2.30", 1))
    raws = [f'{{"x": {"null" if number is None else number}}}'.encode() for number in numbers]
    for field in (ranged, listed):
        found = same_everywhere(make_decoder(Contract((field,)), 1_000, FormatParams()), raws)
        for number, outcome in zip(numbers, found, strict=True):
            if field is ranged:
                good = number is None or Decimal("-0.10") <= number <= 2
            else:
                good = number in (None, Decimal("0.1"), Decimal("2.3"), Decimal(1))
            wrong = "out_of_range" if field is ranged else "not_in_values"
            shown = {"x": None if number is None else f"{number + 0:.2f}".replace("-0.00", "0.00")}
            assert outcome == (shown if good else wrong)


AVRO = {
    "type": "record",
    "name": "R",
    "fields": [
        {
            "name": "price",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}],
        },
        {
            "name": "tax",
            "type": {
                "type": "fixed",
                "name": "T",
                "size": 9,
                "logicalType": "decimal",
                "precision": 20,
                "scale": 2,
            },
        },
        {"name": "count", "type": "long"},
        {"name": "text", "type": "string"},
        {"name": "body", "type": "bytes"},
        {
            "name": "prices",
            "type": {
                "type": "array",
                "items": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            },
        },
    ],
}
CONTRACT = Contract(
    (
        Field("price", "decimal", digits=(20, 4)),
        Field("tax", "decimal", digits=(18, 2)),
        Field("count", "decimal", digits=(38, 1)),
        Field("text", "decimal", digits=(9, 3)),
        Field("body", "bytes", length=(None, 3)),
    ),
    (ListField("prices", (Field("", "decimal", digits=(9, 2)),)),),
)


def unscaled(number: Decimal, scale: int) -> int:
    return int(number.scaleb(scale))


def big_endian(number: int, size: int | None = None) -> bytes:
    return number.to_bytes(size or (number.bit_length() // 8 + 1), "big", signed=True)


def avro_by_apache(record: dict[str, Any]) -> bytes:
    """Decimals in bytes and in fixed, as the specification stores them; the rest by Apache's writer."""
    price = record["price"]
    stored = {
        "price": None if price is None else big_endian(unscaled(price, 4)),
        "tax": big_endian(unscaled(record["tax"], 2), 9),
        "prices": [big_endian(unscaled(each, 2)) for each in record["prices"]],
    }
    return write(json.dumps(AVRO), record | stored)


RECORDS = st.fixed_dictionaries(
    {
        "price": st.none() | st.decimals(-(10**14), 10**14, places=4),
        "tax": st.decimals(-(10**17), 10**17, places=2),
        "count": st.integers(-(2**63), 2**63 - 1),
        "text": st.sampled_from(["1.5", "-2", "0.125", "1.2345", "one"]),
        "body": st.binary(max_size=4),
        "prices": st.lists(st.decimals(-99, 99, places=2), max_size=3),
    }
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_avro_is_read_as_it_was_written(records: list[Any]) -> None:
    raws = [avro_by_apache(record) for record in records]
    decoder = AvroDecoder(CONTRACT, 10_000, json.dumps(AVRO))
    careful = CarefulDecoder(CONTRACT, 10_000, json.dumps(AVRO))
    for found, record in zip(same_everywhere(decoder, raws, careful), records, strict=True):
        texts = {
            "price": None if record["price"] is None else exactly(str(record["price"]), (20, 4)),
            "tax": exactly(str(record["tax"]), (18, 2)),
            "count": exactly(str(record["count"]), (38, 1)),
            "text": None if record["text"] == "one" else exactly(record["text"], (9, 3)),
        }
        no_price = record["price"] is not None and texts["price"] is None
        if no_price or None in (texts["text"], texts["tax"], texts["count"]):
            assert found == "wrong_type"
        elif len(record["body"]) > 3:
            assert found == "wrong_length"
        else:
            body = base64.b64encode(record["body"]).decode()
            prices = [exactly(str(each), (9, 2)) for each in record["prices"]]
            assert found == {**texts, "body": body, "prices": prices}


def test_apaches_own_decimals_are_stored_so() -> None:
    """The bytes that the tests above write are those of Apache's writer of logical types."""
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    decoder = AvroDecoder(Contract((Field("x", "decimal", digits=(20, 4)),)), 1_000, json.dumps(schema))
    for text in ("0.0001", "-0.0001", "12.5000", "-128.0000", "9999999999999999.9999"):
        import io

        stream = io.BytesIO()
        writer = avro.io.DatumWriter(avro.schema.parse(json.dumps(schema)))
        writer.write({"x": Decimal(text)}, avro.io.BinaryEncoder(stream))
        assert outcomes(decoder, [stream.getvalue()]) == [{"x": text}]


@settings(max_examples=examples(200))
@given(st.binary(max_size=9) | st.text("AQgw048=/+ab\n", max_size=8))
def test_base64_is_that_of_python_and_each_bytes_have_one_text(value: bytes | str) -> None:
    if isinstance(value, bytes):
        text = base64.b64encode(value).decode()
        assert bytes_text(value) == text
        assert is_base64(text)
        return
    try:
        there_and_back = base64.b64encode(base64.b64decode(value, validate=True)).decode()
    except ValueError:
        there_and_back = None
    assert is_base64(value) == (there_and_back == value)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.none() | st.binary(max_size=5) | st.text("AQ=+\n", max_size=8), min_size=1, max_size=5))
def test_bytes_of_json_are_base64_and_of_messagepack_bytes(values: list[Any]) -> None:
    contract = Contract((Field("x", "bytes", length=(1, 4)),))
    in_json = [bytes_text(value) for value in values]
    raws = [json.dumps({"x": text}).encode() for text in in_json]
    packed = [msgspec.msgpack.encode({"x": value}) for value in values]
    found = same_everywhere(make_decoder(contract, 1_000, FormatParams()), raws)
    for text, outcome in zip(in_json, found, strict=True):
        if text is None:
            assert outcome == {"x": None}
            continue
        try:
            size = len(base64.b64decode(str(text), validate=True))
        except ValueError:
            size = -1
        if size < 0 or base64.b64encode(base64.b64decode(str(text))).decode() != text:
            assert outcome == "wrong_type"
        else:
            assert outcome == ({"x": text} if 1 <= size <= 4 else "wrong_length")
    assert same_everywhere(make_decoder(contract, 1_000, FormatParams("messagepack")), packed) == found


def test_protobufs_text_and_integers_are_decimals_and_its_bytes_are_bytes() -> None:
    from google.protobuf import json_format
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from udfs.records.protobuf import ProtobufDecoder, WriterFile, writer_file
    from udfs.records.registry_params import RegistryParams
    from udfs.records.schema_cache import SchemaCache
    from udfs.records.schema_registry import Schema

    fields = [
        proto_field("price", 1, "STRING"),
        proto_field("count", 2, "UINT64"),
        proto_field("body", 3, "BYTES"),
        proto_field("bodies", 4, "BYTES", repeated=True),
    ]
    file: dict[str, Any] = {
        "name": "o.proto",
        "package": "s",
        "syntax": "proto3",
        "messageType": [{"name": "O", "field": fields}],
    }
    contract = Contract(
        (
            Field("price", "decimal", digits=(6, 2)),
            Field("count", "decimal", digits=(20, 0)),
            Field("body", "bytes"),
        ),
        (ListField("bodies", (Field("", "bytes"),)),),
    )
    described = base64.b64encode(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString())
    cache: SchemaCache[WriterFile] = SchemaCache(
        lambda _: Schema(described.decode(), "PROTOBUF"), partial(writer_file, contract), 0.0
    )
    decoder = ProtobufDecoder(contract, 5_000, RegistryParams("http://127.0.0.1:1"), cache)
    order = message_class(file, "s.O")
    made = [
        order(price="12.5", count=2**64 - 1, body=b"\xff\0", bodies=[b"", b"a"]),
        order(price="1.234", count=1),
        order(price="-0"),
    ]
    raws = [b"\0\0\0\0\1\0" + each.SerializeToString() for each in made]
    assert same_everywhere(decoder, raws) == [
        {"price": "12.50", "count": str(2**64 - 1), "body": "/wA=", "bodies": ["", "YQ=="]},
        "wrong_type",
        {"price": "0.00", "count": "0", "body": "", "bodies": []},
    ]


def test_a_hostile_number_costs_no_time() -> None:
    decoder = make_decoder(Contract((Field("x", "decimal", digits=(38, 10)),)), 500_000, FormatParams())
    raws = [
        b'{"x": 1e999999999}',
        b'{"x": 1e-999999999}',
        b'{"x": ' + b"9" * 400_000 + b"}",
        b'{"x": 0.' + b"3" * 400_000 + b"}",
        b'{"x": "1e99999999999999999999999"}',
    ]
    start = time.process_time()
    assert same_everywhere(decoder, raws) == ["wrong_type"] * 5
    assert time.process_time() - start < 5
