"""Maps of each format that has them: the same outcome alone and in any batch, that of Python's own reading.

The adversaries are a producer that puts a list or a number where a map should be, values of another type
under some keys, keys that stand twice or are no text, and one that sends a map of 60,000 keys to fill memory.
"""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from collections.abc import Sequence
from typing import Any

import fastavro
import msgspec
import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from tests.helpers.protobuf_records import message_class, proto_field
from udfs.records.avro_schema import SchemaError
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoder, decode_batch
from udfs.records.formats import FormatName, FormatParams, make_decoder
from udfs.records.maps import map_field
from udfs.types import ColumnType

ID = Field("id", "long", required=True)
RATES = map_field("rates", Field("", "double", high=9), length=(None, 3))
NAMES = map_field("names", Field("", "string", required=True), required=True, path=("deep", "names"))
CONTRACT = Contract((ID,), (RATES,))
DEEP = Contract((ID,), (RATES, NAMES))
DICTS: list[FormatName] = ["json", "messagepack"]


def decoder(contract: Contract, name: FormatName = "json") -> Decoder:
    return make_decoder(contract, 1_000_000, FormatParams(name))


def written(record: object, name: FormatName) -> bytes:
    return json.dumps(record).encode() if name == "json" else msgspec.msgpack.encode(record)


def outcomes(decoder: Decoder, raws: Sequence[bytes]) -> list[Any]:
    decoded = decode_batch(decoder, list(raws))
    assert decoded.table.schema == decoder.contract.arrow_schema()
    rows = dict(zip(decoded.rows.tolist(), decoded.table.to_pylist(), strict=True))
    return [rows.get(i) or decoded.problems[i] for i in range(len(raws))]


def expected(record: Any) -> dict[str, Any] | None:
    """The columns by Python alone; None where the record is refused."""
    if not isinstance(record, dict) or type(record.get("id")) is not int:
        return None
    rates = record.get("rates")
    if rates is None:
        return {"id": record["id"], "rates": None}
    if not isinstance(rates, dict) or len(rates) > 3:
        return None
    if not all(value is None or (type(value) in (int, float) and value <= 9) for value in rates.values()):
        return None
    entries = [{"key": k, "value": None if v is None else float(v)} for k, v in rates.items()]
    return {"id": record["id"], "rates": entries}


LEAVES = st.none() | st.booleans() | st.integers(-12, 12) | st.floats(-2, 2) | st.sampled_from(["a", "é", ""])
KEYS = st.sampled_from(["id", "rates", "red", "blue", "Grün", "a b"])
ANY = st.recursive(
    LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=2), max_leaves=6
)
NUMBERS = st.integers(-12, 12) | st.floats(-2, 2) | st.none()
USUAL = st.fixed_dictionaries(
    {"id": st.integers(-9, 9)}, optional={"rates": st.dictionaries(KEYS, NUMBERS, max_size=4) | ANY}
)


@pytest.mark.parametrize("name", DICTS)
@settings(max_examples=examples(200), deadline=None)
@given(st.lists(USUAL | ANY, min_size=1, max_size=6), st.integers(1, 6))
def test_outcomes_are_pythons_alone_and_in_any_batch(name: FormatName, records: list[Any], cut: int) -> None:
    read = decoder(CONTRACT, name)
    raws = [written(record, name) for record in records]
    together = outcomes(read, raws)
    assert together == [each for raw in raws for each in outcomes(read, [raw])]
    assert together == outcomes(read, raws[:cut]) + outcomes(read, raws[cut:])
    for found, record in zip(together, records, strict=True):
        wanted = expected(record)
        assert found == wanted if wanted else not isinstance(found, dict)


MESSAGES = {
    '{"id": 1, "rates": {"red": 1, "blue": 10}}': "$.rates.blue: expected at most 9, got a larger number",
    '{"id": 1, "rates": {"red": "1"}}': "$.rates.red: expected double, got string",
    '{"id": 1, "rates": {"a b": {}}}': "$.rates[…]: expected double, got object",
    '{"id": 1, "rates": {"a": NaN}}': "$.rates.a: got NaN",
    '{"id": 1, "rates": [1]}': "$.rates: expected an object, got array",
    '{"id": 1, "rates": [{"key": "a", "value": 1}]}': "$.rates: expected an object, got array",
    '{"id": 1, "rates": 7}': "$.rates: expected an object, got integer",
    '{"id": 1, "rates": {"a": 1, "b": 1, "c": 1, "d": 1}}': "$.rates: expected at most 3 entries, got more",
    '{"id": 1, "rates": {"a": 1, "a": 2}}': "$.rates.a: stands more than once",
    '{"id": 1, "rates": {"\\ud800": 1}}': "$.rates: a key has half of a surrogate pair",
    '{"id": 1, "deep": {"names": {"x": null}}}': "$.deep.names.x: required string is null",
    '{"id": 1, "deep": {"names": null}}': "$.deep.names: required map is null",
    '{"id": 1, "deep": {}}': "$.deep.names: required map is missing",
}


@pytest.mark.parametrize("text", MESSAGES)
def test_messages_point_at_the_value(text: str) -> None:
    contract = DEEP if "deep" in text else CONTRACT
    (found,) = outcomes(decoder(contract), [text.encode()])
    assert found.message == MESSAGES[text]


def test_keys_that_are_no_texts_are_told() -> None:
    (found,) = outcomes(
        decoder(CONTRACT, "messagepack"), [msgspec.msgpack.encode({"id": 1, "rates": {7: 1.0}})]
    )
    assert found.message == "$.rates: expected texts as keys, got another type"


@pytest.mark.parametrize("name", DICTS)
def test_a_huge_map_fills_no_memory(name: FormatName) -> None:
    raw = written({"id": 1, "rates": {f"k{n}": 1.0 for n in range(60_000)}}, name)
    read = decoder(CONTRACT, name)
    tracemalloc.start()
    (found,) = outcomes(read, [raw])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.reason == "wrong_length"
    assert peak < 40_000_000


def avro(kind: str, records: list[Any]) -> tuple[str, list[bytes]]:
    values = (
        {"type": "map", "values": kind} if kind != "nullable" else {"type": "map", "values": ["null", "int"]}
    )
    fields = [
        {"name": "other", "type": {"type": "map", "values": "string"}},
        {"name": "id", "type": "long"},
        {"name": "rates", "type": ["null", values]},
    ]
    schema = {"type": "record", "name": "R", "fields": fields}
    raws = []
    for record in records:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), {"other": {"x": "y"}, **record})
        raws.append(stream.getvalue())
    return json.dumps(schema), raws


RECORDS: list[dict[str, Any]] = [
    {"id": 1, "rates": {"red": 1, "Grün": 2}},
    {"id": 2, "rates": {}},
    {"id": 3, "rates": None},
    {"id": 4, "rates": {"red": 10}},
    {"id": 5, "rates": {"a": 1, "b": 1, "c": 1, "d": 1}},
]


@pytest.mark.parametrize("kind", ["double", "int", "nullable"])
def test_avros_maps_are_read(kind: str) -> None:
    schema, raws = avro(kind, RECORDS)
    read = make_decoder(CONTRACT, 10_000, FormatParams("avro", schema))
    found = outcomes(read, raws * 10)
    assert [each if isinstance(each, dict) else None for each in found] == [*map(expected, RECORDS)] * 10
    assert [each.message for each in found[3:5]] == [
        "$.rates.red: expected at most 9, got a larger number",
        "$.rates: expected at most 3 entries, got more",
    ]
    assert found[:5] == [each for raw in raws for each in outcomes(read, [raw])]
    (cut,) = outcomes(read, [raws[0][:-3]])
    assert cut.reason == "not_avro"


@pytest.mark.parametrize(("kind", "wanted"), [("string", "double"), ("double", "long"), ("bytes", "string")])
def test_avros_maps_of_other_values_are_refused(kind: str, wanted: ColumnType) -> None:
    schema, _ = avro(kind, [])
    contract = Contract((ID,), (map_field("rates", Field("", wanted)),))
    with pytest.raises(SchemaError, match=rf"\$\.rates\[\]: expected {wanted}, the writer has {kind}"):
        make_decoder(contract, 10_000, FormatParams("avro", schema))
    listed = schema.replace('{"type": "map", "values": "' + kind, '{"type": "array", "items": "' + kind)
    with pytest.raises(SchemaError, match=r"\$\.rates: expected a map, the writer has array"):
        make_decoder(contract, 10_000, FormatParams("avro", listed))


def entry(name: str, key: str, value: str) -> dict[str, Any]:
    fields = [proto_field("key", 1, key), proto_field("value", 2, value)]
    return {"name": name, "field": fields, "options": {"mapEntry": True}}


FILE: dict[str, Any] = {
    "name": "rates.proto",
    "syntax": "proto3",
    "messageType": [
        {
            "name": "Rated",
            "field": [
                proto_field("id", 1, "INT64"),
                proto_field("rates", 2, "MESSAGE", ".Rated.RatesEntry", repeated=True),
                proto_field("places", 3, "MESSAGE", ".Rated.PlacesEntry", repeated=True),
            ],
            "nestedType": [entry("RatesEntry", "STRING", "DOUBLE"), entry("PlacesEntry", "INT32", "STRING")],
        }
    ],
}


def protobuf(contract: Contract) -> Decoder:
    descriptors = FileDescriptorSet(file=[json_format.ParseDict(FILE, FileDescriptorProto())])
    text = base64.b64encode(descriptors.SerializeToString()).decode()
    return make_decoder(contract, 10_000, FormatParams("protobuf", text, "Rated"))


def test_protobufs_maps_are_read() -> None:
    rated = message_class(FILE, "Rated")
    records = [record for record in RECORDS if record["rates"] is not None]
    raws = [json_format.ParseDict(record, rated()).SerializeToString() for record in records]
    found = outcomes(protobuf(CONTRACT), raws * 10)
    for each, record in zip(found, records * 10, strict=True):
        wanted = expected(record)
        if wanted is None:
            assert not isinstance(each, dict)
        else:
            assert {**each, "rates": {e["key"]: e["value"] for e in each["rates"]}} == {
                **record,
                "rates": {k: float(v) for k, v in record["rates"].items()},
            }
    assert found[2].message == "$.rates.red: expected at most 9, got a larger number"


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("places", "string", "expected a map of strings, the writer has a map of other keys"),
        ("id", "long", "expected a map of strings, the writer has int64"),
        ("rates", "long", "expected long, the writer has double"),
    ],
)
def test_protobufs_other_fields_are_refused(name: str, kind: ColumnType, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        protobuf(Contract((), (map_field(name, Field("", kind)),)))


def test_columns_are_lists_of_entries() -> None:
    assert RATES.arrow == pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))
