"""Describes and creates topics of a Kafka cluster, and explains its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from flink_jobs.errors import InputError, TailraceError, WorkError
from flink_jobs.kafka.acls import Kind, Needed, command_for
from flink_jobs.kafka.causes import find_cause
from flink_jobs.kafka.settings import ClientSettings
from flink_jobs.system.processes import wait_until
from udfs.suggest import near

_TIMEOUT = 8.0
_REFUSED_AFTER = 3.0
_DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)

# What a broker says of a partition in the moments after its topic was created.
_SETTLING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)

# What a broker says of a group in the moments after its own start.
_COORDINATOR_MOVES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._WAIT_COORD,
)
_SETTLED_WITHIN = 30.0
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class TopicInfo:
    """One topic as the cluster has it; `max_message_bytes` is None when the user may not see its settings."""

    name: str
    partitions: int
    max_message_bytes: int | None


@dataclass(frozen=True)
class BrokerLimits:
    """The smallest limits over all brokers; None when the user may not see the brokers' settings."""

    transaction_max_timeout_ms: int | None
    message_max_bytes: int | None
    brokers: int


def answers(settings: ClientSettings, timeout: float = 3.0) -> bool:
    """Whether a broker answers a metadata request within `timeout` seconds."""
    try:
        _admin(settings.librdkafka()).list_topics(timeout=timeout)
    except KafkaException:
        return False
    return True


def list_topics(settings: ClientSettings) -> list[str]:
    """Names of the topics that the user may see, without Kafka's own."""
    names = connect(settings).list_topics(timeout=_TIMEOUT).topics
    return sorted(name for name in names if not name.startswith("__"))


def describe_topics(settings: ClientSettings, names: Iterable[str]) -> dict[str, TopicInfo | None]:
    """What each named topic is; None where there is none."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    admin = connect(settings)
    partitions = {
        name: _partitions(future, name, settings) for name, future in _describe(admin, wanted).items()
    }
    there = [name for name, count in partitions.items() if count is not None]
    limits = _topic_configs(admin, there, "max.message.bytes")
    return {
        name: None if count is None else TopicInfo(name, count, limits[name])
        for name, count in partitions.items()
    }


def topic_id(settings: ClientSettings, topic: str) -> str:
    """Kafka's own id of the topic: one that is made anew has another. Empty where there is no such topic."""
    admin = connect(settings)  # kept, as above
    [future] = _describe(admin, [topic]).values()
    try:
        return str(future.result().topic_id)
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return ""
        raise needs(settings, "Describe", "topic", topic)(raised.args[0]) from raised


def create_topics(
    settings: ClientSettings, partitions: Mapping[str, int], config: Mapping[str, str] | None = None
) -> set[str]:
    """Creates the topics that are missing, with so many partitions each and these topic settings.

    Returns the names that this call created; a topic that is there already, or that another process creates
    at the same moment, is left as it is. Returns when each broker's metadata shows them.
    """
    admin = connect(settings)
    new = [
        NewTopic(name, num_partitions=count, replication_factor=-1, config=dict(config or {}))
        for name, count in partitions.items()
    ]
    if not new:
        return set()
    created = {name for name, future in admin.create_topics(new).items() if _created(future, name, settings)}
    if not wait_until(lambda: set(partitions) <= _led(admin), _TIMEOUT):
        missing = ", ".join(sorted(set(partitions) - _led(admin)))
        raise WorkError(f"topics were created but do not show up on {settings.brokers}: {missing}")
    return created


def end_offsets(
    settings: ClientSettings, topic: str, *, isolation: str = "read_uncommitted"
) -> dict[int, int]:
    """The offset after the last record, by partition; with `read_committed`, after the last decided one.

    Raises InputError when there is no such topic.
    """
    info = describe_topics(settings, [topic])[topic]
    if info is None:
        raise no_such_topic(settings, topic)
    committed, all_records = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
    level = committed if isolation == "read_committed" else all_records
    wanted = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(info.partitions)}
    admin = connect(settings)  # kept: its futures end only while it is there
    deadline = time.monotonic() + _TIMEOUT
    while True:
        futures = admin.list_offsets(wanted, isolation_level=level, request_timeout=_TIMEOUT)
        try:
            return {end.partition: future.result().offset for end, future in futures.items()}
        except KafkaException as raised:
            if raised.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                raise needs(settings, "Describe", "topic", topic)(raised.args[0]) from raised
        time.sleep(0.1)


def begin_offsets(settings: ClientSettings, topic: str, since_ms: int | None = None) -> dict[int, int]:
    """The offset of the first record that is there, by partition; with `since_ms`, of the first from then on.

    Where none is so young, the end of the partition. Raises InputError when there is no such topic.
    """
    ends = end_offsets(settings, topic)
    first = OffsetSpec.earliest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)
    admin = connect(settings)  # kept: its futures end only while it is there
    futures = admin.list_offsets({TopicPartition(topic, number): first for number in ends})
    try:
        found = {each.partition: future.result().offset for each, future in futures.items()}
    except KafkaException as raised:
        raise needs(settings, "Describe", "topic", topic)(raised.args[0]) from raised
    return {number: ends[number] if offset < 0 else offset for number, offset in found.items()}


def committed_offsets(settings: ClientSettings, group: str, topic: str) -> dict[int, int]:
    """The offset up to which the group has read, by partition; none where it has committed none."""
    return {each.partition: each.offset for each in committed_places(settings, group, topic)}


def committed_places(settings: ClientSettings, group: str, topic: str) -> list[TopicPartition]:
    """The same, with the words that were committed beside. Raises InputError when there is no such topic."""
    places = [TopicPartition(topic, number) for number in end_offsets(settings, topic)]

    def ask(consumer: Consumer) -> list[TopicPartition]:
        return [each for each in consumer.committed(places, timeout=_TIMEOUT) if each.offset >= 0]

    return _in_group(settings, group, ask)


def _in_group(settings: ClientSettings, group: str, ask: Callable[[Consumer], _Answer]) -> _Answer:
    """Asks by a consumer that joins nothing, again while the brokers settle; their refusals are explained.

    An admin client asks the same, but ends the process where the broker that it asks is not the group's
    coordinator, as in the moments after a start: librdkafka takes it for a consumer then
    (confluent-kafka-javascript#374).
    """
    consumer = Consumer(settings.librdkafka() | {"group.id": group, "enable.auto.commit": False})
    deadline = time.monotonic() + _SETTLED_WITHIN
    try:
        while True:
            try:
                return ask(consumer)
            except KafkaException as raised:
                error = raised.args[0]
                if error.code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                    raise needs(settings, "Read", "group", group)(error) from raised
            time.sleep(0.2)
    finally:
        consumer.close()


def gone_offsets(settings: ClientSettings, read: Mapping[int, int], topic: str) -> dict[int, tuple[int, int]]:
    """Offsets, [from, to), that the topic has deleted of what is not `read` up to these, by partition."""
    begins = begin_offsets(settings, topic)
    return {
        number: (offset, begins[number]) for number, offset in read.items() if offset < begins.get(number, 0)
    }


def commit_offsets(settings: ClientSettings, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Says that the group has read so far, by partition; a group that has members refuses it."""
    commit_places(
        settings, group, [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
    )


def commit_places(settings: ClientSettings, group: str, places: list[TopicPartition]) -> None:
    """The same, with words beside the offsets."""
    connect(settings)  # else the commit waits for brokers for ever

    def commit(consumer: Consumer) -> None:
        for each in consumer.commit(offsets=places, asynchronous=False) or ():
            if each.error:
                raise KafkaException(each.error)

    _in_group(settings, group, commit)


def cluster_limits(settings: ClientSettings) -> BrokerLimits:
    """The limits that a job has to keep."""
    admin = connect(settings)
    brokers = [str(number) for number in admin.list_topics(timeout=_TIMEOUT).brokers]
    configs = _configs(admin, ResourceType.BROKER, brokers).values()

    def smallest(name: str) -> int | None:
        return min((int(config[name].value) for config in configs if config and name in config), default=None)

    return BrokerLimits(smallest("transaction.max.timeout.ms"), smallest("message.max.bytes"), len(brokers))


def connect(settings: ClientSettings, timeout: float = _TIMEOUT) -> AdminClient:
    """A client that has reached a broker.

    Raises WorkError that says what is wrong on the way there, InputError for settings that cannot work.
    """
    settings.java()  # reads all files
    seen: list[KafkaError] = []
    admin = _admin(settings.librdkafka() | {"error_cb": seen.append})
    started, looked = time.monotonic(), False
    while (waited := time.monotonic() - started) < timeout:
        try:
            admin.list_topics(timeout=1.0)
        except KafkaException:
            admin.poll(0)
        else:
            return admin
        if refused := next((error for error in seen if error.code() == KafkaError._AUTHENTICATION), None):
            raise _refused(settings, refused)
        if not looked and (cause := find_cause(settings)):
            raise WorkError(cause)
        looked = True
        if waited > _REFUSED_AFTER and any(error.code() == KafkaError._ALL_BROKERS_DOWN for error in seen):
            break
    raise unreachable(settings)


def _admin(options: dict[str, Any]) -> AdminClient:
    try:
        return AdminClient(options)
    except KafkaException as raised:
        raise InputError(_unsupported(options, raised.args[0].str())) from raised


def _unsupported(options: Mapping[str, Any], reason: str) -> str:
    """What this build of librdkafka cannot do, or does not read."""
    mechanism = options.get("sasl.mechanism")
    if mechanism == "GSSAPI" and "No provider" in reason:
        return (
            "kafka.security.mechanism GSSAPI needs a confluent-kafka that is built with libsasl2; its wheels "
            "are not: pip install --no-binary confluent-kafka confluent-kafka, beside the system's packages "
            "librdkafka-dev and libsasl2-modules-gssapi-mit"
        )
    return f"kafka.security: the Kafka client refuses the settings: {reason}"


def _refused(settings: ClientSettings, error: KafkaError) -> WorkError:
    if settings.oauth and "token" in error.str().lower():
        return WorkError(f"no token from {settings.oauth.token_url} for {settings.who}: {error.str()}")
    return WorkError(f"{settings.brokers} refused the credentials of {settings.who}: {error.str()}")


def unreachable(settings: ClientSettings) -> WorkError:
    """The error for a cluster that does not answer."""
    return WorkError(
        f"no Kafka broker answers at {settings.brokers}; is it running? `tailrace up` starts a local one"
    )


def no_such_topic(settings: ClientSettings, topic: str) -> InputError:
    """The error for a topic that is not there, with the names that are nearly right."""
    meant = near(topic, list_topics(settings), most=3)
    hint = f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""
    return InputError(f"no topic {topic!r} at {settings.brokers}{hint}")


def needs(
    settings: ClientSettings, right: str, kind: Kind, name: str
) -> Callable[[KafkaError], TailraceError]:
    """What to raise for a KafkaError in an operation that needs this right on a resource."""
    resource = f"{kind} {name!r}"

    def explain(error: KafkaError) -> TailraceError:
        code = error.code()
        if code in _DENIED:
            return WorkError(
                f"{settings.who} needs the right {right} on {resource} at {settings.brokers}:\n"
                f"  {command_for(settings, Needed(kind, name, (right.upper(),)))}"
            )
        if code == KafkaError.TOPIC_EXCEPTION:
            return InputError(f"{resource}: a topic's name must be 1 to 249 letters, digits, dots, _ or -")
        if code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
            return unreachable(settings)
        return WorkError(f"{resource} at {settings.brokers}: {error.str()}")

    return explain


def _describe(admin: AdminClient, names: list[str]) -> dict[str, Future[Any]]:
    described: dict[str, Future[Any]] = admin.describe_topics(
        TopicCollection(names), request_timeout=_TIMEOUT
    )
    return described


def _partitions(future: Future[Any], name: str, settings: ClientSettings) -> int | None:
    try:
        return len(future.result().partitions) or None  # of none nothing could be read, without a word
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise needs(settings, "Describe", "topic", name)(raised.args[0]) from raised


def _topic_configs(admin: AdminClient, names: list[str], key: str) -> dict[str, int | None]:
    configs = _configs(admin, ResourceType.TOPIC, names)
    return {name: int(config[key].value) if config else None for name, config in configs.items()}


def _configs(admin: AdminClient, kind: ResourceType, names: list[str]) -> dict[str, Any]:
    """Settings by name; None for what the user may not see."""
    if not names:
        return {}
    futures = admin.describe_configs([ConfigResource(kind, name) for name in names], request_timeout=_TIMEOUT)
    return {resource.name: _or_none(future) for resource, future in futures.items()}


def _or_none(future: Future[Any]) -> Any:
    try:
        return future.result()
    except KafkaException:
        return None


def _created(future: Future[Any], name: str, settings: ClientSettings) -> bool:
    try:
        future.result()
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise needs(settings, "Create", "topic", name)(raised.args[0]) from raised
    return True


def _led(admin: AdminClient) -> set[str]:
    """Topics all of whose partitions have a leader."""
    topics = admin.list_topics(timeout=_TIMEOUT).topics.values()
    return {t.topic for t in topics if t.partitions and all(p.leader >= 0 for p in t.partitions.values())}
