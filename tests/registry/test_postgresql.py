"""Tables of a real PostgreSQL: read as lookups, and as a real Debezium writes their changes to Kafka.

The adversaries are a table that changes while it is read, one whose rows are deleted and whose keys are
renamed, and envelopes that none of us has written. What is expected is what PostgreSQL says of its table.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, Record, create_topics, read_topic
from flink_jobs.plan import make_feature_plan
from flink_jobs.system.jars import PROJECT
from tests.helpers.postgresql import Debezium, PostgreSQL, wait_until
from udfs.features.lookup_database import DatabaseParams, DatabaseTable, read_database
from udfs.features.lookup_file import LookupTableError
from udfs.records.contract import Contract, Field
from udfs.records.debezium import EnvelopeParams
from udfs.records.decode import decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.scoring.changes import ChangesReader
from udfs.windows.blobs import from_bytes
from udfs.windows.table_stage import CHANGES
from udfs.windows.versions import Versions, change_schema

DRIVER = PROJECT / ".venv-registry" / "lib" / "python3.11" / "site-packages"
COLUMNS = {"tier": "tier", "credit": "credit", "active": "active", "seen": "seen", "limit": "Limit"}
TYPES: Mapping[str, Any] = {
    "tier": "string", "credit": "double", "active": "boolean", "seen": "timestamp", "limit": "long",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as running:
        running.run(
            "CREATE TABLE cards (id text PRIMARY KEY, tier text, credit numeric(12, 2), active boolean, "
            'seen timestamptz, "Limit" bigint)'
        )
        yield running


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the extra `postgresql`, which .venv has not."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(DRIVER)])


def params(server: PostgreSQL, **changes: Any) -> DatabaseParams:
    given = {"host": "127.0.0.1", "port": server.port, "name": "postgres", "username": "tailrace"}
    return DatabaseParams(**{**given, "table": "cards", "every_ms": 1000, **changes})


@pytest.mark.usefixtures("driver")
def test_a_table_is_read_as_it_is_and_read_only(server: PostgreSQL) -> None:
    server.run(
        "INSERT INTO cards VALUES ('a', 'gold', 12.50, true, '2026-01-02T03:04:05Z', 9007199254740993), "
        "('b', NULL, NULL, NULL, NULL, NULL)"
    )
    found = pa.table(read_database(params(server), "id", COLUMNS, TYPES).columns).to_pylist()
    assert [each["tier"] for each in found] == ["gold", None]
    assert (found[0]["credit"], found[0]["active"], found[0]["limit"]) == (12.5, True, 9007199254740993)
    assert found[0]["seen"].isoformat() == "2026-01-02T03:04:05+00:00"
    wrong = {
        "DELETE FROM cards RETURNING *": "query",
        "SELECT * FROM cards; DELETE FROM cards": "query",
        "SELECT pg_sleep(0), nothing FROM cards": "query",
    }
    for query, part in wrong.items():
        with pytest.raises(LookupTableError) as refused:
            read_database(params(server, table=None, query=query), "id", COLUMNS, TYPES)
        assert refused.value.part == part
    assert server.run("SELECT count(*) FROM cards") == [["2"]]
    with pytest.raises(LookupTableError, match="a database that answers"):
        read_database(params(server, port=9), "id", COLUMNS, TYPES)
    by_query = params(server, table=None, query="SELECT upper(id) AS id, tier FROM cards WHERE active")
    assert read_database(by_query, "id", {"tier": "tier"}, {"tier": "string"}).keys.to_pylist() == ["A"]
    server.run("DELETE FROM cards")


JOB = """
job: a
source: {topic: in, schema: {card: {type: string, required: true}}}
features:
  lookups:
    cards:
      topic: cards
      by: card
      key: id
      envelope: debezium
      event_time: {field: ts_ms}
      select:
        tier: {column: tier, type: string}
        credit: {column: credit, type: string}
        active: {column: active, type: boolean}
model: {name: m}
"""
FORMATS = {
    "JSON with its schema": {"converter": "org.apache.kafka.connect.json.JsonConverter"},
    "JSON": {
        "converter": "org.apache.kafka.connect.json.JsonConverter",
        "converter.schemas.enable": "false",
    },
}


@pytest.mark.parametrize(
    "written", [name if name == "JSON" else pytest.param(name, marks=pytest.mark.long) for name in FORMATS]
)
def test_what_debezium_writes_of_its_log_becomes_the_table(
    written: str, server: PostgreSQL, kafka: ClientSettings
) -> None:
    """A snapshot, then inserts, updates, a renamed key and deletions with their tombstones."""
    server.run("INSERT INTO cards SELECT 'c' || n, 'gold', n, true FROM generate_series(1, 20) n")
    prefix = f"cdc-{uuid.uuid4().hex[:8]}"
    topic = f"{prefix}.public.cards"
    create_topics(kafka, {topic: 1})
    with Debezium(server, kafka.brokers, prefix, "public.cards", FORMATS[written]) as debezium:

        def come(count: int) -> bool:
            return wait_until(lambda: len(list(read_topic(kafka, topic))) >= count, 60, 0.5)

        assert come(20), debezium.log()[-3000:]
        server.run("UPDATE cards SET tier = 'silver', credit = credit + 0.25 WHERE id IN ('c1', 'c2', 'c3')")
        server.run("DELETE FROM cards WHERE id IN ('c3', 'c4')")
        server.run("UPDATE cards SET id = 'renamed' WHERE id = 'c5'")
        server.run("INSERT INTO cards VALUES ('new', NULL, NULL, false)")
        # 3 updates; 2 deletions and 2 tombstones; a deletion, a tombstone and an insert; an insert.
        assert come(31), debezium.log()[-3000:]
    records = list(read_topic(kafka, topic))
    assert len(records) == 31
    table = server.run('SELECT id, tier, credit, active FROM cards ORDER BY id COLLATE "C"')
    assert _replayed(records) == [tuple(value or None for value in row) for row in table]
    _check_scored(records)
    server.run("DELETE FROM cards")


def _replayed(records: list[Record]) -> list[tuple[Any, ...]]:
    """The table that a lookup has after the last change, by the job's own readers."""
    plan = make_feature_plan(load_job_text(JOB, "a.yaml", Path("/"), {}), ["card", "tier"])
    given: Any = plan.views.functions["read_table_cards"].params
    reader = ChangesReader(msgspec.structs.replace(given, shard_keys=(0,)))
    times = [_time(each) for each in records]
    places = (np.zeros(len(records), np.int64), np.array([each.offset for each in records]))
    ((_, blob),) = reader.read(
        [each.value for each in records], [each.key for each in records], np.array(times), places
    )
    assert reader.counts == {"table_changes": 31}
    columns = (("card", "string"), ("tier", "string"), ("credit", "string"), ("active", "boolean"))
    versions = Versions(("card",), columns)  # type: ignore[arg-type]
    versions.add(0, from_bytes(blob[len(CHANGES) :], change_schema(columns)))  # type: ignore[arg-type]
    keys = sorted({"new", "renamed", *(f"c{n}" for n in range(1, 21))})
    joined, missed = versions.join(pa.table({"card": keys}), np.full(len(keys), max(times)))
    assert missed == 3, "c3 and c4 are deleted, c5 has another name"
    rows = zip(keys, *(joined[name].to_pylist() for name in ("tier", "credit", "active")), strict=True)
    shown = {True: "t", False: "f", None: None}
    return [(key, tier, credit, shown[active]) for key, tier, credit, active in rows if active is not None]


def _time(record: Record) -> int:
    if record.value is None:
        return record.timestamp
    event = json.loads(record.value)
    return int(event.get("payload", event)["ts_ms"])


def _check_scored(records: list[Record]) -> None:
    """The same as records of a source: what is deleted is told so, what is there has its row."""
    contract = Contract(
        (
            Field("op", "string", path=("op",)),
            Field("id", "string"),
            Field("credit", "decimal", digits=(12, 2)),
        )
    )
    envelope = EnvelopeParams("debezium", frozenset({"op"}))
    decoded = decode_batch(
        make_decoder(contract, 100_000, FormatParams(envelope=envelope)), [r.value for r in records]
    )
    reasons = [problem.reason for problem in decoded.problems.values()]
    assert sorted(reasons) == ["deleted"] * 3 + ["tombstone"] * 3
    rows = decoded.table.to_pylist()
    assert [row["op"] for row in rows] == ["r"] * 20 + ["u"] * 3 + ["c"] * 2
    assert rows[20]["credit"] == "1.25"


@pytest.mark.usefixtures("driver")
def test_a_worker_reads_the_table_again(server: PostgreSQL) -> None:
    now = [100.0]
    server.run("INSERT INTO cards VALUES ('a', 'gold')")
    table = DatabaseTable(
        params(server), "id", {"tier": "tier"}, {"tier": "string"}, lambda: now[0], lambda work: work()
    )
    tiers = []
    for _ in range(3):
        columns, _ = table.join(pa.array(["a", "b"], pa.string()))
        tiers.append(columns["tier"].to_pylist())
        server.run(
            "UPDATE cards SET tier = 'silver' WHERE id = 'a'; "
            "INSERT INTO cards VALUES ('b', 'new') ON CONFLICT DO NOTHING"
        )
        now[0] += 0.6
        table.refresh()
    assert tiers == [["gold", None], ["gold", None], ["silver", "new"]], "each second"
    server.run("ALTER TABLE cards RENAME COLUMN tier TO level")
    now[0] += 1
    table.refresh()
    server.run("ALTER TABLE cards RENAME COLUMN level TO tier; DELETE FROM cards")
    assert table.failures == 1
    assert table.join(pa.array(["a"], pa.string()))[0]["tier"].to_pylist() == ["silver"]
