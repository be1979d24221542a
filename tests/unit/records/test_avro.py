"""Avro: the same outcome by numpy and by fastavro, whatever a record or a schema holds.

The adversaries are a producer with another schema, one that sends rubbish, and one that wants a worker to run
out of memory or time. Records are written by Apache's library, and what is read is held to what was written.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import random
import time
import uuid
from collections import Counter
from functools import partial
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.avro_records import CarefulDecoder, differences, outcomes, write
from tests.helpers.examples import examples
from udfs.records.avro import AvroDecoder, WriterSchema, writer_schema
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, decode_batch
from udfs.records.problems import RejectedError
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import NoSuchSchemaError, Schema
from udfs.types import ColumnType

CONTRACT = Contract(
    (
        Field("id", "long", required=True, low=0),
        Field("amount", "double"),
        Field("kind", "string", values=("a", "b")),
        Field("flag", "boolean"),
    )
)
LIMIT = 10_000


def record_schema(name: str = "R", /, **fields: Any) -> str:
    return json.dumps(
        {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}
    )


def optional(kind: Any) -> list[Any]:
    return ["null", kind]


PLAIN = record_schema(
    id="long", amount=optional("double"), kind=optional("string"), flag=optional("boolean"), note="string"
)
ROW = {"id": 1, "amount": 2.5, "kind": "a", "flag": True, "note": "é"}
GOOD = write(PLAIN, ROW)


def decode(raws: list[bytes | None]) -> Decoded:
    return decode_batch(AvroDecoder(CONTRACT, LIMIT, PLAIN), raws)


BAD: list[tuple[bytes | None, str, str]] = [
    (None, "decode", "tombstone"),
    (b"", "decode", "empty"),
    (write(PLAIN, ROW | {"note": "x" * LIMIT}), "decode", "too_large"),
    (GOOD[:-1], "decode", "not_avro"),
    (GOOD[:3], "decode", "not_avro"),
    (GOOD + b"\0", "decode", "not_avro"),
    (b"{}", "decode", "not_avro"),
    (b"\x02\x04" + GOOD[2:], "decode", "not_avro"),
    (write(PLAIN, ROW).replace(b"\x02a", b"\x02\xff"), "decode", "invalid_utf8"),
    (b"\x02\x02" + b"\x7f" * 8 + b"\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "decode", "not_avro"),
    (write(PLAIN, ROW | {"id": -1}), "contract", "out_of_range"),
    (write(PLAIN, ROW | {"kind": "c"}), "contract", "not_in_values"),
    (write(PLAIN, ROW | {"amount": float("nan")}), "contract", "not_finite"),
]


@pytest.mark.parametrize(("raw", "stage", "reason"), BAD)
def test_a_bad_record_has_its_reason_and_spares_its_neighbours(
    raw: bytes | None, stage: str, reason: str
) -> None:
    for batch, place in (([raw], 0), ([GOOD, raw, GOOD], 1), ([GOOD] * 70 + [raw] + [GOOD] * 30, 70)):
        decoded = decode(list(batch))
        assert {i: (p.stage, p.reason) for i, p in decoded.problems.items()} == {place: (stage, reason)}
        want = {name: value for name, value in ROW.items() if name != "note"}
        assert decoded.table.to_pylist() == [want] * (len(batch) - 1)


@given(st.integers(0, 2**63))
@settings(max_examples=examples(60))
def test_random_topics_are_read_alike_by_both_ways_and_as_they_were_written(seed: int) -> None:
    _, found = differences(random.Random(seed), 60)
    assert not found, found[0]


@pytest.mark.long
def test_half_a_million_records_of_which_many_are_spoiled() -> None:
    counts: Counter[str] = Counter()
    for seed in range(1_000):
        some, found = differences(random.Random(seed), 500)
        assert not found, (seed, found[0])
        counts += some
    assert min(counts["quick"], counts["by record"]) > 100
    assert min(counts["read"], counts["not_avro"]) > 10_000, counts


# Types: what each is as a column of each type, by both ways; None where the schema is refused.

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}
FIXED_DECIMAL = {
    "type": "fixed",
    "name": "D",
    "size": 5,
    "logicalType": "decimal",
    "precision": 11,
    "scale": 0,
}
WHEN = datetime.datetime(2013, 7, 1, 5, 17, 0, 123_000, tzinfo=datetime.UTC)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MS = (WHEN - EPOCH) // datetime.timedelta(milliseconds=1)
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def logical(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "logicalType": name}


# The type, a value for fastavro's writer, which knows logical types, and what columns of each type hold.
TYPES: list[tuple[Any, Any, dict[ColumnType, Any]]] = [
    ("boolean", True, {"boolean": True}),
    ("int", -7, {"long": -7, "double": -7.0}),
    ("long", 2**53 + 1, {"long": 2**53 + 1, "double": 2.0**53}),
    ("float", 0.5, {"double": 0.5}),
    ("double", 0.1, {"double": 0.1}),
    ("string", "é", {"string": "é"}),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", {"string": "B"}),
    ("bytes", b"x", {}),
    ({"type": "fixed", "name": "F", "size": 2}, b"xy", {}),
    ({"type": "array", "items": "long"}, [1], {}),
    ({"type": "map", "values": "long"}, {"a": 1}, {}),
    (DECIMAL, decimal.Decimal("-1234.50"), {"string": "-1234.50", "double": -1234.5}),
    (FIXED_DECIMAL, decimal.Decimal(12345), {"string": "12345", "double": 12345.0}),
    (
        DECIMAL,
        decimal.Decimal("9007199254740993.01"),
        {"string": "9007199254740993.01", "double": 9007199254740994.0},
    ),
    (logical("int", "date"), WHEN.date(), {"string": "2013-07-01", "long": 15887, "double": 15887.0}),
    (
        logical("long", "timestamp-millis"),
        WHEN,
        {"string": "2013-07-01T05:17:00.123Z", "long": MS, "double": float(MS)},
    ),
    (
        logical("long", "timestamp-micros"),
        WHEN,
        {"string": "2013-07-01T05:17:00.123000Z", "long": MS * 1000, "double": MS * 1000.0},
    ),
    (
        logical("long", "local-timestamp-millis"),
        WHEN.replace(tzinfo=None),
        {"string": "2013-07-01T05:17:00.123", "long": MS, "double": float(MS)},
    ),
    (
        logical("int", "time-millis"),
        WHEN.time(),
        {"string": "05:17:00.123", "long": 19_020_123, "double": 19_020_123.0},
    ),
    (
        logical("long", "time-micros"),
        WHEN.time(),
        {"string": "05:17:00.123000", "long": 19_020_123_000, "double": 19_020_123_000.0},
    ),
    (logical("string", "uuid"), UUID, {"string": str(UUID)}),
    ({"type": "fixed", "name": "U", "size": 12, "logicalType": "duration"}, b"x" * 12, {}),
]


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "or null"])
@pytest.mark.parametrize("row", TYPES, ids=lambda row: json.dumps(row[0]))
def test_each_type_becomes_what_it_can_be_and_nothing_else(
    row: tuple[Any, Any, dict[ColumnType, Any]], wrapped: bool
) -> None:
    kind, value, columns = row
    schema = record_schema(x=optional(kind) if wrapped else kind)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(schema)), {"x": value})
    for column in ("string", "long", "double", "boolean"):
        contract = Contract((Field("x", column),))
        if column not in columns:
            with pytest.raises(SchemaError, match=r"\$\.x: expected .*, the writer has"):
                AvroDecoder(contract, LIMIT, schema)
            continue
        for decoder in (AvroDecoder, CarefulDecoder):
            decoded = decode_batch(decoder(contract, LIMIT, schema), [stream.getvalue()] * 3)
            assert decoded.table.column("x").to_pylist() == [columns[column]] * 3


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (logical("int", "date"), 2**31 - 1),
        (logical("long", "timestamp-millis"), 2**62),
        (logical("int", "time-millis"), -1),
        (DECIMAL, b"\x7f" * 20),
        (DECIMAL, b"\x7f" * 5_000),
    ],
)
def test_what_has_no_text_is_a_problem_of_its_record(kind: Any, stored: Any) -> None:
    schema = record_schema(x=kind)
    good, bad = write(schema, {"x": b"\x01" if kind is DECIMAL else 1}), write(schema, {"x": stored})
    decoded = decode_batch(AvroDecoder(Contract((Field("x", "string"),)), LIMIT, schema), [good, bad, good])
    assert decoded.problems[1].reason == "wrong_type"
    assert decoded.problems[1].message.startswith("$.x: expected a ")
    assert decoded.rows.tolist() == [0, 2]
    ignored = decode_batch(AvroDecoder(Contract((Field("y", "string"),)), LIMIT, schema), [good, bad])
    assert not ignored.problems, "what nobody reads harms nobody"


def test_a_union_of_several_types_is_decided_by_each_record() -> None:
    schema = record_schema(x=["null", "long", "string"])
    raws = [write(schema, {"x": value}) for value in (None, 3, "a")]
    for column, values in (("long", [None, 3]), ("string", [None, "a"])):
        decoded = decode_batch(AvroDecoder(Contract((Field("x", column),)), LIMIT, schema), list(raws))  # type: ignore[arg-type]
        assert decoded.table.column("x").to_pylist() == values
        assert [problem.reason for problem in decoded.problems.values()] == ["wrong_type"]


def test_fields_of_nested_records_are_columns_by_their_path() -> None:
    address = {"type": "record", "name": "Address", "fields": [{"name": "country", "type": "string"}]}
    user = {"type": "record", "name": "User", "fields": [{"name": "address", "type": optional(address)}]}
    schema = record_schema(user=optional(user))
    field = Field("land", "string", required=True, path=("user", "address", "country"))
    rows = [{"user": {"address": {"country": "NZ"}}}, {"user": {"address": None}}, {"user": None}]
    for decoder in (AvroDecoder, CarefulDecoder):
        decoded = decode_batch(
            decoder(Contract((field,)), LIMIT, schema), [write(schema, row) for row in rows]
        )
        assert decoded.table.to_pylist() == [{"land": "NZ"}]
        assert {problem.message for problem in decoded.problems.values()} == {
            "$.user.address.country: required string is null"
        }
    with pytest.raises(
        SchemaError, match=r"\$\.user\.address\.country: expected a record, the writer has string"
    ):
        AvroDecoder(
            Contract((Field("x", "string", path=("user", "address", "country", "code")),)), LIMIT, schema
        )


# Evolution: the writer's schema changes while the job runs.

READER = json.dumps(
    {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "amount", "type": ["null", "double"], "aliases": ["price"], "default": None},
            {"name": "kind", "type": "string", "default": "b"},
        ],
    }
)
VERSIONS: dict[int, tuple[str, dict[str, Any]]] = {
    1: (record_schema(id="long", price="double", kind="string"), {"id": 1, "price": 0.5, "kind": "a"}),
    2: (record_schema(id="int", price="float"), {"id": 2, "price": 1.5}),
    3: (
        record_schema(id="long", amount=optional("int"), kind="string", more="string"),
        {"id": 3, "amount": None, "kind": "a", "more": "x"},
    ),
    4: (record_schema(kind="string", id="long"), {"kind": "b", "id": 4}),
    5: (record_schema(id="long", amount="long", kind="string"), {"id": 5, "amount": 2**53 + 1, "kind": "a"}),
}
WRONG = {
    6: (record_schema(id="string"), "schema 6: $.id: expected long, the writer has string"),
    7: (
        record_schema(id="long", amount="bytes"),
        "schema 7: $.amount: expected double, the writer has bytes",
    ),
    8: ('"long"', "schema 8: expected a record, the writer has long"),
    9: ("{", "schema 9: is not JSON"),
    10: ('{"type": "rekord", "name": "R"}', "schema 10: is no Avro schema"),
}
EVOLVING = Contract(
    (Field("id", "long", required=True), Field("amount", "double"), Field("kind", "string", required=True))
)


def registered(number: int) -> Schema:
    if number in VERSIONS or number in WRONG:
        return Schema((VERSIONS.get(number) or WRONG[number])[0])
    raise NoSuchSchemaError("the registry has no such schema")


def evolving(reader: str | None) -> AvroDecoder:
    node: Node | None = parse_schema(reader) if reader else None
    cache: SchemaCache[WriterSchema] = SchemaCache(registered, partial(writer_schema, EVOLVING, node), 0.0)
    return AvroDecoder(EVOLVING, LIMIT, None, None, cache)


def framed(number: int, body: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + body


def test_a_batch_of_all_versions_is_read_as_fastavro_resolves_them() -> None:
    draw = random.Random(3)
    numbers = draw.choices([*VERSIONS], k=400)
    raws = [framed(number, write(*VERSIONS[number])) for number in numbers]
    decoded = decode_batch(evolving(READER), list(raws))
    assert not decoded.problems
    reader = fastavro.parse_schema(json.loads(READER))
    for raw, number, row in zip(raws, numbers, decoded.table.to_pylist(), strict=True):
        writer = fastavro.parse_schema(json.loads(VERSIONS[number][0]))
        assert row == fastavro.schemaless_reader(io.BytesIO(raw[5:]), writer, reader)


def test_without_a_readers_schema_names_are_the_jobs_and_what_is_gone_is_missing() -> None:
    raws = [framed(number, write(*VERSIONS[number])) for number in VERSIONS]
    decoded = decode_batch(evolving(None), list(raws))
    assert decoded.table.column("amount").to_pylist() == [None, None, None, 2.0**53]
    assert {row: problem.message for row, problem in decoded.problems.items()} == {
        1: "$.kind: required string is missing"
    }


def test_records_of_schemas_that_do_not_fit_are_dead_letters_that_name_the_id() -> None:
    good = framed(1, write(*VERSIONS[1]))
    bad = {number: framed(number, b"\x02") for number in [*WRONG, 99]}
    alone = {number: next(outcomes(evolving(READER), [raw])) for number, raw in bad.items()}
    mixed = [raw for raw in bad.values() for raw in (good, raw, good)]
    decoded = decode_batch(evolving(READER), list(mixed))
    assert decoded.table.num_rows == 2 * len(bad)
    for (row, problem), number in zip(sorted(decoded.problems.items()), bad, strict=True):
        assert row % 3 == 1
        reason = "schema_unknown" if number == 99 else "schema_incompatible"
        assert ("refused", problem.stage, problem.reason) == alone[number] == ("refused", "decode", reason)
        assert problem.message.startswith(WRONG[number][1] if number in WRONG else "schema 99: ")


@pytest.mark.parametrize("raw", [b"\0\0\0\0", b"\1\0\0\0\1abc", b'{"id":1}', b"\0"])
def test_values_without_an_id_are_told_from_others(raw: bytes) -> None:
    good = framed(1, write(*VERSIONS[1]))
    decoded = decode_batch(evolving(READER), [good, raw, good])
    assert decoded.problems[1].reason == "not_framed"
    assert decoded.rows.tolist() == [0, 2]


def test_times_of_another_unit_are_not_mistaken_for_the_readers() -> None:
    contract = Contract((Field("at", "long"),))
    reader = parse_schema(record_schema(at=logical("long", "timestamp-millis")))
    with pytest.raises(
        RejectedError, match=r"schema 1: .*expected timestamp-millis, the writer has timestamp-micros"
    ):
        writer_schema(contract, reader, 1, Schema(record_schema(at=logical("long", "timestamp-micros"))))


def test_schemas_refer_to_others() -> None:
    inner = '{"type": "record", "name": "a.Inner", "fields": [{"name": "n", "type": "int"}]}'
    outer = '{"type": "record", "name": "b.Outer", "fields": [{"name": "inner", "type": "a.Inner"}]}'
    found = writer_schema(
        Contract((Field("n", "long", path=("inner", "n")),)),
        None,
        1,
        Schema(outer, references=(("a.Inner", inner),)),
    )
    assert found.read(b"\x0e") == {"n": 7}


# Hostile schemas and records.

NODE = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
EMPTY = {"type": "record", "name": "Z", "fields": []}


def deep(levels: int) -> Any:
    schema: Any = "long"
    for level in range(levels):
        schema = {"type": "record", "name": f"L{level}", "fields": [{"name": "x", "type": schema}]}
    return schema


def doubling(levels: int) -> Any:
    """A schema of few characters, each of whose types has two of the one below."""
    inner: Any = {"type": "record", "name": "T0", "fields": [{"name": "a", "type": "null"}]}
    for level in range(1, levels):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"T{level - 1}"}]
        inner = {"type": "record", "name": f"T{level}", "fields": fields}
    return inner


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (NODE, "contains itself"),
        ({"type": "array", "items": "null"}, "items that take no bytes"),
        ({"type": "array", "items": EMPTY}, "items that take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "items that take no bytes"),
        (deep(120), "levels"),
        (deep(5_000), "levels|not JSON"),
        (doubling(40), "more than 10000 fields"),
    ],
    ids=["cyclic", "nulls", "empty records", "empty fixed", "deep", "deeper", "doubling"],
)
def test_schemas_that_would_exhaust_a_worker_are_refused(schema: Any, why: str) -> None:
    try:
        text = json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]})
    except RecursionError:
        text = '{"type": "array", "items": ' * 5_000 + '"long"' + "}" * 5_000
    started = time.process_time()
    with pytest.raises(SchemaError, match=why):
        parse_schema(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "length", [b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x01", b"\xff" * 9 + b"\x01", b"\xff" * 40]
)
@pytest.mark.parametrize(
    "kind", ["string", "bytes", {"type": "array", "items": "int"}, {"type": "map", "values": "int"}], ids=str
)
def test_a_huge_or_negative_length_takes_neither_memory_nor_time(kind: Any, length: bytes) -> None:
    schema = record_schema(x=kind, id="long")
    started = time.process_time()
    decoded = decode_batch(
        AvroDecoder(Contract((Field("id", "long"),)), LIMIT, schema), [length + b"a" * 50] * 40
    )
    assert {problem.reason for problem in decoded.problems.values()} == {"not_avro"}
    assert len(decoded.problems) == 40
    assert time.process_time() - started < 2
