"""Debezium's change events in Avro: from a schema in a registry to a job's rows, as its converter writes.

The schema has the form that Kafka Connect's AvroConverter registers for Debezium's connector of PostgreSQL:
`before` and `after` of one named record, structs within rows, `connect.*` properties, and a block of the
transaction. Confluent's serializer writes the events. The adversaries are a table that is altered while a job
runs, and deletes among other changes.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.params import source_params
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry
from udfs.records.decode import Decoded, decode_batch
from udfs.records.formats import make_decoder
from udfs.records.personal import PrivacyParams

SERVER = "shop.inventory.orders"
POINT = {
    "type": "record",
    "name": "Point",
    "namespace": "io.debezium.data.geometry",
    "fields": [
        {"name": "x", "type": "double"},
        {"name": "y", "type": "double"},
        {"name": "wkb", "type": ["null", "bytes"], "default": None},
        {"name": "srid", "type": ["null", "int"], "default": None},
    ],
    "connect.doc": "Geometry (POINT)",
    "connect.name": "io.debezium.data.geometry.Point",
}
MICROS = {"type": "long", "connect.version": 1, "connect.name": "io.debezium.time.MicroTimestamp"}
VALUE = {
    "type": "record",
    "name": "Value",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "created_at", "type": {**MICROS, "connect.default": 0}, "default": 0},
        {"name": "place", "type": ["null", POINT], "default": None},
        {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}], "default": None},
    ],
    "connect.name": f"{SERVER}.Value",
}
SNAPSHOT = {
    "type": "string",
    "connect.version": 1,
    "connect.parameters": {"allowed": "true,first,first_in_data_collection,last,false,incremental"},
    "connect.default": "false",
    "connect.name": "io.debezium.data.Enum",
}
SOURCE = {
    "type": "record",
    "name": "Source",
    "namespace": "io.debezium.connector.postgresql",
    "fields": [
        *({"name": name, "type": "string"} for name in ("version", "connector", "name")),
        {"name": "ts_ms", "type": "long"},
        {"name": "snapshot", "type": [SNAPSHOT, "null"], "default": "false"},
        *({"name": name, "type": "string"} for name in ("db", "schema", "table")),
        {"name": "lsn", "type": ["null", "long"], "default": None},
    ],
    "connect.name": "io.debezium.connector.postgresql.Source",
}
BLOCK = {
    "type": "record",
    "name": "block",
    "namespace": "event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "total_order", "type": "long"},
        {"name": "data_collection_order", "type": "long"},
    ],
    "connect.version": 1,
    "connect.name": "event.block",
}
ENVELOPE: dict[str, Any] = {
    "type": "record",
    "name": "Envelope",
    "namespace": SERVER,
    "fields": [
        {"name": "before", "type": ["null", VALUE], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "source", "type": SOURCE},
        {"name": "transaction", "type": ["null", BLOCK], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
    "connect.version": 2,
    "connect.name": f"{SERVER}.Envelope",
}
ORIGIN = {
    "version": "2.7.0.Final",
    "connector": "postgresql",
    "name": "shop",
    "ts_ms": 1,
    "snapshot": "false",
}
ORIGIN |= {"db": "shop", "schema": "inventory", "table": "orders", "lsn": 7}
REST = """\
job: paid
features: {derive: {many: CARDINALITY(tags)}}
model: {name: m, registry: models, inputs: {x: amount}}
"""
IMPORTED = """\
  envelope:
    kind: debezium
    fields:
      op: {type: string, required: true}
      ts_ms: long
  schema:
    id: {type: long, required: true}
    amount: double
    created_at: {type: long, required: true}
    place_x: {type: double, field: place.x}
    place_y: {type: double, field: place.y}
    place_wkb: {type: "bytes", field: place.wkb}
    place_srid: {type: long, field: place.srid}
    tags: "list<string>"
"""


def row(number: int, **more: Any) -> dict[str, Any]:
    place = {"x": 1.5, "y": -2.0, "wkb": None, "srid": 4326} if number % 2 else None
    return {"id": number, "amount": number / 2, "created_at": 10**15, "place": place, "tags": ["a"], **more}


def change(op: str, before: Any, after: Any) -> dict[str, Any]:
    block = {"id": "571", "total_order": 1, "data_collection_order": 1}
    return {
        "before": before,
        "after": after,
        "source": ORIGIN,
        "transaction": block if op == "u" else None,
        "op": op,
        "ts_ms": 1_767_225_600_000,
    }


def altered() -> dict[str, Any]:
    """The table with a column more, in front of the others, and an amount that is no longer optional."""
    changed = deepcopy(ENVELOPE)
    fields = changed["fields"][0]["type"][1]["fields"]
    fields[1] = {"name": "amount", "type": "double"}
    fields.insert(0, {"name": "note", "type": "string", "default": ""})
    return changed


def decoded(folder: Path, text: str, raws: list[bytes | None]) -> Decoded:
    params = source_params(load_job_text(text, "job.yaml", folder), PrivacyParams())
    return decode_batch(make_decoder(params.contract, params.max_bytes, params.written), raws)


def test_changes_of_a_table_are_rows_from_import_on(
    registry: Registry, producer: Producer, tmp_path: Path
) -> None:
    subject = f"{SERVER}-value"
    first = [change("r", None, row(n)) for n in range(5)]
    first += [change("u", row(n), row(n, amount=9.0)) for n in range(5)]
    first += [change("d", row(3), None), change("t", None, None)]
    raws = producer.write(subject, ENVELOPE, first)
    imported = CliRunner().invoke(app, ["schema", "import", subject, "--registry", registry.url])
    assert imported.exit_code == 0, imported.output
    assert imported.output.endswith(IMPORTED)
    assert f'topic: "{SERVER}"' in imported.output
    later = producer.write(subject, altered(), [change("c", None, row(n, note="x")) for n in (7, 8)])

    text = imported.output.replace("amount: double", "amount: {type: double, required: true}") + REST
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "job.yaml").write_text(text)
    checked = CliRunner().invoke(app, ["validate", "--registry", str(tmp_path / "job.yaml")])
    assert checked.exit_code == 0, checked.output
    assert "version 2" in checked.output

    got = decoded(tmp_path, text, [*raws, None, *later])
    reasons = {place: problem.reason for place, problem in got.problems.items()}
    assert reasons == {10: "deleted", 11: "not_an_envelope", 12: "tombstone"}
    rows = got.table.to_pylist()
    assert [each["id"] for each in rows] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 7, 8]
    assert [each["op"] for each in rows] == [*"rrrrruuuuucc"]
    assert rows[6] == {
        "op": "u",
        "ts_ms": 1_767_225_600_000,
        "id": 1,
        "amount": 9.0,
        "created_at": 10**15,
        "place_x": 1.5,
        "place_y": -2.0,
        "place_wkb": None,
        "place_srid": 4326,
        "tags": ["a"],
    }
    assert (rows[0]["amount"], rows[0]["place_x"]) == (0.0, None)

    kept = decoded(tmp_path, text.replace("debezium\n", "debezium\n    deletes: before\n"), [*raws[10:11]])
    assert [each["id"] for each in kept.table.to_pylist()] == [3]
