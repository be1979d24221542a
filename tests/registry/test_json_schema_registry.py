"""JSON as Confluent's JSONSerializer writes it: held to the registry's schemas, and in a job with all types.

The adversaries are a producer that checks nothing before it writes, and one whose schema refers to another.
What is valid says jsonschema; what was written, Confluent's own deserializer reads.
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from jsonschema import Draft7Validator

from flink_jobs.kafka import Message
from flink_jobs.testing import Broker, JobHarness
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry
from udfs.profile.profile import reference_profile
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.records.registry_params import RegistryParams

NOW = 1_767_225_600_000
HOUR = 3_600_000
CONTRACT = Contract(
    (Field("id", "long", required=True), Field("country", "string", path=("user", "country")))
)
USER = {"type": "object", "properties": {"country": {"type": "string", "maxLength": 2}}}
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Payment",
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 0}, "user": USER},
    "required": ["id"],
}
AVRO = {"type": "record", "name": "Payment", "fields": [{"name": "id", "type": "long"}]}


def framed(raw: bytes, value: Any) -> bytes:
    """The value behind the id of another record, which nobody has checked."""
    return raw[:5] + json.dumps(value).encode()


def test_the_schema_of_each_records_id_must_hold(registry: Registry, producer: Producer) -> None:
    rows = [{"id": n, "user": {"country": "NZ"}} for n in range(20)]
    raws = producer.write("held-value", SCHEMA, rows, kind="JSON")
    assert producer.read("held", raws, "JSON") == rows
    loose = producer.write("held-value", {**SCHEMA, "properties": {}}, [{"id": -1}], kind="JSON")
    others = [
        {"id": -1},
        {"id": 1, "user": {"country": "NZL"}},
        {"id": 2, "user": {}},
        {"id": 3, "user": None},
    ]
    given = [*raws, *loose, *(framed(raws[0], value) for value in others)]
    written = FormatParams("json_schema", registry=RegistryParams(registry.url))
    decoder = make_decoder(CONTRACT, 10_000, written)
    decoded = decode_batch(decoder, given)
    valid = [Draft7Validator(SCHEMA).is_valid(value) for value in others]
    assert valid == [False, False, True, False]
    assert decoded.rows.tolist() == [*range(21), *(21 + n for n in range(4) if valid[n])]
    number = int.from_bytes(raws[0][1:5], "big")
    assert {place: each.message for place, each in decoded.problems.items()} == {
        21: f"schema {number}: properties/id/minimum of the JSON Schema does not hold",
        22: f"schema {number}: properties/user/properties/country/maxLength of the JSON Schema does not hold",
        24: f"schema {number}: properties/user/type of the JSON Schema does not hold",
    }
    for place, raw in enumerate(given):
        alone = decode_batch(decoder, [raw])
        assert alone.problems.get(0) == decoded.problems.get(place)
    unknown = b"\0" + (4_000).to_bytes(4, "big") + raws[0][5:]
    avro = producer.write("held-avro-value", AVRO, [{"id": 1}])[0][:5] + raws[0][5:]
    assert [each.reason for each in decode_batch(decoder, [unknown, avro]).problems.values()] == [
        "schema_unknown",
        "schema_incompatible",
    ]


def test_schemas_that_refer_to_others_hold(registry: Registry, producer: Producer) -> None:
    producer.write("user", {"$schema": SCHEMA["$schema"], **USER}, [], kind="JSON")
    schema = {**SCHEMA, "properties": {"id": {}, "user": {"$ref": "user.json"}}}
    (raw,) = producer.write(
        "referring-json-value",
        schema,
        [{"id": 1, "user": {"country": "CH"}}],
        [("user.json", "user", 1)],
        "JSON",
    )
    written = FormatParams("json_schema", registry=RegistryParams(registry.url))
    bad = framed(raw, {"id": 1, "user": {"country": "CHE"}})
    decoded = decode_batch(make_decoder(CONTRACT, 10_000, written), [raw, bad])
    assert decoded.table.to_pylist() == [{"id": 1, "country": "CH"}]
    assert decoded.problems[1].reason == "schema"


JOB = """
job: typed
source:
  topic: payments
  format: json_schema
  schema_registry: {url: "URL", wait: 1s}
  schema:
    id: {type: long, required: true}
    price: {type: "decimal(12, 2)", range: [0, null]}
    receipt: {type: bytes, length: [1, 8]}
    rates: map<string, double>
    items: "list<{sku: string, qty: long}>"
    emb: {type: "vector<float, 3>", required: true}
features:
  derive:
    eur: "COALESCE(rates['eur'], 0)"
    many: "SUM(items.qty)"
model: {name: m, registry: models, inputs: {x: eur}}
predictions: {format: json_schema, include: [id, price, receipt, eur, many]}
drift: {window: 1h}
runtime: {checkpoint: {interval: 1s}}
"""
TYPED = {
    "$schema": SCHEMA["$schema"],
    "title": "Typed",
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "price": {"type": "string"},
        "receipt": {"type": "string"},
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "items": {"type": "array", "items": {"type": "object"}, "maxItems": 3},
        "emb": {"type": "array", "items": {"type": "number"}},
    },
}
ROWS, LAST = 600, 1_190
VECTORS = np.random.default_rng(14).normal((2.0, 0.0, 0.0), size=(2 * ROWS, 3))
VECTORS[ROWS:] *= -1  # as long as before, and elsewhere


def row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "price": f"{number}.5",
        "receipt": base64.b64encode(number.to_bytes(2, "big")).decode(),
        "rates": {"eur": number / 4, "chf": 1.0},
        "items": [{"sku": "a", "qty": number}, {"sku": "b", "qty": 1}],
        "emb": VECTORS[number].tolist(),
    }


def test_decimals_bytes_maps_lists_and_vectors_pass_a_job(
    broker: Broker, registry: Registry, producer: Producer, tmp_path: Path
) -> None:
    names = [f"emb_{n}" for n in range(3)]
    reference = pa.table({"x": np.arange(ROWS) / 4} | dict(zip(names, VECTORS[:ROWS].T, strict=True)))
    profile = reference_profile(reference, vectors=["emb"])
    write_model(tmp_path / "models", "m", "x", *names, profile=profile)
    raws = producer.write("typed-value", TYPED, [row(n) for n in range(2 * ROWS)], kind="JSON")
    bad = {
        "schema": framed(raws[0], {**row(0), "items": [{"sku": "a", "qty": 1}] * 4}),
        "wrong_type": framed(raws[0], {**row(0), "price": "1.555"}),
        "wrong_length": framed(raws[0], {**row(0), "receipt": ""}),
        "not_framed": raws[0][5:],
        "out_of_range": framed(raws[0], {**row(0), "price": "-1"}),
    }
    # A last window that is not whole is not judged.
    times = [NOW + ((n >= ROWS) + (n >= LAST)) * HOUR for n in range(2 * ROWS)]
    sent = [Message(raw, b"k", (), time, 0) for raw, time in zip(raws, times, strict=True)]
    broken = [Message(raw, b"k", (), NOW, 0) for raw in bad.values()]
    results = JobHarness(broker).run(JOB.replace("URL", registry.url), [*broken, *sent], base=tmp_path)
    assert results.accounts() == {"read": 2 * ROWS + 5, "predicted": 2 * ROWS, "dead": 5, "late": 0}
    assert {(each.reason, each.value) for each in results.dead_letters} == set(bad.items())
    raws = [each.value or b"" for each in results.predictions]
    assert producer.read(results.job.predictions.topic, raws, "JSON") == [
        each.json for each in results.predictions
    ]
    for each in results.predictions:
        found, wanted = each.json, row(each.json["id"])
        assert Decimal(found["price"]) == Decimal(wanted["price"])
        assert found["price"].endswith(".50"), "a decimal has its scale"
        assert found["receipt"] == wanted["receipt"]
        assert (found["eur"], found["many"]) == (wanted["rates"]["eur"], wanted["id"] + 1)
    reports = sorted(
        (json.loads(each.value or b"") for each in results.drift), key=lambda each: each["window"]["start"]
    )
    verdicts = [{each["name"]: each["verdict"] for each in report["columns"]} for report in reports[:2]]
    assert [(each["emb.norm"], each["emb.distance"]) for each in verdicts] == [("ok", "ok"), ("ok", "drift")]
    centre = VECTORS[:ROWS].mean(axis=0)
    far = np.linalg.norm(VECTORS[ROWS:LAST] - centre, axis=1)
    (told,) = (each for each in reports[1]["columns"] if each["name"] == "emb.distance")
    assert told["mean"] == pytest.approx(far.mean(), rel=1e-4)
