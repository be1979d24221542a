"""Labels that come after the predictions, in a topic of their own: joined, counted, asked for by the gate."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.reports.comparisons import judge_job
from flink_jobs.testing import Broker, JobHarness, Results, record
from tests.helpers import models
from udfs.rollout.compare import add_up
from udfs.rollout.records import ComparisonRecord

START = 1_767_268_800_000
SECOND = 1_000
ROWS = 3_000
JOB = """
job: payments
kafka: {brokers: "${TAILRACE_BROKERS:-localhost:9092}"}
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 1m}
  schema:
    id: {type: long, required: true}
    amount: {type: double, required: true}
    at: {type: long, required: true}
model: {name: fraud, registry: REGISTRY, refresh: 1s}
comparisons:
  window: 10m
  gate: {records: 100, drift: null, latency: null, labels: 200}
  labels:
    topic: LABELS
    on: id
    key: payment
    field: fraud
    wait: 1h
    event_time: {field: known_at, unit: ms, out_of_order: 1m}
runtime: {parallelism: 2, checkpoint: {interval: 1s}}
"""
HOSTILE = (b"not json", b"[]", b'{"payment": 3}', b'{"payment": 3, "fraud": null}', b"\xff", None)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Version 1 is champion, 2, which says the opposite, its canary, and 3, which is like 1, its shadow."""
    root = tmp_path_factory.mktemp("models")
    inputs = pa.table({"amount": [float(i) for i in range(40)]})
    truth = [amount > 19 for amount in inputs["amount"].to_pylist()]
    for targets in (truth, [not fraud for fraud in truth], truth):
        models.write(root, "fraud", LogisticRegression(C=0.01), inputs, targets, "binary", promoted=False)
    registry = Registry(root)
    registry.promote("fraud", 1)
    releases = Releases(registry, "fraud")
    releases.shadow((3,), Activation(START, past=True))
    releases.canary(2, 0.3, "id", Activation(START, past=True))
    return registry


def amounts() -> list[float]:
    drawn: list[float] = np.random.default_rng(5).uniform(0, 40, ROWS).tolist()
    return drawn


def payments() -> list[Message]:
    return [
        record({"id": i, "amount": amount, "at": START + i * SECOND // 2}, partition=i % 2)
        for i, amount in enumerate(amounts())
    ]


def usable(i: int) -> bool:
    return i % 10 not in (3, 4) and i % 100 != 7


def labels() -> list[Message]:
    """Ten minutes after their payments; one in ten comes again and says the opposite, one in ten too late.

    One in ten is no label at all, one in a hundred none of the model's classes.
    """
    rows: list[object] = []
    too_late: list[object] = []
    for i, amount in enumerate(amounts()):
        known_at = START + i * SECOND // 2 + 600 * SECOND
        label = {"payment": i, "fraud": "yes" if i % 100 == 7 else amount > 19, "known_at": known_at}
        if i % 10 == 3:
            too_late.append({**label, "known_at": known_at + 3_600 * SECOND})
        else:
            rows.append(HOSTILE[i % len(HOSTILE)] if i % 10 == 4 else label)
        if i % 10 == 5:
            rows.append({**label, "fraud": not label["fraud"], "known_at": known_at + i % 3 * SECOND})
    return [record(row, partition=0) for row in rows + too_late]


def abort(settings: ClientSettings, topic: str, labels: Iterable[dict[str, Any]]) -> None:
    """Writes labels that say the opposite, in a transaction that its maker takes back."""
    client = Producer(settings.librdkafka() | {"transactional.id": topic})
    client.init_transactions(30)
    client.begin_transaction()
    for label in labels:
        client.produce(topic, json.dumps(label).encode(), partition=0)
    client.flush(30)
    client.abort_transaction(30)


@pytest.fixture(scope="module")
def results(broker: Broker, registry: Registry) -> Results:
    topic = f"labels-{uuid.uuid4().hex[:8]}"
    settings = ClientSettings(broker.bootstrap)
    create_topics(settings, {topic: 2})
    opposite = [{"payment": i, "fraud": a <= 19, "known_at": START} for i, a in enumerate(amounts())]
    abort(settings, topic, opposite)
    produce(settings, topic, labels())
    return JobHarness(broker, partitions=2).run(job_text(registry, topic), payments())


def job_text(registry: Registry, topic: str, name: str = "payments") -> str:
    text = JOB.replace("REGISTRY", str(registry.root)).replace("LABELS", topic)
    return text.replace("job: payments", f"job: {name}")


@pytest.fixture(scope="module")
def records(results: Results) -> list[ComparisonRecord]:
    return [msgspec.json.decode(row.value or b"", type=ComparisonRecord) for row in results.comparisons]


def test_labels_take_nothing_from_the_predictions(results: Results) -> None:
    assert results.accounts() == {"read": ROWS, "predicted": ROWS, "dead": 0, "late": 0}


def test_each_label_that_can_be_used_counts_once(records: list[ComparisonRecord]) -> None:
    total = add_up(records)
    joined = sum(map(usable, range(ROWS)))
    assert total.labels is not None
    assert (total.labels.read, total.labels.joined) == (ROWS + ROWS // 10, joined)
    assert total.labels.rejected == ROWS // 10 + ROWS // 100
    counts = {(v.role, v.version): v.labels.n for v in total.versions if v.labels}
    assert counts["champion", 1] + counts["canary", 2] == counts["shadow", 3] == joined


def test_the_numbers_are_those_of_the_predictions(results: Results, records: list[ComparisonRecord]) -> None:
    drawn = amounts()
    truth: dict[int, list[bool]] = {1: [], 2: []}
    scores: dict[int, list[float]] = {1: [], 2: []}
    for row in results.predictions:
        i = 2 * row.json["offset"] + row.json["partition"]
        if usable(i):
            truth[row.json["version"]].append(drawn[i] > 19)
            scores[row.json["version"]].append(row.json["score"])
    for report in add_up(records).versions[:2]:
        assert report.labels is not None
        expected = log_loss(truth[report.version], scores[report.version])
        assert report.labels.log_loss == pytest.approx(expected, rel=1e-9)


def test_windows_hold_the_labels_that_came_in_them(records: list[ComparisonRecord]) -> None:
    found = {r.window.start[11:16]: (r.labels.joined if r.labels else 0) for r in records}
    joined = [sum(map(usable, range(start, min(start + 1200, ROWS)))) for start in (0, 1200, 2400)]
    assert found == dict(
        zip(("12:00", "12:10", "12:20", "12:30"), (0, *joined), strict=True)
    ) | dict.fromkeys(("13:10", "13:20", "13:30"), 0)


def test_the_gate_says_that_the_canary_is_worse(
    results: Results, records: list[ComparisonRecord], registry: Registry, broker: Broker, tmp_path: Path
) -> None:
    gates = [(r.gate.outcome, r.gate.reasons) for r in records if r.gate]
    assert gates[0] == ("wait", ("0 of 200 labels",))
    assert gates[1][0] == "fail"
    assert gates[1][1][0].startswith("quality: log loss 2.")
    file = tmp_path / "job.yaml"
    file.write_text(job_text(registry, "labels", results.job.job))
    for version, outcome in ((2, "fail"), (3, "pass")):
        assert judge_job(file, version, broker.bootstrap).outcome == outcome
