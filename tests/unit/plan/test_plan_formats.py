"""A job and the Avro schema beside it: what does not fit is told before anything starts, with its place.

The adversaries are a schema that has changed, one that is none, and a worker that must start fast.
"""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import fastavro
import pytest

from flink_jobs.plan.formats import contract_of
from flink_jobs.plan.params import source_params
from flink_jobs.plan.validate import validated_plan
from tests.helpers.diagnosed import diagnosed
from tests.helpers.samples import write_model
from udfs.records.decode import decode_batch
from udfs.records.event_time import explain_event_time
from udfs.records.formats import make_decoder
from udfs.records.personal import PrivacyParams

JOB = """\
job: rides
source:
  topic: rides
  format: avro
  schema_file: rides.avsc
  schema:
    km: {type: double, required: true}
    city: {type: string, field: rider.city}
model: {name: m, registry: models, inputs: {x: km}}
"""
ENVELOPED_JSON = """\
json
  envelope: {kind: debezium, fields: {at: {type: long, required: true, field: ts_ms}}}
  event_time: {field: at}"""
EVENTS = """\
json
  envelope: {kind: cloudevents, fields: {time: {type: string, required: true}}}
  event_time: {field: time, unit: iso8601}"""
RIDER = {"type": "record", "name": "Rider", "fields": [{"name": "city", "type": ["null", "string"]}]}
SCHEMA = {
    "type": "record",
    "name": "Ride",
    "fields": [{"name": "km", "type": "float"}, {"name": "rider", "type": RIDER}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "rides.avsc").write_text(json.dumps(SCHEMA))
    return tmp_path


def problems(folder: Path, text: str = JOB) -> list[str]:
    return diagnosed(folder, text)


def test_a_job_whose_schema_has_all_its_fields_is_planned(folder: Path) -> None:
    assert problems(folder) == []
    plan = validated_plan(folder / "job.yaml")
    assert plan.columns["city"].type == "string"
    written = pickle.loads(pickle.dumps(source_params(plan.job, PrivacyParams()))).written
    assert (written.name, json.loads(written.schema), written.registry) == ("avro", SCHEMA, None)


def test_fields_that_the_schema_does_not_have_are_told_with_their_lines(folder: Path) -> None:
    text = JOB.replace("km: {type: double", "km: {type: long").replace("rider.city", "rider.town")
    text = text.replace("    city:", "    ridr: string\n    city:").replace("{x: km}", "{x: dist}")
    text = text.replace(
        "km: {type: long", "dist: {type: double, required: true, field: km}\n    km: {type: long"
    )
    assert problems(folder, text) == [
        "8:10: source.schema.km.type: must be a type that the Avro schema has there; "
        "got $.km: expected long, the writer has float",
        "9:5: source.schema.ridr: must be a field of the Avro schema (km, rider); "
        "got $.ridr; did you mean 'rider'?",
        "10:5: source.schema.city: must be a field of the Avro schema (km, rider); got $.rider.town",
    ]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (None, "a readable file; got /rides.avsc (No such file or directory)"),
        (b"\xff", "a readable file; got /rides.avsc (not UTF-8 text)"),
        (b"{", "a file with an Avro schema; got /rides.avsc, which is not JSON"),
        (
            b'{"type": "array", "items": "null"}',
            "a file with an Avro schema; got /rides.avsc, which has an array",
        ),
    ],
)
def test_a_schema_file_that_is_none_is_told(folder: Path, written: bytes | None, problem: str) -> None:
    (folder / "rides.avsc").unlink()
    if written is not None:
        (folder / "rides.avsc").write_bytes(written)
    (found,) = problems(folder)
    assert found.startswith(f"5:3: source.schema_file: must be {problem}")


JSON_SCHEMA = {
    "$defs": {"rider": {"properties": {"city": {"type": "string"}}, "additionalProperties": False}},
    "properties": {"km": {"type": "number"}, "rider": {"$ref": "#/$defs/rider"}},
}


def test_a_json_schema_is_read_and_fields_that_it_does_not_have_are_told(folder: Path) -> None:
    (folder / "rides.json").write_text(json.dumps(JSON_SCHEMA))
    text = JOB.replace("avro\n  schema_file: rides.avsc", "json_schema\n  schema_file: rides.json")
    assert problems(folder, text) == []
    written = source_params(validated_plan(folder / "job.yaml").job, PrivacyParams()).written
    assert written.schema
    assert (written.name, json.loads(written.schema), written.registry) == ("json_schema", JSON_SCHEMA, None)
    wrong = text.replace("    km:", "    kn: boolean\n    km:").replace("rider.city", "rider.town")
    wrong = wrong.replace("    kn:", "    far: {type: boolean, field: km}\n    kn:")
    assert problems(folder, wrong) == [
        "7:11: source.schema.far.type: must be a type that the JSON Schema has there; "
        "got $.km: expected boolean, it has number",
        "8:5: source.schema.kn: must be a field of the JSON Schema (km, rider); got $.kn",
        "10:5: source.schema.city: must be a field of the JSON Schema (km, rider); got $.rider.town",
    ]
    (folder / "rides.json").write_text('{"items": {"$ref": "other.json"}}')
    (found,) = problems(folder, text)
    assert found.endswith("a JSON Schema; got /rides.json, which refers to other.json, which is not in it")


def test_the_event_time_of_json_of_a_schema_is_read_by_flink(folder: Path) -> None:
    text = JOB.replace("avro\n  schema_file: rides.avsc", "json_schema\n  schema_file: rides.json")
    timed = text.replace(
        "  schema:\n", "  event_time: {field: at}\n  schema:\n    at: {type: long, required: true}\n"
    )
    (folder / "rides.json").write_text(json.dumps(JSON_SCHEMA))
    (found,) = problems(folder, timed)
    assert found.endswith("must be a field of the JSON Schema (km, rider); got $.at")
    (folder / "rides.json").write_text("{}")
    assert problems(folder, timed) == []
    assert "JSON_VALUE(CAST(_value AS STRING), '$.at')" in validated_plan(folder / "job.yaml").tables[0].ddl()


def test_avro_of_one_schema_is_read_without_registry_and_header(folder: Path) -> None:
    problems(folder)
    written = source_params(validated_plan(folder / "job.yaml").job, PrivacyParams()).written
    rows = [{"km": 1.5, "rider": {"city": "Ōtaki"}}, {"km": -0.25, "rider": {"city": None}}]
    raws = []
    for row in rows:
        raw = io.BytesIO()
        fastavro.schemaless_writer(raw, fastavro.parse_schema(SCHEMA), row)
        raws.append(raw.getvalue())
    contract = contract_of(validated_plan(folder / "job.yaml").job.source)
    decoded = decode_batch(make_decoder(contract, 1000, written), [*raws, b"\0\0\0\0\7" + raws[0]])
    assert decoded.table.to_pylist() == [{"km": 1.5, "city": "Ōtaki"}, {"km": -0.25, "city": None}]
    assert [problem.reason for problem in decoded.problems.values()] == ["not_avro"]


def test_certificates_of_the_registry_are_read_before_the_start(folder: Path) -> None:
    access = "schema_registry: {url: 'https://r', ca_file: nothing.pem}"
    (found,) = problems(folder, JOB.replace("schema_file: rides.avsc", access))
    assert found.startswith("5:3: source.schema_registry: must be readable PEM files; got ")


def test_the_event_time_of_a_json_record_is_read_at_its_path(folder: Path) -> None:
    text = JOB.replace("avro\n  schema_file: rides.avsc", "json\n  event_time: {field: at}")
    assert (
        problems(
            folder, text.replace("    km:", "    at: {type: long, field: meta.at, required: true}\n    km:")
        )
        == []
    )
    plan = validated_plan(folder / "job.yaml")
    assert "JSON_VALUE(CAST(_value AS STRING), '$.meta.at')" in plan.tables[0].ddl()
    where = source_params(plan.job, PrivacyParams()).event_time
    assert where is not None
    problem = explain_event_time(where, {"at": "soon"}, 0)
    assert problem.message == "$.meta.at: expected a time in ms"


def test_fields_and_event_time_are_looked_for_in_the_envelope(folder: Path) -> None:
    row = {"type": "record", "name": "Row", "fields": [{"name": "km", "type": "float"}]}
    change = [{"name": "after", "type": ["null", row]}, {"name": "op", "type": "string"}]
    (folder / "rides.avsc").write_text(json.dumps({"type": "record", "name": "Change", "fields": change}))
    enveloped = JOB.replace("  format: avro\n", "  format: avro\n  envelope: debezium\n")
    (found,) = problems(folder, enveloped)
    assert found.endswith("must be a field of the Avro schema (after, op); got $.after.rider.city")
    text = enveloped.replace("    city: {type: string, field: rider.city}\n", "")
    assert problems(folder, text) == []
    written = source_params(validated_plan(folder / "job.yaml").job, PrivacyParams()).written
    assert written.envelope is not None
    timed = text.replace("avro\n  envelope: debezium\n  schema_file: rides.avsc", ENVELOPED_JSON)
    assert problems(folder, timed) == []
    ddl = validated_plan(folder / "job.yaml").tables[0].ddl()
    value = "JSON_VALUE(CAST(_value AS STRING), "
    assert f"COALESCE({value}'$.ts_ms'), {value}'$.payload.ts_ms'))" in ddl


def test_workers_of_events_get_their_headers_and_flink_their_time(folder: Path) -> None:
    assert problems(folder, JOB.replace("avro\n  schema_file: rides.avsc", EVENTS)) == []
    plan = validated_plan(folder / "job.yaml")
    call = str(plan.views.views["scored"])
    headers = ("content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time")
    assert ", ".join(f"_headers['{name}']" for name in headers) in call
    ddl = plan.tables[0].ddl()
    assert "LIKE 'application/cloudevents%' THEN JSON_VALUE(CAST(_value AS STRING), '$.time')" in ddl
    assert "ELSE CAST(_headers['ce_time'] AS STRING) END" in ddl
