"""Debezium's change events as rows: the examples of its documentation, in JSON, in its payload, and in Avro.

The adversaries are deletes and tombstones among other changes, rows that were wrong before they were put
right, and records that are no change events at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import sized
from udfs.records.contract import Contract, Field
from udfs.records.debezium import EnvelopeParams
from udfs.records.decode import Decoded, Decoder, decode_batch
from udfs.records.formats import FormatParams, make_decoder

# From the tutorial and the MySQL connector's page: the row of Anne Kretchmar.
SOURCE = {
    "version": "2.7.0.Final",
    "connector": "mysql",
    "name": "mysql-server-1",
    "ts_ms": 0,
    "snapshot": False,
    "db": "inventory",
    "table": "customers",
    "server_id": 0,
    "gtid": None,
    "file": "mysql-bin.000003",
    "pos": 154,
    "row": 0,
    "thread": 7,
    "query": "INSERT INTO customers (first_name, last_name, email) VALUES ('Anne', 'Kretchmar', '…')",
}
ANNE = {"id": 1004, "first_name": "Anne", "last_name": "Kretchmar", "email": "annek@noanswer.org"}
MARIE = {**ANNE, "first_name": "Anne Marie"}
CREATE = {"op": "c", "ts_ms": 1465491411815, "before": None, "after": ANNE, "source": SOURCE}
UPDATE = {"op": "u", "ts_ms": 1465581029523, "before": ANNE, "after": MARIE, "source": SOURCE}
DELETE = {"op": "d", "ts_ms": 1465581902461, "before": MARIE, "after": None, "source": SOURCE}
TRUNCATE = {"op": "t", "ts_ms": 1465581029523, "source": SOURCE}
CONNECT_SCHEMA = {
    "type": "struct",
    "fields": [
        {"type": "string", "optional": False, "field": "op"},
        {"type": "int64", "optional": True, "field": "ts_ms"},
    ],
    "optional": False,
    "name": "mysql-server-1.inventory.customers.Envelope",
}
VALUE = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "int"},
        *({"name": name, "type": "string"} for name in ("first_name", "last_name", "email")),
    ],
}
TABLE = [{"name": "table", "type": ["null", "string"]}]
ENVELOPE = {
    "type": "record",
    "name": "Envelope",
    "namespace": "mysql_server_1.inventory.customers",
    "fields": [
        {"name": "before", "type": ["null", VALUE], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": {"type": "record", "name": "Source", "fields": TABLE}},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}  # fmt: skip
CONTRACT = Contract(
    (
        Field("id", "long", required=True, low=1000),
        Field("name", "string", required=True, path=("first_name",)),
        Field("op", "string"),
        Field("at", "long", path=("ts_ms",)),
        Field("table", "string", path=("source", "table")),
    )
)
OWN = frozenset({"op", "at", "table"})


def plain(event: Any) -> bytes:
    return json.dumps(event).encode()


def with_schema(event: Any) -> bytes:
    return json.dumps({"schema": CONNECT_SCHEMA, "payload": event}).encode()


def as_avro(event: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(ENVELOPE), event)
    return stream.getvalue()


def decoder(write: Callable[[Any], bytes], *, before: bool = False) -> Decoder:
    envelope = EnvelopeParams("debezium", OWN, before)
    if write is as_avro:
        return make_decoder(CONTRACT, 10_000, FormatParams("avro", json.dumps(ENVELOPE), envelope=envelope))
    return make_decoder(CONTRACT, 10_000, FormatParams(envelope=envelope))


def row(name: str, event: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1004, "name": name, "op": event["op"], "at": event["ts_ms"], "table": "customers"}


WAYS = pytest.mark.parametrize("write", [plain, with_schema, as_avro])


@WAYS
def test_created_and_updated_rows_are_read_as_they_are_after_the_change(
    write: Callable[[Any], bytes],
) -> None:
    decoded = decode_batch(decoder(write), [write(CREATE), write(UPDATE)])
    assert not decoded.problems
    assert decoded.table.to_pylist() == [row("Anne", CREATE), row("Anne Marie", UPDATE)]


@WAYS
def test_deletes_and_tombstones_are_dead_letters(write: Callable[[Any], bytes]) -> None:
    decoded = decode_batch(decoder(write), [write(CREATE), write(DELETE), None] * 20)
    reasons = {number % 3: problem.reason for number, problem in decoded.problems.items()}
    assert reasons == {1: "deleted", 2: "tombstone"}
    assert decoded.table.to_pylist() == [row("Anne", CREATE)] * 20


@WAYS
def test_a_deleted_row_is_read_as_it_was_where_the_job_says_so(write: Callable[[Any], bytes]) -> None:
    decoded = decode_batch(decoder(write, before=True), [write(each) for each in (DELETE, UPDATE, CREATE)])
    assert not decoded.problems
    rows = [row("Anne Marie", DELETE), row("Anne Marie", UPDATE), row("Anne", CREATE)]
    assert decoded.table.to_pylist() == rows


SMALLER = "expected at least 1000, got a smaller number"
BAD = [
    ({**CREATE, "after": None}, "null", "$.after.id: required long is null"),
    ({**CREATE, "after": {**ANNE, "id": "x"}}, "wrong_type", "$.after.id: expected long, got string"),
    ({**CREATE, "after": 1}, "wrong_type", "$.after: expected an object, got number"),
    ({**DELETE, "before": {**ANNE, "id": 7}}, "out_of_range", f"$.before.id: {SMALLER}"),
    (TRUNCATE, "not_an_envelope", "$.op: expected c, r, u or d, got something else"),
    ({**CREATE, "op": 1}, "not_an_envelope", "$.op: expected c, r, u or d, got something else"),
    (ANNE, "not_an_envelope", "expected Debezium's envelope, with $.op"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "reason", "message"), BAD)
def test_what_is_no_row_has_its_reason(event: Any, reason: str, message: str) -> None:
    decoded = decode_batch(decoder(plain, before=True), [plain(CREATE), plain(event), plain(UPDATE)])
    assert [(problem.reason, problem.message) for problem in decoded.problems.values()] == [(reason, message)]
    assert decoded.rows.tolist() == [0, 2]
    inside = decode_batch(decoder(with_schema, before=True), [with_schema(event)]).problems[0]
    assert (inside.reason, inside.message.replace("$.payload.", "$.")) == (reason, message)


def test_a_row_that_was_wrong_before_it_was_put_right_is_right() -> None:
    event = {**UPDATE, "before": {"id": -1, "first_name": 5}}
    for before in (False, True):
        decoded = decode_batch(decoder(plain, before=before), [plain(event)] * 3)
        assert decoded.table.to_pylist() == [row("Anne Marie", UPDATE)] * 3


def events() -> st.SearchStrategy[bytes | None]:
    rows = st.sampled_from([None, ANNE, MARIE, {"id": 1}, {"id": "x"}, {}, 3])
    made = st.fixed_dictionaries(
        {},
        optional={
            "op": st.sampled_from(["c", "r", "u", "d", "t", "", None, 1]),
            "before": rows,
            "after": rows,
            "ts_ms": st.sampled_from([1, None, "x"]),
            "payload": st.sampled_from([CREATE, DELETE, None, 1]),
        },
    )
    written = st.builds(lambda event, write: write(event), made, st.sampled_from([plain, with_schema]))
    return written | st.sampled_from([None, b"", b"[]", plain(CREATE), plain(DELETE), with_schema(UPDATE)])


def same(one: Decoded, other: Decoded, at: int) -> bool:
    """Whether record `at` of the one has the outcome that the other has alone."""
    if at in one.problems:
        return one.problems[at] == other.problems.get(0)
    place = one.rows.tolist().index(at)
    return not other.problems and one.table.to_pylist()[place] == other.table.to_pylist()[0]


@settings(max_examples=sized(200, 25))
@given(st.lists(events(), min_size=1, max_size=40), st.booleans())
def test_a_batch_decides_as_each_record_alone(batch: list[bytes | None], before: bool) -> None:
    reader = decoder(plain, before=before)
    together = decode_batch(reader, batch)
    assert sorted([*together.rows.tolist(), *together.problems]) == list(range(len(batch)))
    for at, raw in enumerate(batch):
        assert same(together, decode_batch(reader, [raw]), at)
