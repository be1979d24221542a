"""What is compared: each reads all records and writes to `<name>.predictions`, in a process of its own.

python -m tests.bench.contenders bare BROKERS REGISTRY NAME
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from flink_jobs.kafka import ClientSettings, end_offsets
from flink_jobs.plan import make_plan
from flink_jobs.plan.tables import kafka_tables
from flink_jobs.run.program import Target, start
from flink_jobs.spec import JobSpec
from tests.bench.data import COLUMNS, TOPIC, WINDOW, job


def bare(brokers: str, registry: str, name: str) -> None:
    """A consumer and producer loop as one would write by hand, without any guarantee."""
    model = joblib.load(Path(registry) / "transactions" / "versions" / "1" / "model.joblib")
    total = sum(end_offsets(ClientSettings(brokers), TOPIC).values())
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": name, "queued.max.messages.kbytes": 200_000}
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0), TopicPartition(TOPIC, 1, 0)])
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 50,
            "batch.size": 500_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    done = 0
    while done < total:
        messages = consumer.consume(10_000, 1.0)
        rows = [orjson.loads(message.value()) for message in messages]
        if not rows:
            continue
        scores = model.predict_proba(np.array([[row[c] for c in COLUMNS] for row in rows]))[:, 1].tolist()
        for message, row, score in zip(messages, rows, scores, strict=True):
            value = {"id": row["id"], "card": row["card"], "prediction": score >= 0.5, "score": score}
            value |= {"partition": message.partition(), "offset": message.offset(), "event_time": row["ts"]}
            producer.produce(f"{name}.predictions", orjson.dumps(value), key=message.key())
        producer.poll(0)
        done += len(rows)
    producer.flush()


def java(brokers: str, registry: str, name: str) -> None:
    """Flink alone: the raw bytes from topic to topic, exactly once."""
    from flink_jobs.run.program import _environment, _options

    plan = make_plan(JobSpec.model_validate(job(brokers, registry, name)), bounded=True)
    tables, _ = _environment(_options(plan, Target(), None))
    for table in kafka_tables(plan.job, bounded=True)[:2]:
        tables.execute_sql(table.ddl(reveal=True))
    tables.execute_sql("INSERT INTO predictions SELECT _key, _value FROM source").wait()


def stateless(brokers: str, registry: str, name: str) -> None:
    """Tailrace with all its promises."""
    _run(JobSpec.model_validate(job(brokers, registry, name)))


def watched(brokers: str, registry: str, name: str) -> None:
    """Stateless, and each minute of event time compared with the reference."""
    _run(JobSpec.model_validate(job(brokers, registry, name, drift={"window": "1m"})))


def windowed(brokers: str, registry: str, name: str) -> None:
    """Tailrace with three aggregates over each card's last minute."""
    _run(JobSpec.model_validate(job(brokers, registry, name, features=WINDOW)))


def _run(spec: JobSpec) -> None:
    with start(make_plan(spec, bounded=True), Target()) as running:
        running.wait()


def features(brokers: str, registry: str, name: str, count: str, drift: str) -> None:
    """Tailrace with so many features from a topic and a model of their own; `drift` is on or off."""
    changes = {"drift": {"window": "1m"}} if drift == "on" else {}
    source = job(brokers, registry, name, int(count), **changes)
    source["source"]["topic"] = f"{TOPIC}-{count}"
    _run(JobSpec.model_validate(source))


CONTENDERS: dict[str, Callable[..., None]] = {
    "bare": bare,
    "java": java,
    "stateless": stateless,
    "watched": watched,
    "windowed": windowed,
}

if __name__ == "__main__":
    contender, *arguments = sys.argv[1:]
    run: Callable[..., None] = {**CONTENDERS, "features": features}[contender]
    run(*arguments)
