"""CloudEvents as in the examples of the Kafka binding, both modes in one topic, and what is no event.

The adversaries are producers that leave attributes out, send batches or other formats, and mix modes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import sized
from udfs.records.cloudevents import CloudEvents
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded
from udfs.records.nested_json import NestedJsonDecoder

DATA = (Field("amount", "double", required=True, low=0.0), Field("city", "string", path=("place",)))
OWN = (
    Field("kind", "string", path=("type",)),
    Field("time", "string", required=True),
    Field("tries", "long"),
)
CONTRACT = Contract((*DATA, *OWN))
ATTRIBUTES = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext/subcontext",
    "id": "1234-1234-1234",
    "time": "2018-04-05T03:56:24Z",
}
BODY = {"amount": 2.5, "place": "Ur"}
Headers = dict[str, bytes]
Record = tuple[bytes | None, Headers]


def binary(body: Any = BODY, **attributes: str | None) -> Record:
    """As in section 3.2 of the Kafka binding."""
    given = {**ATTRIBUTES, **attributes}
    headers = {f"ce_{name}": value.encode() for name, value in given.items() if value is not None}
    return json.dumps(body).encode(), {**headers, "content-type": b"application/json"}


def structured(body: Any = BODY, kind: bytes = b"application/cloudevents+json", **attributes: Any) -> Record:
    """As in section 3.3 of the Kafka binding."""
    whole = {**ATTRIBUTES, **attributes, "data": body}
    event = {name: value for name, value in whole.items() if value is not None}
    return json.dumps(event).encode(), {"content-type": kind}


def decode(records: list[Record]) -> Decoded:
    names = frozenset(field.name for field in OWN)
    events = CloudEvents(CONTRACT, NestedJsonDecoder(Contract(DATA), 1000), names, 1000)
    headers = [[found.get(name) for _, found in records] for name in events.headers]
    return events.decode([value for value, _ in records], headers)


ROW = {
    "amount": 2.5,
    "city": "Ur",
    "kind": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
    "tries": None,
}


def test_both_modes_in_one_topic_are_one_table() -> None:
    utf8 = structured(kind=b"Application/CloudEvents+JSON; charset=UTF-8", tries=3)
    decoded = decode([binary(), structured(), binary(tries="2"), utf8])
    assert not decoded.problems
    assert decoded.table.to_pylist() == [ROW, ROW, {**ROW, "tries": 2}, {**ROW, "tries": 3}]


OTHER = "expected one of 1.0, got another value"
BAD = [
    (binary(specversion=None), "missing", "header 'ce_specversion': required string is missing"),
    (binary(specversion="0.3"), "not_in_values", f"header 'ce_specversion': {OTHER}"),
    (binary(id=None), "missing", "header 'ce_id': required string is missing"),
    (binary(time=None), "missing", "header 'ce_time': required string is missing"),
    (binary(tries="x"), "wrong_type", "header 'ce_tries': expected long, got another text"),
    (binary({"amount": -1}), "out_of_range", "$.amount: expected at least 0, got a smaller number"),
    ((None, binary()[1]), "tombstone", "the record has no value"),
    (structured(source=None), "missing", "$.source: required string is missing"),
    (structured(time=7), "wrong_type", "$.time: expected string, got integer"),
    (structured({"amount": "x"}), "wrong_type", "$.data.amount: expected double, got string"),
    (structured(5), "wrong_type", "$.data: expected an object, got number"),
    (structured(kind=b"application/cloudevents-batch+json"), "not_an_envelope",
     "header 'content-type': expected one event in JSON, got another format"),
    (structured(kind=b"application/cloudevents+avro"), "not_an_envelope",
     "header 'content-type': expected one event in JSON, got another format"),
    ((b"{}", {}), "missing", "$.amount: required double is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "reason", "message"), BAD)
def test_what_is_no_event_has_its_reason_and_spares_its_neighbours(
    record: Record, reason: str, message: str
) -> None:
    decoded = decode([binary(), record, structured()])
    assert [(problem.reason, problem.message) for problem in decoded.problems.values()] == [(reason, message)]
    assert decoded.rows.tolist() == [0, 2]
    assert decoded.table.to_pylist() == [ROW, ROW]


records = st.sampled_from([binary(), structured(), *(record for record, _, _ in BAD)])


@settings(max_examples=sized(200, 25))
@given(st.lists(records, min_size=1, max_size=60))
def test_a_batch_decides_as_each_record_alone(batch: list[Record]) -> None:
    together = decode(batch)
    rows = dict(zip(together.rows.tolist(), together.table.to_pylist(), strict=True))
    assert sorted([*rows, *together.problems]) == list(range(len(batch))), "one outcome for each record"
    for at, record in enumerate(batch):
        alone = decode([record])
        assert alone.problems.get(0) == together.problems.get(at)
        assert alone.problems or alone.table.to_pylist()[0] == rows[at]
