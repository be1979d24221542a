"""Loops as one would write by hand around a Kafka client and a model."""

from __future__ import annotations

import time
from typing import Any

import joblib
import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.contenders import Work
from tests.bench.data import COLUMNS, PARTITIONS

BATCH = 10_000
TRANSACTION_SECONDS = 1.0


def bare(work: Work) -> None:
    """Without any guarantee."""
    consumer, producer = _clients(work)
    score = _scorer(work, producer)
    done = 0
    while done < work.records:
        done += score(consumer.consume(BATCH, 1.0))
    producer.flush()
    consumer.close()


def bare_transactions(work: Work) -> None:
    """What is written and how far was read are committed together, once a second."""
    consumer, producer = _clients(work, **{"transactional.id": work.name})
    score = _scorer(work, producer)
    producer.init_transactions()
    done = 0
    while done < work.records:
        producer.begin_transaction()
        until = time.monotonic() + TRANSACTION_SECONDS
        while done < work.records and time.monotonic() < until:
            done += score(consumer.consume(BATCH, 1.0))
        read = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(read, consumer.consumer_group_metadata())
        producer.commit_transaction()
    consumer.close()


def _clients(work: Work, **more: Any) -> tuple[Consumer, Producer]:
    consumer = Consumer(
        {
            "bootstrap.servers": work.brokers,
            "group.id": work.name,
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 200_000,
        }
    )
    consumer.assign([TopicPartition(work.topic, partition, 0) for partition in range(PARTITIONS)])
    producer = Producer(
        {
            "bootstrap.servers": work.brokers,
            "linger.ms": 50,
            "batch.size": 500_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
        | more
    )
    return consumer, producer


def _scorer(work: Work, producer: Producer) -> Any:
    model, topic = joblib.load(work.model), f"{work.name}.predictions"

    def score(messages: list[Any]) -> int:
        rows = [orjson.loads(message.value()) for message in messages]
        if not rows:
            return 0
        scores = model.predict_proba(np.array([[row[c] for c in COLUMNS] for row in rows]))[:, 1].tolist()
        for message, row, scored in zip(messages, rows, scores, strict=True):
            value = {"id": row["id"], "card": row["card"], "prediction": scored >= 0.5, "score": scored}
            value |= {"partition": message.partition(), "offset": message.offset(), "event_time": row["ts"]}
            producer.produce(topic, orjson.dumps(value), key=message.key())
        producer.poll(0)
        return len(rows)

    return score
