"""Avro as producers with a registry write it: Confluent's serializers, and a real registry that goes away.

The adversaries are a producer that changes its schema while a job runs, and a registry that is not there when
a new id comes. Nothing here was written by code of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.kafka import ClientSettings, read_topic
from flink_jobs.testing import Broker, JobHarness, Message
from tests.helpers.protobuf_records import PAYMENT
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry
from udfs.records.avro import AvroDecoder
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import NoSuchSchemaError, RegistryError, SchemaRegistry

CONTRACT = Contract(
    (
        Field("id", "long", required=True),
        Field("amount", "double"),
        Field("country", "string", path=("user", "country")),
    )
)


def payment(**fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "Payment",
        "namespace": "shop",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


USER = {"type": "record", "name": "User", "fields": [{"name": "country", "type": ["null", "string"]}]}
FIRST = payment(id="int", amount="float", user=USER)
SECOND = payment(user=["null", USER], note="string", id="long", amount=["null", "double"])
WRONG = payment(id="string")


def test_what_confluents_serializers_write_is_read_while_the_schema_changes(
    registry: Registry, producer: Producer
) -> None:
    first = producer.write(
        "evolving-value", FIRST, [{"id": n, "amount": n / 2, "user": {"country": "NZ"}} for n in range(50)]
    )
    second = producer.write(
        "evolving-value",
        SECOND,
        [{"id": 2**40 + n, "amount": None, "user": None, "note": "x"} for n in range(50)],
    )
    (wrong,) = producer.write("evolving-value", WRONG, [{"id": "a"}])
    mixed = [raw for pair in zip(first, second, strict=True) for raw in pair]
    decoded = decode_batch(AvroDecoder(CONTRACT, 10_000, None, RegistryParams(registry.url)), [*mixed, wrong])
    want = [
        row
        for n in range(50)
        for row in (
            {"id": n, "amount": n / 2, "country": "NZ"},
            {"id": 2**40 + n, "amount": None, "country": None},
        )
    ]
    assert decoded.table.to_pylist() == want
    number = int.from_bytes(wrong[1:5], "big")
    assert decoded.problems[100].reason == "schema_incompatible"
    assert decoded.problems[100].message == f"schema {number}: $.id: expected long, the writer has string"


def test_schemas_that_refer_to_others_are_read(registry: Registry, producer: Producer) -> None:
    user = {**USER, "name": "Person", "namespace": "shop"}
    producer.write("person", user, [])
    schema = payment(id="long", amount="double", user="shop.Person")
    (raw,) = producer.write(
        "referring-value",
        schema,
        [{"id": 1, "amount": 2.0, "user": {"country": "CH"}}],
        [("shop.Person", "person", 1)],
    )
    decoded = decode_batch(AvroDecoder(CONTRACT, 10_000, None, RegistryParams(registry.url)), [raw])
    assert decoded.table.to_pylist() == [{"id": 1, "amount": 2.0, "country": "CH"}]
    client = SchemaRegistry(RegistryParams(registry.url))
    latest = client.latest("referring-value")
    assert [name for name, _ in latest.references] == ["shop.Person"]
    assert client.compatibility("referring-value") == "NONE"
    with pytest.raises(NoSuchSchemaError):
        client.latest("nobody's")


def test_a_registry_that_goes_away_holds_up_only_ids_that_are_not_known() -> None:
    with Registry() as own:
        producer = Producer(own.url)
        try:
            (known,) = producer.write("a-value", FIRST, [{"id": 1, "amount": 2.0, "user": {"country": "NZ"}}])
            (new,) = producer.write("a-value", SECOND, [{"id": 2, "amount": 1.0, "user": None, "note": ""}])
        finally:
            producer.close()
        decoder = AvroDecoder(CONTRACT, 10_000, None, RegistryParams(own.url, wait_s=2.0))
        assert not decode_batch(decoder, [known]).problems
        stranger = b"\0" + (999).to_bytes(4, "big") + known[5:]
        missing = decode_batch(decoder, [stranger]).problems[0]
        assert (missing.reason, missing.message) == (
            "schema_unknown",
            "schema 999: the registry has no such schema",
        )
    started = time.monotonic()
    decoded = decode_batch(decoder, [known, new] * 100)
    waited = time.monotonic() - started
    assert decoded.rows.tolist() == list(range(0, 200, 2))
    assert {problem.reason for problem in decoded.problems.values()} == {"schema_unknown"}
    assert "the registry does not answer" in decoded.problems[1].message
    assert 2.0 <= waited < 12
    started = time.monotonic()
    assert len(decode_batch(decoder, [known, new] * 100).problems) == 100
    assert time.monotonic() - started < 1.5, "it waits once, until the registry answers again"
    with pytest.raises(RegistryError):
        SchemaRegistry(RegistryParams(own.url)).by_id(1)


def test_json_that_confluents_serializer_writes_is_read_after_its_id(producer: Producer) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Payment",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "user": {"type": "object"}},
    }
    rows = [{"id": n, "user": {"country": "NZ"}} for n in range(3)]
    raws = producer.write("json-value", schema, rows, kind="JSON")
    decoder = make_decoder(CONTRACT, 10_000, FormatParams("json_schema"))
    bad = [b'{"id": 1}', raws[0][:5], raws[0][:-1], None, b"", b"\0\0"]
    decoded = decode_batch(decoder, [*raws, *bad])
    assert decoded.table.to_pylist() == [{"id": n, "amount": None, "country": "NZ"} for n in range(3)]
    reasons = [decoded.problems[3 + i].reason for i in range(len(bad))]
    assert reasons == ["not_framed", "empty", "not_json", "tombstone", "empty", "not_framed"]
    plain = decode_batch(make_decoder(CONTRACT, 10_000, FormatParams()), [raw[5:] for raw in raws])
    assert decoded.table == plain.table


def test_protobuf_that_confluents_serializer_writes_is_read(registry: Registry, producer: Producer) -> None:
    rows = [
        {"id": str(n), "user": {"country": "NZ"}, **({"amount": n / 2} if n % 2 else {})} for n in range(40)
    ]
    raws = producer.write("protobuf-value", PAYMENT, rows, kind="PROTOBUF", message="shop.Payment")
    written = FormatParams("protobuf", registry=RegistryParams(registry.url))
    decoded = decode_batch(make_decoder(CONTRACT, 10_000, written), [*raws, raws[1][:-1]])
    assert decoded.problems[40].reason == "not_protobuf"
    assert decoded.table.to_pylist() == [
        {"id": n, "amount": n / 2 if n % 2 else None, "country": "NZ"} for n in range(40)
    ]


JOB = """
job: avro
source:
  topic: payments
  format: avro
  schema_registry: {url: "URL", wait: 1s}
  schema:
    id: {type: long, required: true}
    amount: {type: double, required: true}
    country: {type: string, field: user.country}
features: FEATURES
model: {name: m, registry: models, inputs: {x: mean}}
predictions: {include: [id, country]}
runtime: {checkpoint: {interval: 1s}}
"""
FEATURES = "{windows: {w: {by: country, over: 1h, select: {mean: avg(amount)}}}}"


def test_a_job_scores_records_of_changing_schemas_and_keeps_the_bytes_of_others(
    broker: Broker, kafka: ClientSettings, registry: Registry, producer: Producer, tmp_path: Path
) -> None:
    write_model(tmp_path / "models", "m", "x")
    subject = "changing-value"
    first = producer.write(
        subject, FIRST, [{"id": n, "amount": 1.5, "user": {"country": "NZ"}} for n in range(10)]
    )
    second = producer.write(
        subject,
        SECOND,
        [{"id": 100 + n, "amount": 0.5, "user": {"country": "CH"}, "note": ""} for n in range(10)],
    )
    (wrong,) = producer.write(subject, WRONG, [{"id": "a"}])
    unknown = b"\0" + (4_000).to_bytes(4, "big") + first[0][5:]
    bad = [wrong, unknown, first[0][:-2], b'{"id": 1}', None]
    rows = [
        Message(value, b"k", (), 1_767_225_600_000 + i, 0) for i, value in enumerate([*first, *bad, *second])
    ]
    job = JOB.replace("URL", registry.url).replace("FEATURES", FEATURES)
    results = JobHarness(broker).run(job, rows, base=tmp_path)
    assert results.accounts() == {"read": 25, "predicted": 20, "dead": 5, "late": 0}
    scored = sorted((each.json["id"], each.json["country"]) for each in results.predictions)
    assert scored == [*((n, "NZ") for n in range(10)), *((100 + n, "CH") for n in range(10))]
    dead = list(read_topic(kafka, results.job.dead_letters.topic))
    reason: Callable[[Any], str] = lambda each: dict(each.headers)["tailrace.reason"].decode()  # noqa: E731
    assert {(reason(each), each.value) for each in dead} == {
        ("schema_incompatible", wrong),
        ("schema_unknown", unknown),
        ("not_avro", first[0][:-2]),
        ("not_framed", b'{"id": 1}'),
        ("tombstone", None),
    }
