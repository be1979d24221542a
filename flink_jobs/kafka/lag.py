"""Says what of a topic waits for a consumer group: how many records, and since when.

waits = waiting(settings, "payments", "fraud-job", {0: 120})
waits[0].records, waits[0].since
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from flink_jobs.errors import InputError
from flink_jobs.kafka.admin import connect, end_offsets, needs
from flink_jobs.kafka.settings import ClientSettings

_SECONDS = 10.0


@dataclass(frozen=True)
class Waiting:
    """Records of a partition that wait; `since` is the Kafka timestamp of the first, if there is one."""

    records: int
    since: int | None


def waiting(
    settings: ClientSettings,
    topic: str,
    group: str,
    read: Mapping[int, int],
    isolation: str = "read_committed",
) -> dict[int, Waiting]:
    """By partition. `read` says how far the reader is known to be; elsewhere the group's offsets tell.

    Raises WorkError when no broker answers or a right is missing, InputError when there is no such topic.
    """
    connect(settings)
    ends = end_offsets(settings, topic, isolation=isolation)
    options = {"group.id": group, "enable.auto.commit": False, "isolation.level": isolation}
    consumer = Consumer(settings.librdkafka() | options)
    try:
        places = _places(consumer, topic, ends, read)
        behind = {number: at for number, at in places.items() if at < ends[number]}
        since = _first_times(consumer, topic, behind)
        return {n: Waiting(max(0, ends[n] - places[n]), since.get(n)) for n in sorted(ends)}
    except KafkaException as raised:
        raise needs(settings, "Read", "topic", topic)(raised.args[0]) from raised
    finally:
        consumer.close()


def _places(
    consumer: Consumer, topic: str, ends: Mapping[int, int], read: Mapping[int, int]
) -> dict[int, int]:
    """The next offset of each partition; the oldest that is kept where nobody has read."""
    committed = consumer.committed([TopicPartition(topic, number) for number in ends], timeout=_SECONDS)
    places = {}
    for each in committed:
        at = max(each.offset, read.get(each.partition, -1))
        if at < 0:
            at, _ = consumer.get_watermark_offsets(TopicPartition(topic, each.partition), timeout=_SECONDS)
        places[each.partition] = at
    if not places:
        raise InputError(f"{topic} has no partitions")
    return places


def _first_times(consumer: Consumer, topic: str, places: Mapping[int, int]) -> dict[int, int]:
    """The Kafka timestamp of the first record from each place on."""
    found: dict[int, int] = {}
    for number, at in places.items():
        consumer.assign([TopicPartition(topic, number, at)])
        message = consumer.poll(_SECONDS)
        if message is not None and message.error() is None:
            found[number] = message.timestamp()[1]
    return found
