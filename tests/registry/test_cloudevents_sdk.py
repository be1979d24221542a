"""CloudEvents as their own SDK writes them to Kafka are read, in both modes."""

from __future__ import annotations

import pytest

from tests.registry.conftest import Producer
from udfs.records.cloudevents import CloudEvents
from udfs.records.contract import Contract, Field
from udfs.records.json import JsonDecoder

DATA = (Field("amount", "double", required=True), Field("city", "string"))
OWN = (Field("kind", "string", path=("type",)), Field("time", "string"), Field("tries", "string"))
ATTRIBUTES = {"type": "com.example.paid", "source": "/till/7", "id": "A-1", "specversion": "1.0"}


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_what_the_sdk_writes_is_read(mode: str, producer: Producer) -> None:
    attributes = {**ATTRIBUTES, "datacontenttype": "application/json", "tries": "3"}
    sent = [{"attributes": attributes, "data": {"amount": n / 2, "city": "Zürich"}} for n in range(40)]
    written = producer.events(sent, mode)
    contract = Contract((*DATA, *OWN))
    names = frozenset(field.name for field in OWN)
    events = CloudEvents(contract, JsonDecoder(Contract(DATA)), names, 10_000)
    headers = [[found.get(name) for found, _ in written] for name in events.headers]
    decoded = events.decode([value for _, value in written], headers)
    assert not decoded.problems
    for number, row in enumerate(decoded.table.to_pylist()):
        assert (row["amount"], row["city"], row["tries"]) == (number / 2, "Zürich", "3")
        assert row["kind"] == "com.example.paid"
