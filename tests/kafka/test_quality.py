"""Quality on real Kafka and Flink: labels that come late or never, and a stop and start between them.

The adversaries are a restart while windows wait for labels, and another number of workers: both must give the
same bytes. What is right says scikit-learn, from the predictions topic.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from flink_jobs.kafka import ClientSettings, Message, create_topics, produce, read_topic
from flink_jobs.testing import Broker, JobHarness, Results, record
from tests.helpers import models
from tests.helpers.restarts import run_until

START = 1_767_268_800_000
MINUTE = 60_000
ROWS, WINDOWS = 1_800, 3
JOB = """
job: JOB
kafka: {brokers: "BROKERS"}
source:
  topic: JOB.payments
  event_time: {field: at, unit: ms, out_of_order: 1m, idle: 10m}
  schema:
    id: {type: long, required: true}
    amount: {type: double, required: true}
    night: {type: boolean, required: true, pii: drop}
    shop: {type: string, required: true, values: [north, south]}
    at: {type: long, required: true}
model: {name: fraud, registry: REGISTRY}
quality:
  window: 10m
  segments: [shop]
  groups: [night]
  idle: 1h
  labels:
    topic: LABELS
    on: id
    key: payment
    field: fraud
    wait: 1h
    event_time: {field: known_at, unit: ms, out_of_order: 1m, idle: 10m}
runtime: {parallelism: PARALLEL, checkpoint: {interval: 500ms}}
"""


def amounts() -> list[float]:
    return [float(x) for x in np.random.default_rng(5).uniform(0, 40, ROWS)]


def truth(i: int, amount: float) -> bool:
    return amount + (i * 7919 % 23) - 11 > 19


def payment(i: int, amount: float, at: int) -> Message:
    row = {"id": i, "amount": amount, "night": i % 3 == 0, "shop": "south" if i % 4 else "north", "at": at}
    return record(row, partition=0)


PAYMENTS = [payment(i, amount, START + i * 1_000) for i, amount in enumerate(amounts())]
#: Closes all windows, as time goes on.
LAST = [payment(ROWS, 1.0, START + 180 * MINUTE)]


def delay_minutes(i: int) -> int | None:
    """Ten to fifty minutes; one label in ten never comes."""
    return None if i % 10 == 3 else 10 + i * 7 % 41


def labels() -> list[tuple[int, Message]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    for i, amount in enumerate(amounts()):
        delay = delay_minutes(i)
        if delay is not None:
            known_at = START + i * 1_000 + delay * MINUTE
            rows.append((known_at, {"payment": i, "fraud": truth(i, amount), "known_at": known_at}))
    rows.sort(key=lambda row: (row[0], row[1]["payment"]))
    last = START + 300 * MINUTE
    rows.append((last, {"payment": -1, "fraud": False, "known_at": last}))
    return [(at, record(row, partition=0)) for at, row in rows]


@dataclass(frozen=True)
class Registered:
    """Where the model is; it is a good one."""

    root: Path

    def job(self, name: str, labels_topic: str, brokers: str, parallel: int) -> str:
        words = {"JOB": name, "BROKERS": brokers, "REGISTRY": str(self.root), "PARALLEL": str(parallel)}
        text = JOB.replace("LABELS", labels_topic)
        for word, value in words.items():
            text = text.replace(word, value)
        return text


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    root = tmp_path_factory.mktemp("models")
    inputs = pa.table({"amount": [float(i) for i in range(40)]})
    targets = [amount > 19 for amount in inputs["amount"].to_pylist()]
    models.write(root, "fraud", LogisticRegression(C=0.003), inputs, targets, "binary")
    return Registered(root)


@pytest.fixture(scope="module")
def at_once(broker: Broker, registered: Registered) -> Results:
    """All of it by two workers, in topics of two partitions."""
    topic = f"labels-{uuid.uuid4().hex[:8]}"
    settings = ClientSettings(broker.bootstrap)
    create_topics(settings, {topic: 2})
    produce(settings, topic, [replace(row, partition=n % 2) for n, (_, row) in enumerate(labels())])
    rows = [replace(row, partition=n % 2) for n, row in enumerate([*PAYMENTS, *LAST])]
    text = registered.job("quality", topic, broker.bootstrap, 2)
    return JobHarness(broker, partitions=2).run(text, rows)


@dataclass(frozen=True)
class Halves:
    """What a job wrote that was stopped and started between two halves of the records and labels."""

    job: str
    first: int
    rows: list[Any]


def expected_rows(results: Results) -> list[tuple[bytes, bytes]]:
    return within(results.job.job, [(row.key or b"", row.value or b"") for row in results.quality])


def within(job: str, rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of the windows that are closed in both runs, whatever the job is called."""
    found = []
    for key, value in rows:
        if json.loads(value)["window"]["start"] < "2026-01-01T12:30":
            found.append((key, value.replace(job.encode(), b"job")))
    return sorted(
        found, key=lambda row: (json.loads(row[1])["window"]["start"], json.loads(row[1])["revision"], row[0])
    )


@pytest.fixture(scope="module")
def in_halves(
    kafka: ClientSettings, registered: Registered, at_once: Results, tmp_path_factory: pytest.TempPathFactory
) -> Halves:
    """One worker; stopped after 15 minutes of payments and 25 of labels, when the first window was there."""
    base, name = tmp_path_factory.mktemp("halves"), f"halves-{uuid.uuid4().hex[:8]}"
    source, labelled, quality = f"{name}.payments", f"{name}.labels", f"{name}.quality"
    file = base / "job.yaml"
    file.write_text(registered.job(name, labelled, kafka.brokers, 1))
    create_topics(kafka, {source: 1, labelled: 1})
    early = START + 25 * MINUTE
    produce(kafka, source, PAYMENTS[:900])
    produce(kafka, labelled, [row for at, row in labels() if at < early])
    savepoint = run_until(kafka.brokers, file, {quality: 5}, base / "savepoints")
    first = len(list(read_topic(kafka, quality)))
    produce(kafka, source, [*PAYMENTS[900:], *LAST])
    produce(kafka, labelled, [row for at, row in labels() if at >= early])
    count = len(expected_rows(at_once))
    run_until(kafka.brokers, file, {quality: count}, base / "more", savepoint)
    return Halves(name, first, list(read_topic(kafka, quality)))


def test_a_restart_and_another_number_of_workers_give_the_same_bytes(
    at_once: Results, in_halves: Halves
) -> None:
    expected = expected_rows(at_once)
    found = within(in_halves.job, [(row.key or b"", row.value or b"") for row in in_halves.rows])
    assert 5 <= in_halves.first < len(expected)
    assert found == expected


def finals(results: Results) -> dict[tuple[str, str], Any]:
    found = [(row.key or b"", json.loads(value)) for row in results.quality if (value := row.value)]
    return {(r["window"]["start"][11:16], key.decode()): r for key, r in found if r["final"]}


def test_each_window_ends_as_scikit_learn_says(at_once: Results) -> None:
    """Of all records, of a segment, and of a group that is personal data."""
    drawn = amounts()
    rows: defaultdict[tuple[str, str], list[tuple[bool, float, bool]]] = defaultdict(list)
    for row in at_once.predictions:
        i = 2 * row.json["offset"] + row.json["partition"]
        if i < ROWS and delay_minutes(i) is not None:
            start = f"12:{i // 600}0"
            shop, night = "south" if i % 4 else "north", "true" if i % 3 == 0 else "false"
            for key in ("all", f"shop={shop}", f"night={night}"):
                said = (truth(i, drawn[i]), row.json["score"], row.json["prediction"])
                rows[start, key].append(said)
    assert len(rows) == 5 * WINDOWS
    found = finals(at_once)
    for where, came in rows.items():
        labels_, scores, predictions = ([row[k] for row in came] for k in range(3))
        realized = found[where]["realized"]
        assert found[where]["labels"]["n"] == len(came)
        assert realized["log_loss"]["value"] == pytest.approx(log_loss(labels_, scores), rel=1e-9)
        assert realized["accuracy"]["value"] == pytest.approx(accuracy_score(labels_, predictions))
        auc = realized["auc"]
        assert auc["value"] == pytest.approx(roc_auc_score(labels_, scores), abs=auc["binned"] + 1e-12)


def test_a_window_is_published_anew_as_labels_come(at_once: Results) -> None:
    rows = [json.loads(row.value or b"") for row in at_once.quality if row.key == b"all"]
    first = [r for r in rows if r["window"]["start"].endswith("12:00:00.000Z")]
    assert [r["revision"] for r in first] == list(range(len(first)))
    assert [r["final"] for r in first] == [False] * (len(first) - 1) + [True]
    assert first[0]["realized"] == {}
    assert first[0]["estimated"]["auc"]["value"] > 0.5
    for r in first[1:]:
        until = r["labels"]["until"]
        came = [i for i in range(600) if (d := delay_minutes(i)) is not None and f"{_at(i, d)}" < until]
        assert r["labels"]["n"] == len(came)
    assert first[-1]["labels"]["coverage"] == pytest.approx(0.9)
    delays = [d * MINUTE for i in range(600) if (d := delay_minutes(i)) is not None]
    assert first[-1]["labels"]["delay_p50_ms"] == pytest.approx(float(np.median(delays)), rel=0.03)


def _at(i: int, delay: int) -> str:
    minutes = i // 60 + delay
    return f"2026-01-01T{12 + minutes // 60:02}:{minutes % 60:02}:{i % 60:02}.000Z"
