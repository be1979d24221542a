"""Writes records to a topic and reads them back, as committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from flink_jobs.errors import TailraceError, WorkError
from flink_jobs.kafka.admin import TopicInfo, connect, describe_topics, end_offsets, needs, no_such_topic
from flink_jobs.kafka.settings import ClientSettings

_BATCH = 5_000
_POLL = 0.2
_STALLED = 30.0
_SETTLED = 3.0
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Message:
    """A record to write. `value` None is a tombstone; `timestamp` in milliseconds since 1970, None: now."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read; `timestamp` in milliseconds since 1970, -1 when it has none."""

    value: bytes | None
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    partition: int
    offset: int
    timestamp: int


def produce_lines(
    settings: ClientSettings,
    topic: str,
    lines: Iterable[bytes],
    *,
    key: Callable[[bytes], bytes | None] | None = None,
) -> int:
    """Writes each line, without its line end, as one record; returns how many. See `produce`."""
    stripped = (line.rstrip(b"\r\n") for line in lines)
    return produce(settings, topic, (Message(line, key(line) if key else None) for line in stripped))


def produce(settings: ClientSettings, topic: str, messages: Iterable[Message]) -> int:
    """Writes the messages and returns how many when all replicas have them.

    Keys choose partitions as the Java client does. Raises InputError when there is no such topic, WorkError
    when a message is refused; those before it may have been written.
    """
    info = describe_topics(settings, [topic])[topic]
    if info is None:
        raise no_such_topic(settings, topic)
    refused: list[tuple[int, KafkaError]] = []
    producer = Producer(settings.librdkafka() | PRODUCER | _batches(info))
    count = 0
    for count, message in enumerate(messages, start=1):
        _send(producer, topic, message, count, refused)
        if refused:
            break
    try:
        producer.flush()
    except KafkaException as raised:  # fatal: the producer as a whole was refused
        raise needs(settings, "Write", "topic", topic)(raised.args[0]) from raised
    if refused:
        number, error = refused[0]
        raise _refusal(settings, topic, number, error)
    return count


PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "linger.ms": 20,
    "compression.type": "lz4",
    # The broker decides what is too large.
    "message.max.bytes": 1_000_000_000,
}


def _batches(info: TopicInfo) -> dict[str, int]:
    """The topic's limit holds for whole batches, so that small records must not add up to too large a one."""
    limit = info.max_message_bytes or 1_000_000
    return {"batch.size": max(1, min(1_000_000, limit // 2))}


def _send(
    producer: Producer, topic: str, message: Message, number: int, refused: list[tuple[int, KafkaError]]
) -> None:
    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            refused.append((number, error))

    options: dict[str, Any] = {"headers": list(message.headers)} if message.headers else {}
    if message.timestamp is not None:
        options["timestamp"] = message.timestamp
    if message.partition is not None:
        options["partition"] = message.partition
    while True:
        try:
            producer.produce(topic, message.value, message.key, on_delivery=delivered, **options)
        except BufferError:
            producer.poll(0.1)
        except KafkaException as raised:
            refused.append((number, raised.args[0]))
            return
        else:
            producer.poll(0)
            return


def _refusal(settings: ClientSettings, topic: str, number: int, error: KafkaError) -> TailraceError:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return WorkError(f"topic {topic!r}: record {number} is larger than its max.message.bytes allows")
    return needs(settings, "Write", "topic", topic)(error)


def read_topic(
    settings: ClientSettings,
    topic: str,
    *,
    isolation: str = "read_committed",
    follow: bool = False,
    limit: int | None = None,
    from_beginning: bool = True,
    timeout: float | None = None,
    since: Mapping[int, int] | None = None,
) -> Iterator[Record]:
    """The topic's records, in order within each partition; from the offsets in `since` (by partition) on.

    Ends where the topic ended when the call was made. With `follow` it goes on, until `limit` records or
    `timeout` seconds without a new one (None: for ever). Without `follow`, `timeout` (default 30) is how
    long the brokers may be silent before WorkError. Raises InputError when there is no such topic.
    """
    ends = end_offsets(settings, topic, isolation=isolation)
    if limit == 0 or not (follow or from_beginning):
        return
    starts = {number: OFFSET_BEGINNING if from_beginning else end for number, end in ends.items()}
    if since is not None:
        ends = {number: end for number, end in ends.items() if end > since.get(number, 0)}
        starts = {number: since.get(number, OFFSET_BEGINNING) for number in ends}
    consumer = _consumer(settings, topic, starts, isolation)
    try:
        batches = (
            _follow(consumer, timeout)
            if follow
            else _until(consumer, ends, timeout or _STALLED, settings, topic)
        )
        for count, message in enumerate(_checked(batches, settings, topic), start=1):
            yield _record(message)
            if count == limit:
                return
    finally:
        consumer.close()


def read_record(settings: ClientSettings, topic: str, partition: int, offset: int) -> Record | None:
    """The committed record at this place; None where there is none."""
    return next(read_span(settings, topic, partition, offset, offset + 1), None)


def read_span(settings: ClientSettings, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
    """The committed records of a partition from `start` on, before `end`."""
    last = end_offsets(settings, topic, isolation="read_committed").get(partition, 0)
    if start >= min(end, last):
        return
    consumer = _consumer(settings, topic, {partition: start}, "read_committed")
    try:
        messages = _until(consumer, {partition: min(end, last)}, _STALLED, settings, topic)
        for message in _checked(messages, settings, topic):
            yield _record(message)
    finally:
        consumer.close()


def count_committed(settings: ClientSettings, topic: str, since: Mapping[int, int] | None = None) -> int:
    """How many records a read_committed reader sees up to now, from the offsets in `since` (by partition) on.

    Offsets cannot tell: transaction markers and aborted records have offsets too.
    """
    ends = _settled_ends(settings, topic)
    starts = {number: (since or {}).get(number, 0) for number in ends}
    ends = {number: end for number, end in ends.items() if end > starts[number]}
    consumer = _consumer(settings, topic, {number: starts[number] for number in ends}, "read_committed")
    try:
        messages = _until(consumer, ends, _STALLED, settings, topic)
        return sum(1 for _ in _checked(messages, settings, topic))
    finally:
        consumer.close()


def latest_records(settings: ClientSettings, topic: str, count: int) -> list[Message]:
    """The newest records of a topic, over all partitions, in the order of their Kafka timestamps."""
    ends = end_offsets(settings, topic, isolation="read_committed")
    consumer = _consumer(settings, topic, {}, "read_committed")
    try:
        found: list[Record] = []
        starts = {n: max(end - count, _oldest(consumer, topic, n)) for n, end in ends.items()}
        ends = {number: end for number, end in ends.items() if end > starts[number]}
        consumer.assign([TopicPartition(topic, number, starts[number]) for number in ends])
        for message in _checked(_until(consumer, ends, _STALLED, settings, topic), settings, topic):
            found.append(_record(message))
    finally:
        consumer.close()
    newest = sorted(found, key=lambda each: (each.timestamp, each.partition, each.offset))[-count:]
    return [as_message(each) for each in newest]


def as_message(record: Record) -> Message:
    """What to write so that the record is there once more, in any partition."""
    return Message(record.value, record.key, tuple(record.headers), max(0, record.timestamp))


def _oldest(consumer: Consumer, topic: str, partition: int) -> int:
    low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_STALLED)
    return int(low)


def has_records(settings: ClientSettings, topic: str) -> bool:
    """Whether a read_committed reader sees any record in the topic."""
    return any(True for _ in read_topic(settings, topic, limit=1))


def _settled_ends(settings: ClientSettings, topic: str) -> dict[int, int]:
    """Ends for a read_committed reader; a commit shows a moment after the producer was told of it."""
    deadline = time.monotonic() + _SETTLED
    while True:
        every = end_offsets(settings, topic)
        ends = end_offsets(settings, topic, isolation="read_committed")
        if ends == every or time.monotonic() > deadline:
            return ends
        time.sleep(0.1)


def _consumer(settings: ClientSettings, topic: str, starts: dict[int, int], isolation: str) -> Consumer:
    connect(settings)
    options = {
        "group.id": "tailrace-read",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": isolation,
        # What was deleted is passed over; by its default the client would pass over all that is there.
        "auto.offset.reset": "earliest",
        # Who reads may take his time between two records, as a replay at a rate does; there is no group.
        "max.poll.interval.ms": 86_400_000,
    }
    consumer = Consumer(settings.librdkafka() | options)
    consumer.assign([TopicPartition(topic, number, offset) for number, offset in starts.items()])
    return consumer


def _follow(consumer: Consumer, timeout: float | None) -> Iterator[Any]:
    last = time.monotonic()
    while timeout is None or time.monotonic() - last < timeout:
        for message in consumer.consume(_BATCH, _POLL):
            if not _is_end(message):
                last = time.monotonic()
                yield message


def _until(
    consumer: Consumer, ends: dict[int, int], timeout: float, settings: ClientSettings, topic: str
) -> Iterator[Any]:
    """Messages before `ends`; a partition may end in transaction markers, which only its end event shows.

    An end event before that is none: after its leader has changed, a partition may seem shorter for a moment.
    """
    reached = {number: 0 for number, end in ends.items() if end > 0}
    last = time.monotonic()
    while reached:
        messages = consumer.consume(_BATCH, _POLL)
        if not messages and time.monotonic() - last > timeout:
            raise WorkError(_silent(settings, topic, timeout, reached, ends))
        for message in messages:
            number = message.partition()
            if message.error() is not None and not _is_end(message):
                yield message
                continue
            if not _is_end(message) and message.offset() < ends[number]:
                yield message
            if number in reached:
                reached[number] = message.offset() + (not _is_end(message))
                if reached[number] >= ends[number]:
                    del reached[number]
            last = time.monotonic()  # after it was taken, which may be slow


def _silent(
    settings: ClientSettings, topic: str, timeout: float, reached: Mapping[int, int], ends: Mapping[int, int]
) -> str:
    unread = ", ".join(f"partition {n} read to {at} of {ends[n]}" for n, at in sorted(reached.items())[:10])
    return (
        f"{settings.brokers} sent nothing of {topic} for {timeout:.0f} s: {unread}. Look whether all brokers "
        f"run, and whether the topic was made anew while it was read"
    )


def _is_end(message: Any) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def _checked(messages: Iterator[Any], settings: ClientSettings, topic: str) -> Iterator[Any]:
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                continue  # the client asks for its group's coordinator, which nothing here needs
            raise needs(settings, "Read", "topic", topic)(error)
        yield message


def _record(message: Any) -> Record:
    return Record(
        value=message.value(),
        key=message.key(),
        headers=list(message.headers() or []),
        partition=message.partition(),
        offset=message.offset(),
        timestamp=message.timestamp()[1],
    )
