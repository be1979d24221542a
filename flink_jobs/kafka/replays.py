"""Sends records back to their topic, each once: what is sent and the note of it are one Kafka transaction.

with Replays(settings, "orders") as replays:                 # ends what a killed one has left open
    if replays.decided(letter.identity) is None:
        replays.send([Sending(letter.identity, note, "orders", message)])

The notes are `tailrace.replay/1`, in the compacted topic `<job>.replays`, by the record's identity. Two at a
time cannot be: the later one fences the earlier one, whose open transaction is aborted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from flink_jobs.errors import WorkError
from flink_jobs.kafka.admin import create_topics, describe_topics, end_offsets, needs, no_such_topic
from flink_jobs.kafka.records import PRODUCER, Message, read_topic
from flink_jobs.kafka.settings import ClientSettings

Action = Literal["replayed", "dropped"]
SUFFIX = "replays"
_TIMEOUT, _LEAVING = 60.0, 5.0
_NOTES_CONFIG = {"cleanup.policy": "compact", "retention.ms": "-1"}
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)


class Place(msgspec.Struct, frozen=True):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of a record; `replayed_as` is where it stands now, `first` its first dead letter."""

    action: Action
    record: Place
    dead_letter: Place
    first: Place
    attempt: int
    at: str
    replayed_as: Place | None = None
    schema: Literal["tailrace.replay/1"] = "tailrace.replay/1"


@dataclass(frozen=True)
class Sending:
    """A note by the identity of its record, and the record itself if it is sent, to `topic`."""

    identity: str
    note: Note
    topic: str = ""
    message: Message | None = None


def notes_topic(job: str) -> str:
    """Where the notes of a job are."""
    return f"{job}.{SUFFIX}"


def read_notes(settings: ClientSettings, job: str) -> Iterator[tuple[str, Note | None]]:
    """(identity, note) in the order of writing; None takes the decision back. Nothing without a topic."""
    topic = notes_topic(job)
    if describe_topics(settings, [topic])[topic] is None:
        return
    for record in read_topic(settings, topic):
        identity = (record.key or b"").decode(errors="replace")
        yield identity, _note(topic, record.offset, record.value)


def _note(topic: str, offset: int, value: bytes | None) -> Note | None:
    try:
        return _decoder.decode(value) if value is not None else None
    except msgspec.MsgspecError as error:
        raise WorkError(f"{topic}: the record at offset {offset} is no tailrace.replay/1: {error}") from None


_decoder = msgspec.json.Decoder(Note)


class Decisions:
    """What was decided, by identity; it takes some 150 bytes for each."""

    def __init__(self) -> None:
        self._actions: dict[bytes, Action] = {}

    def add(self, identity: str, action: Action | None) -> None:
        if action is None:
            self._actions.pop(_digest(identity), None)
        else:
            self._actions[_digest(identity)] = action

    def of(self, identity: str) -> Action | None:
        """What was decided of the record; None if nothing was."""
        return self._actions.get(_digest(identity))


def read_decisions(settings: ClientSettings, job: str) -> Decisions:
    """All that was committed up to now."""
    found = Decisions()
    for identity, note in read_notes(settings, job):
        found.add(identity, note.action if note else None)
    return found


def _digest(identity: str) -> bytes:
    return blake2b(identity.encode(), digest_size=16).digest()


class Replays:
    """The one who replays records of a job; its context aborts what is open, and tells what was decided."""

    def __init__(self, settings: ClientSettings, job: str) -> None:
        self._settings, self._job, self._notes = settings, job, notes_topic(job)
        self._decisions = Decisions()
        self._fatal: KafkaError | None = None
        self._partitions: dict[str, int] = {}

    def __enter__(self) -> Self:
        create_topics(self._settings, {self._notes: 1}, _NOTES_CONFIG)
        self._producer = self._open()
        self._decisions = read_decisions(self._settings, self._job)
        self._known = self._written()
        return self

    def _open(self) -> Producer:
        """Ends what another one, or the one before, has left open."""
        options: dict[str, Any] = {
            "transactional.id": f"{self._job}-replays",
            "transaction.timeout.ms": 30_000,
        }
        # Without a callback a fatal error would be raised amid the callbacks of records.
        options |= {"linger.ms": 5, "error_cb": self._note_error}
        producer = Producer(self._settings.librdkafka() | PRODUCER | options)
        self._try(producer.init_transactions)
        self._require_decided()
        return producer

    def _begin_anew(self) -> None:
        """After a record that was refused the client may purge, or keep, what it is given next."""
        self._producer.purge()
        self._producer = self._open()
        if self._written() != self._known:
            raise self._taken_over()

    def _written(self) -> dict[int, int]:
        return end_offsets(self._settings, self._notes, isolation="read_committed")

    def __exit__(self, *_: object) -> None:
        """Whoever reads committed records waits for an open transaction: it is not left to its timeout."""
        self._producer.purge()
        with suppress(KafkaException):
            self._producer.abort_transaction(_LEAVING)

    def decided(self, identity: str) -> Action | None:
        """What was decided of the record, before or by this one; None if nothing was."""
        return self._decisions.of(identity)

    def send(self, batch: Sequence[Sending]) -> list[Sending]:
        """All in one transaction; returns those that are too large for their topic, which are not sent.

        Raises WorkError where nothing of it was written, or another one has taken over.
        """
        if not batch:
            return []
        error = self._attempt(batch)
        if error is None:
            for each in batch:
                self._decisions.add(each.identity, each.note.action)
            return []
        if error.code() not in _TOO_LARGE:
            raise self._refusal(error, batch)
        self._begin_anew()
        if len(batch) == 1:
            return list(batch)
        half = len(batch) // 2
        return self.send(batch[:half]) + self.send(batch[half:])

    def _attempt(self, batch: Sequence[Sending]) -> KafkaError | None:
        """Why the transaction was aborted, if it was."""
        refused: list[KafkaError] = []
        placed: dict[int, Place] = {}
        noted: dict[int, int] = {}
        try:
            self._producer.begin_transaction()
            for number, each in enumerate(batch):
                self._send_record(number, each, placed, refused)
            self._flush(refused)
            if not refused:
                self._write_notes(batch, placed, refused, noted)
            if not refused:
                self._producer.commit_transaction(_TIMEOUT)
                # After the last note of a partition stands the marker of the transaction, some time later.
                self._known |= {partition: last + 2 for partition, last in noted.items()}
                return None
        except KafkaException as raised:
            self._note_raised(_told(raised), refused)
        if self._fatal is not None:
            return self._fatal
        # Those that were sent with one that is too large may be refused for other reasons, and first.
        return next((error for error in refused if error.code() in _TOO_LARGE), refused[0])

    def _note_raised(self, error: KafkaError, refused: list[KafkaError]) -> None:
        """A refused record ends the transaction at once, and is told by the callbacks that come after."""
        if error.code() == KafkaError._STATE:
            with suppress(KafkaException):
                self._flush(refused)
        self._note_error(error)
        refused.append(error)

    def _note_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = self._fatal or error

    def _send_record(
        self, number: int, sending: Sending, placed: dict[int, Place], refused: list[KafkaError]
    ) -> None:
        message = sending.message
        if message is None:
            return

        def delivered(error: KafkaError | None, sent: Any) -> None:
            if error is not None:
                refused.append(error)
            else:
                placed[number] = Place(sent.topic(), sent.partition(), sent.offset())

        self._produce(sending.topic, message, delivered)

    def _write_notes(
        self,
        batch: Sequence[Sending],
        placed: dict[int, Place],
        refused: list[KafkaError],
        noted: dict[int, int],
    ) -> None:
        """`noted` gets the offset of the last note by partition."""

        def delivered(error: KafkaError | None, sent: Any) -> None:
            if error is not None:
                refused.append(error)
            else:
                noted[sent.partition()] = max(sent.offset(), noted.get(sent.partition(), 0))

        for number, each in enumerate(batch):
            note = msgspec.structs.replace(each.note, replayed_as=placed.get(number))
            self._produce(self._notes, Message(msgspec.json.encode(note), each.identity.encode()), delivered)
        self._flush(refused)

    def _flush(self, refused: list[KafkaError]) -> None:
        """Returns when all are written or one is refused: what comes after that one may stay in the queue."""
        deadline = time.monotonic() + _TIMEOUT
        try:
            while self._producer.flush(0.2) and not refused:
                if time.monotonic() > deadline:
                    refused.append(KafkaError(KafkaError._TIMED_OUT))
        except SystemError as raised:  # the client calls back while it raises a fatal error
            if isinstance(raised.__cause__, KafkaException):
                raise raised.__cause__ from None
            raise

    def _produce(self, topic: str, message: Message, delivered: Any) -> None:
        options: dict[str, Any] = {"headers": list(message.headers)} if message.headers else {}
        if message.timestamp is not None:
            options["timestamp"] = message.timestamp
        if message.partition is not None and message.partition < self._count(topic):
            options["partition"] = message.partition
        while True:
            try:
                self._producer.produce(topic, message.value, message.key, on_delivery=delivered, **options)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _count(self, topic: str) -> int:
        """A topic that was made anew may have fewer partitions: then the key says where a record goes."""
        if topic not in self._partitions:
            info = describe_topics(self._settings, [topic])[topic]
            if info is None:
                raise no_such_topic(self._settings, topic)
            self._partitions[topic] = info.partitions
        return self._partitions[topic]

    def _require_decided(self) -> None:
        """Returns when no transaction on the notes is open: what is read then is all that there is."""
        deadline = time.monotonic() + _TIMEOUT
        while end_offsets(self._settings, self._notes) != end_offsets(
            self._settings, self._notes, isolation="read_committed"
        ):
            if time.monotonic() > deadline:
                raise WorkError(f"{self._notes}: a transaction is still open; try again in a minute")
            time.sleep(0.1)

    def _try(self, operation: Any) -> None:
        try:
            operation(_TIMEOUT)
        except KafkaException as raised:
            raise self._refusal(_told(raised), ()) from raised

    def _taken_over(self) -> WorkError:
        return WorkError(f"another replay of {self._job} has taken over; this one has stopped")

    def _refusal(self, error: KafkaError, batch: Sequence[Sending]) -> Exception:
        if error.code() in _FENCED:
            return self._taken_over()
        topic = next((each.topic for each in batch if each.topic), self._notes)
        return needs(self._settings, "Write", "topic", topic)(error)


def _told(raised: KafkaException) -> KafkaError:
    error: KafkaError = raised.args[0]
    return error
