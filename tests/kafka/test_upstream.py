"""What other producers do to a topic: each codec of Kafka, and transactions that abort."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, read_topic
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from tests.helpers.samples import write_model

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
JOB = """
job: {name}
kafka: {{brokers: "{brokers}", properties: {{compression.type: {codec}}}}}
source: {{topic: {topic}, isolation: {isolation}, schema: {{amount: {{type: double, required: true}}}}}}
model: {{name: fraud, registry: models}}
predictions: {{include: [amount]}}
runtime: {{checkpoint: {{interval: 1s}}}}
"""


def scored(
    kafka: ClientSettings, folder: Path, topic: str, codec: str = "zstd", isolation: str = "read_committed"
) -> list[float]:
    """The amounts that a bounded job on the topic predicts, in the order of its output."""
    text = JOB.format(
        name=f"of-{topic}", brokers=kafka.brokers, topic=topic, codec=codec, isolation=isolation
    )
    plan = make_plan(load_job_text(text, "job.yaml", folder, {}), bounded=True)
    preflight.check(plan)
    with start(plan, Target()) as running:
        running.wait()
    written = read_topic(kafka, plan.job.predictions.topic)
    return [json.loads(record.value or b"")["amount"] for record in written]


def producer(kafka: ClientSettings, codec: str, **more: str) -> Producer:
    return Producer({"bootstrap.servers": kafka.brokers, "compression.type": codec, "linger.ms": 50, **more})


def write(client: Producer, topic: str, amounts: range) -> None:
    """Long values, as librdkafka sends a batch uncompressed that would not shrink."""
    for amount in amounts:
        client.produce(topic, json.dumps({"amount": float(amount), "note": "x" * 500}).encode())
    client.flush(30)


@pytest.mark.parametrize(
    "written", [*(pytest.param(codec, marks=pytest.mark.long) for codec in CODECS[:-1]), CODECS[-1]]
)
def test_each_codec_is_read_and_written(
    written: str, kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    """In one topic, as of many producers; zstd is the one that Flink's own jars lack."""
    write_model(tmp_path / "models", "fraud", "amount")
    topic = new_topic()
    for number, codec in enumerate(CODECS):
        write(producer(kafka, codec), topic, range(20 * number, 20 * number + 20))
    assert scored(kafka, tmp_path, topic, written) == [float(n) for n in range(20 * len(CODECS))]


@pytest.mark.parametrize(("isolation", "aborted"), [("read_committed", []), ("read_uncommitted", range(5))])
def test_what_was_aborted_is_read_only_when_asked_for(
    isolation: str, aborted: range, kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    """The upstream aborts in the middle and at the end, where only a marker follows."""
    write_model(tmp_path / "models", "fraud", "amount")
    topic = new_topic()
    client = producer(kafka, "lz4", **{"transactional.id": topic})
    client.init_transactions(30)
    for amounts, end in (
        (range(5), client.abort_transaction),
        (range(5, 9), client.commit_transaction),
        (range(5), client.abort_transaction),
    ):
        client.begin_transaction()
        write(client, topic, amounts)
        end(30)
    wanted = sorted([*range(5, 9), *aborted, *aborted])
    assert sorted(scored(kafka, tmp_path, topic, isolation=isolation)) == [float(n) for n in wanted]
