"""`tailrace receipt` against a prediction that somebody changed, a release since, and jobs it cannot serve.

What the prediction has to be is said by the estimator itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.cli import receipt as command
from flink_jobs.errors import InputError, TailraceError, WorkError
from flink_jobs.kafka import Record
from tests.helpers.samples import write_model
from udfs.model.manifest import digest
from udfs.records.schema_registry import Schema, SchemaRegistry

NOON = 1_767_268_800_000
JOB = """
job: rides
source:
  topic: rides
  event_time: {field: at, unit: ms}
  schema: {at: {type: long, required: true}, id: long, x: {type: double, required: true}}
model: {name: m, registry: models}
predictions: {include: [id]}
"""
RECORD = Record(json.dumps({"at": NOON, "id": 7, "x": 2.5}).encode(), b"k", [], 1, 17, NOON + 5)


class Rides:
    """A job file, a record, and what the topic of predictions holds."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.file = folder / "job.yaml"
        self.file.write_text(JOB)
        self.manifest = write_model(folder / "models", "m", "x")
        self.predictions: list[bytes] = []
        self.record: Record | None = RECORD
        patch.setattr(command, "read_record", lambda *_: self.record)
        patch.setattr(
            command, "read_topic", lambda *_: [Record(each, None, [], 0, 0, 0) for each in self.predictions]
        )

    def score(self) -> float:
        """As the helper fits it."""
        model = LogisticRegression().fit(np.array([[-1.0], [1.0]]), [False, True])
        return float(model.predict_proba(np.array([[2.5]]))[0, 1])

    def run(self) -> tuple[int, Any]:
        done = CliRunner().invoke(app, ["receipt", str(self.file), "1", "17", "--json"])
        if isinstance(done.exception, TailraceError):
            raise done.exception
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def rides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rides:
    return Rides(tmp_path, monkeypatch)


def recorded(rides: Rides, **changed: object) -> bytes:
    told = {
        "id": 7,
        "prediction": True,
        "score": rides.score(),
        "partition": 1,
        "offset": 17,
        "event_time": "2026-01-01T12:00:00.000Z",
        "model": "m",
        "version": 1,
        "digest": digest(rides.manifest),
        "release": 1,
        "topic": "rides",
    }
    return json.dumps({**told, **changed}, separators=(",", ":")).encode()


def test_the_same_bytes_are_the_same(rides: Rides) -> None:
    rides.predictions = [b"oops", recorded(rides, offset=16), recorded(rides)]
    status, told = rides.run()
    assert (status, told["same"], told["differences"], told["version"]) == (0, True, [], 1)


def test_a_prediction_that_was_changed_is_told(rides: Rides) -> None:
    rides.predictions = [recorded(rides, score=0.5, id=8)]
    status, told = rides.run()
    assert status == WorkError.exit_code
    assert {each["field"] for each in told["differences"]} == {"score", "id"}


def test_the_version_is_the_recorded_one_also_when_the_job_has_another_now(rides: Rides) -> None:
    rides.predictions = [recorded(rides)]
    write_model(rides.file.parent / "models", "m", "x")
    rides.file.write_text(JOB.replace("registry: models", "registry: models, use: 2"))
    status, told = rides.run()
    assert (status, told["same"], told["differences"]) == (0, False, [])


def test_what_is_not_there_or_not_alone_is_said(rides: Rides) -> None:
    with pytest.raises(InputError, match="no prediction of rides 1:17"):
        rides.run()
    rides.record = None
    with pytest.raises(InputError, match="no record at 1:17"):
        rides.run()
    windows = "features: {windows: {w: {by: id, over: 1h, select: {n: count(*)}}}}\n"
    rides.file.write_text(JOB + windows)
    with pytest.raises(InputError, match="of more than its record"):
        rides.run()


AVRO = {
    "type": "record",
    "name": "ride",
    "fields": [{"name": "id", "type": "long"}, {"name": "x", "type": "double"}],
}
TOLD = {
    "id": ["null", "long"],
    "prediction": ["null", "boolean"],
    "score": ["null", "double"],
    "partition": "long",
    "offset": "long",
    "event_time": {"type": "long", "logicalType": "timestamp-millis"},
    "model": "string",
    "version": "long",
    "digest": "string",
    "release": ["null", "long"],
    "topic": "string",
}


def in_avro(schema: Any, record: Mapping[str, object], head: bytes = b"") -> bytes:
    """As fastavro writes it."""
    file = io.BytesIO(head)
    file.seek(len(head))
    fastavro.schemaless_writer(file, fastavro.parse_schema(schema), dict(record))
    return file.getvalue()


def test_avro_in_and_out_has_receipts(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record's schema is a file, its event time a header; predictions have the id of the registry's."""
    fields = [{"name": name, "type": kind} for name, kind in TOLD.items()]
    told = {"type": "record", "name": "Prediction", "namespace": "tailrace", "fields": fields}
    monkeypatch.setattr(SchemaRegistry, "by_id", lambda self, number: {41: Schema(json.dumps(told))}[number])
    (rides.file.parent / "ride.avsc").write_text(json.dumps(AVRO))
    job = JOB.replace("{field: at, unit: ms}", "{header: at, unit: ms}").replace(
        "schema: {at: {type: long, required: true}, id: long,",
        "format: avro\n  schema_file: ride.avsc\n  schema: {id: long,",
    )
    out = 'predictions: {format: avro, schema_registry: {url: "http://registry.example.org"}, '
    rides.file.write_text(job.replace("predictions: {", out))
    rides.record = Record(
        in_avro(AVRO, {"id": 7, "x": 2.5}), None, [("at", str(NOON).encode())], 1, 17, NOON + 5
    )
    made = json.loads(recorded(rides)) | {"event_time": datetime(2026, 1, 1, 12, tzinfo=UTC)}
    head = b"\x00" + (41).to_bytes(4, "big")
    rides.predictions = [
        b"oops",
        head,
        in_avro(told, {**made, "offset": 16}, head),
        in_avro(told, made, head),
    ]
    status, found = rides.run()
    assert (status, found["same"], found["version"]) == (0, True, 1)
    rides.predictions = [in_avro(told, {**made, "score": 0.5}, head)]
    status, found = rides.run()
    assert status == WorkError.exit_code
    [difference] = found["differences"]
    assert difference == {"field": "score", "recorded": 0.5, "now": rides.score()}


def test_columns_of_keys_and_headers_have_receipts(rides: Rides) -> None:
    beside = (
        "  headers: {tenant: {type: string, required: true}}\n  key: {format: text, fields: {who: string}}\n"
    )
    text = JOB.replace("model:", f"{beside}model:").replace("include: [id]", "include: [id, tenant, who]")
    rides.file.write_text(text)
    rides.record = Record(RECORD.value, b"k", [("tenant", b"acme")], 1, 17, NOON + 5)
    now = json.loads(recorded(rides))
    both = {"id": now.pop("id"), "tenant": "acme", "who": "k", **now}
    rides.predictions = [json.dumps(both, separators=(",", ":")).encode()]
    assert (rides.run()[0], rides.run()[1]["same"]) == (0, True)
