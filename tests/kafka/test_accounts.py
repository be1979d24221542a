"""`tailrace accounts` against outputs that lack a record, or have one twice, amid markers and aborted ones.

The topics are written by confluent-kafka, as by a job that is wrong.
"""

from __future__ import annotations

import json
import struct
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from flink_jobs.cli import accounts, app
from flink_jobs.cli.run import warn_of_gone
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    committed_offsets,
    create_topics,
    gone_offsets,
    produce,
    read_topic,
)
from flink_jobs.kafka.admin import connect
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from tests.helpers.samples import write_model
from udfs.times import iso

JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source: {topic: NAME, schema: {x: {type: double, required: true}}}
model: {name: m}
"""
HOURS = 3_600_000


def write_source(kafka: ClientSettings, name: str, old: int, young: int) -> None:
    """Two partitions of 300 records each, by transactions of 10 of which a third aborts; old ones first."""
    options = {"transactional.id": name, "acks": "all"}
    producer = Producer(kafka.librdkafka() | options)
    producer.init_transactions(30)
    for number in range(90):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(name, b"{}", partition=number % 2, timestamp=old if number < 45 else young)
        producer.flush()
        (producer.abort_transaction if number % 3 == 0 else producer.commit_transaction)(30)


def records_of(kafka: ClientSettings, name: str) -> dict[tuple[int, int], int]:
    """Where the committed records stand, as any consumer sees them, and their timestamps."""
    options = {"group.id": "plain", "auto.offset.reset": "earliest", "enable.partition.eof": True}
    consumer = Consumer(kafka.librdkafka() | options)
    consumer.assign([TopicPartition(name, number, 0) for number in range(2)])
    found: dict[tuple[int, int], int] = {}
    ended = 0
    while ended < 2:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ended += 1
        else:
            found[message.partition(), message.offset()] = message.timestamp()[1]
    consumer.close()
    return found


def commit(kafka: ClientSettings, name: str, offsets: list[int]) -> None:
    consumer = Consumer(kafka.librdkafka() | {"group.id": name})
    places = [TopicPartition(name, number, offset) for number, offset in enumerate(offsets)]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()


def gone_before(file: Path, savepoint: Path) -> list[tuple[int, int]]:
    """What is said to have been deleted before a job goes on from there, as first and last offsets."""
    with structlog.testing.capture_logs() as said:
        warn_of_gone(load_job(file, {}), str(savepoint))
    return [(each["first"], each["last"]) for each in said if each["event"] == "records_gone"]


def outcome(name: str, kind: str, place: tuple[int, int], at: int = 0) -> Message:
    partition, offset = place
    if kind == "predictions":
        told = {"score": 1.0, "topic": name, "partition": partition, "offset": offset, "event_time": iso(at)}
        return Message(json.dumps(told).encode())
    own = {"topic": name, "partition": str(partition), "offset": str(offset)}
    return Message(b"{}", None, [(f"tailrace.{key}", text.encode()) for key, text in own.items()])


def test_what_is_missing_or_doubled_is_named_and_nothing_else(
    kafka: ClientSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"accounts-{uuid.uuid4().hex[:8]}"
    kinds = ("predictions", "dead-letters", "late")
    create_topics(kafka, {name: 2})
    create_topics(kafka, {f"{name}.{kind}": 2 for kind in kinds})
    # Markers have the time of now, which is after the old records and before the young ones.
    now = time.time_ns() // 1_000_000
    since, young = now + HOURS // 4, now + HOURS // 2
    write_source(kafka, name, now - HOURS, young)
    found = records_of(kafka, name)
    places = [*found]
    assert len(places) == 600
    (tmp_path / "job.yaml").write_text(JOB.replace("NAME", name).replace("BROKERS", kafka.brokers))
    monkeypatch.setattr(accounts, "SETTLING_SECONDS", 0.0)

    windows = "features: {windows: {w: {by: k, over: 1h, select: {n: count(*)}}}}\n"
    text = (tmp_path / "job.yaml").read_text().replace("schema: {", "schema: {k: string, ")
    (tmp_path / "windowed.yaml").write_text(text + windows)

    def run(*options: str, file: str = "job.yaml") -> tuple[int, Any]:
        done = CliRunner().invoke(app, ["accounts", str(tmp_path / file), "--json", *options])
        return done.exit_code, json.loads(done.stdout)

    ends = [max(offset for number, offset in places if number == p) + 1 for p in range(2)]
    commit(kafka, name, [ends[0], ends[1] - 1])  # the last one of partition 1 is not read yet
    last = (1, ends[1] - 1)
    lost, doubled = places[123], places[321]
    written: dict[str, list[Message]] = {kind: [] for kind in kinds}
    for number, place in enumerate(places):
        if place not in (lost, last):
            kind = kinds[0 if number % 10 else number // 10 % 3]
            written[kind].append(outcome(name, kind, place, found[place]))
    written["late"] += [outcome(name, "late", doubled), outcome("elsewhere", "late", (0, 0))]
    for kind, messages in written.items():
        produce(kafka, f"{name}.{kind}", messages)
    status, told = run()
    assert (status, told["balanced"], told["others"]) == (1, False, 1)
    rows = told["partitions"]
    assert [(row["read"], row["to"]) for row in rows] == [(300, ends[0]), (299, ends[1] - 1)]
    assert [row["first_missing"] for row in rows] == [[lost[1]] if lost[0] == p else [] for p in range(2)]
    assert [row["first_doubled"] for row in rows] == [
        [doubled[1]] if doubled[0] == p else [] for p in range(2)
    ]
    assert sum(row[kind] for row in rows for kind in ("predicted", "dead", "late")) == 599

    # With windows the last one may be held by them; what others have passed may not.
    commit(kafka, name, ends)
    status, told = run(file="windowed.yaml")
    assert (status, [row["first_missing"] for row in told["partitions"]]) == (
        1,
        [row["first_missing"] for row in rows],
    )
    assert [row["waiting"] for row in told["partitions"]] == [0, 1]
    status, told = run("--ended", file="windowed.yaml")
    assert [(row["waiting"], row["missing"]) for row in told["partitions"]] == [
        (0, row["missing"] + number) for number, row in enumerate(rows)
    ]
    commit(kafka, name, [ends[0], ends[1] - 1])

    produce(kafka, f"{name}.predictions", [outcome(name, "predictions", lost)])
    assert all(row["missing"] == 0 for row in run()[1]["partitions"])
    later = [place for place, at in found.items() if at == young and place != last]
    rows = run("--since", iso(since))[1]["partitions"]
    assert sum(row["read"] for row in rows) == len(later) < 599


WINDOWED = """
job: NAME
kafka: {brokers: "BROKERS"}
source:
  topic: NAME
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema: {at: {type: long, required: true}, k: string, x: {type: double, required: true}}
features: {windows: {w: {by: k, over: 1h, select: {mean: avg(x)}}}}
model: {name: m, registry: models, inputs: {x: mean}}
accounting: {}
runtime: {checkpoint: {interval: 1s}}
"""


def test_a_job_with_windows_accounts_for_what_it_gave_them(kafka: ClientSettings, tmp_path: Path) -> None:
    """And somebody else's prediction of one of its records is told from its own."""
    name = f"accounts-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {name: 1})
    write_model(tmp_path / "models", "m", "x")
    file = tmp_path / "job.yaml"
    file.write_text(WINDOWED.replace("NAME", name).replace("BROKERS", kafka.brokers))
    times = [*range(0, 300_000, 1_000), *range(5)]  # the last five come late
    values = [json.dumps({"at": HOURS + at, "k": "a", "x": 1.0}).encode() for at in times]
    produce(kafka, name, [Message(value) for value in [b"oops", *values, b"oops"]])
    plan = make_plan(load_job(file, {}), bounded=True)
    preflight.check(plan)
    with start(plan, Target()) as running:
        running.wait()

    def run() -> tuple[bool, Any]:
        told = json.loads(CliRunner().invoke(app, ["accounts", str(file), "--ended", "--json"]).stdout)
        [row] = told["partitions"]
        return told["balanced"], row

    balanced, row = run()
    assert balanced
    assert (row["read"], row["predicted"], row["dead"], row["late"]) == (307, 300, 2, 5)
    assert row["accounts"] > 0
    assert row["disagreements"] == []
    written = [json.loads(record.value or b"") for record in read_topic(kafka, f"{name}.accounts")]
    parts = [part for each in written for part in each["partitions"]]
    assert sum(part["windows"] + part["late"] for part in parts) == 305
    assert sum(part["dead"] for part in parts) == 2
    produce(kafka, f"{name}.predictions", [outcome(name, "predictions", (0, 7))])
    assert run()[1]["first_doubled"] == [7]

    # What retention takes before the job has read it: Kafka's client goes on behind it without a word.
    assert run()[1]["gone_offsets"] == []
    produce(kafka, name, [Message(b"{}")] * 50)
    admin = connect(kafka)  # kept, or nobody answers
    admin.delete_records([TopicPartition(name, 0, 357)])[TopicPartition(name, 0)].result()
    assert gone_offsets(kafka, committed_offsets(kafka, name, name), name) == {0: (307, 357)}
    assert gone_before(file, tmp_path / "elsewhere") == [(307, 356)]
    commit(kafka, name, [357])
    assert gone_before(file, tmp_path / "elsewhere") == []
    # A savepoint is of a moment before the group's newest word; only of one elsewhere the group has to tell.
    split = struct.pack(">H", len(name)) + name.encode() + struct.pack(">iqq", 0, 321, -(2**63))
    (tmp_path / "_metadata").write_bytes(b"\0" * 9 + split + b"\0" * 9)
    assert gone_before(file, tmp_path) == [(321, 356)]
    assert (run()[1]["gone"], run()[1]["gone_offsets"]) == (50, [[307, 356]])
