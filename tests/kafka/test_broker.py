"""A real broker: topics, transactions, rights, and what is said when something is wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    TopicInfo,
    answers,
    cluster_limits,
    count_committed,
    create_topics,
    describe_topics,
    end_offsets,
    list_topics,
    produce,
    produce_lines,
    read_topic,
    records,
)
from flink_jobs.system.processes import free_port
from flink_jobs.testing import Broker

NewTopic = Callable[..., str]


def test_records_come_back_byte_for_byte(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=2)
    given = [
        Message(
            b"\xff\x00\n", b"\xfe", [("h", b"\x01"), ("h", None)], timestamp=1_356_998_400_000, partition=1
        ),
        Message(None, b"", timestamp=2, partition=1),
        Message(b"", None, timestamp=253_370_764_800_000, partition=1),
    ]
    assert produce(kafka, topic, given) == 3
    read = list(read_topic(kafka, topic))
    assert [(r.value, r.key, r.headers, r.timestamp) for r in read] == [
        (m.value, m.key, list(m.headers), m.timestamp) for m in given
    ]
    assert [(r.partition, r.offset) for r in read] == [(1, 0), (1, 1), (1, 2)]
    assert end_offsets(kafka, topic) == {0: 0, 1: 3}


def test_one_key_stays_in_one_partition_in_order(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=4)
    lines = [b"%d\n" % number for number in range(2_000)]
    assert produce_lines(kafka, topic, lines, key=lambda line: line[:1]) == 2_000
    read = list(read_topic(kafka, topic))
    assert len(read) == 2_000
    for digit in b"123456789":
        mine = [r for r in read if r.key == bytes([digit])]
        assert len({r.partition for r in mine}) == 1
        assert [r.value for r in mine] == [line.strip() for line in lines if line[0] == digit]


def test_keys_choose_partitions_as_java_does(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=97)
    # From the Java client's own test of murmur2: hash of "foobar" is -790332482.
    produce(kafka, topic, [Message(b"", b"foobar")])
    expected = (-790332482 & 0x7FFFFFFF) % 97
    assert [r.partition for r in read_topic(kafka, topic)] == [expected]


def test_only_committed_records_are_read_and_counted(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    producer = Producer({"bootstrap.servers": kafka.brokers, "transactional.id": topic})
    producer.init_transactions()
    for value, commit in ((b"kept", True), (b"aborted", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush()
        producer.commit_transaction() if commit else producer.abort_transaction()
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush()

    assert [r.value for r in read_topic(kafka, topic)] == [b"kept", b"kept too"]
    assert count_committed(kafka, topic) == 2
    everything = [r.value for r in read_topic(kafka, topic, isolation="read_uncommitted")]
    assert everything == [b"kept", b"aborted", b"kept too", b"open"]
    assert end_offsets(kafka, topic) == {0: 7}
    assert end_offsets(kafka, topic, isolation="read_committed") == {0: 6}
    producer.abort_transaction()


def test_an_end_that_moves_on_is_no_end(kafka: ClientSettings, new_topic: NewTopic) -> None:
    """A partition seems shorter for a moment, by an open transaction, and ends in one that was aborted."""
    topic = new_topic()
    produce(kafka, topic, [Message(b"before")])
    producer = Producer(kafka.librdkafka() | {"transactional.id": topic})
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(5):
        producer.produce(topic, b"%d" % number)
    producer.flush(10)
    ends = end_offsets(kafka, topic)  # 6: those of the open transaction count
    consumer = records._consumer(kafka, topic, {0: 0}, "read_committed")
    try:
        found = records._until(consumer, ends, 10, kafka, topic)
        assert next(found).value() == b"before"
        timer = threading.Timer(2, producer.commit_transaction, [10])
        timer.start()
        assert [each.value() for each in found] == [b"0", b"1", b"2", b"3", b"4"]
        timer.join()
    finally:
        consumer.close()
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(10)
    producer.abort_transaction(10)
    assert [each.value for each in read_topic(kafka, topic, timeout=10)][1:] == [b"0", b"1", b"2", b"3", b"4"]


def test_what_is_left_of_a_topic_is_read_and_what_is_missing_is_said(
    kafka: ClientSettings, new_topic: NewTopic
) -> None:
    """Retention, which passes a reader by; and a topic that was made anew, shorter, under another reader."""
    topic = new_topic()
    produce(kafka, topic, [Message(b"%d" % number) for number in range(6)])
    admin = AdminClient(kafka.librdkafka())
    admin.delete_records([TopicPartition(topic, 0, 4)])[TopicPartition(topic, 0)].result(10)
    for since in ({0: 2}, {0: 5}, None):
        first = max(4, (since or {0: 0})[0])
        read = read_topic(kafka, topic, since=since)
        assert [each.value for each in read] == [b"%d" % number for number in range(first, 6)]
    consumer = records._consumer(kafka, topic, {0: 0}, "read_committed")
    try:
        with pytest.raises(WorkError, match=f"nothing of {topic} for 2 s: partition 0 read to 6 of 40000"):
            list(records._until(consumer, {0: 40_000}, 2, kafka, topic))
    finally:
        consumer.close()


def test_limit_and_start_choose_what_is_read(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce_lines(kafka, topic, [b"1", b"2", b"3"])
    assert [r.value for r in read_topic(kafka, topic, limit=2)] == [b"1", b"2"]
    assert list(read_topic(kafka, topic, limit=0)) == []
    assert list(read_topic(kafka, topic, from_beginning=False)) == []


def test_following_sees_later_records_and_ends_when_quiet(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    produce_lines(kafka, topic, [b"1"])
    followed = read_topic(kafka, topic, follow=True, timeout=3)
    assert next(followed).value == b"1"
    produce_lines(kafka, topic, [b"2"])
    assert [r.value for r in followed] == [b"2"]


def test_topics_are_described_and_created_once(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=3, max_message_bytes="2000")
    assert create_topics(kafka, {topic: 5}) == set()
    described = describe_topics(kafka, [topic, "no-such-topic"])
    assert described == {topic: TopicInfo(topic, 3, 2000), "no-such-topic": None}
    assert topic in list_topics(kafka)


def test_many_may_create_the_same_topic_at_once(kafka: ClientSettings, new_topic: NewTopic) -> None:
    name = new_topic() + "-raced"
    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(lambda _: create_topics(kafka, {name: 2}), range(4)))
    assert sorted(map(len, created)) == [0, 0, 0, 1]


def test_limits_are_the_brokers_own(kafka: ClientSettings) -> None:
    limits = cluster_limits(kafka)
    assert (limits.transaction_max_timeout_ms, limits.brokers) == (900_000, 1)
    assert limits.message_max_bytes == 1_048_588


def test_a_record_over_the_topics_limit_is_named(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic(max_message_bytes="2000")
    random = Random(1)
    small = [Message(random.randbytes(300)) for _ in range(500)]
    assert produce(kafka, topic, small) == count_committed(kafka, topic) == 500
    with pytest.raises(WorkError, match=r"record 2 is larger than its max\.message\.bytes"):
        produce(kafka, topic, [Message(b"small"), Message(random.randbytes(4000))])


def test_a_missing_topic_suggests_near_names(kafka: ClientSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    with pytest.raises(InputError, match=rf"no topic '{topic}x' at .*; did you mean '{topic}'"):
        list(read_topic(kafka, topic + "x"))
    with pytest.raises(InputError, match="no topic"):
        produce_lines(kafka, topic + "x", [b"1"])


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 250])
def test_an_impossible_topic_name_is_an_input_error(kafka: ClientSettings, name: str) -> None:
    with pytest.raises(InputError, match="must be 1 to 249 letters, digits"):
        create_topics(kafka, {name: 1})


def test_no_broker_is_one_clear_error_within_ten_seconds() -> None:
    settings = ClientSettings(f"127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(WorkError, match=rf"no Kafka broker answers at {settings.brokers}.*tailrace up"):
        describe_topics(settings, ["any"])
    assert time.monotonic() - started < 10
    assert not answers(settings, timeout=0.5)


def test_a_port_that_accepts_but_never_answers_is_an_error_within_ten_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(WorkError, match="no Kafka broker answers"):
            list_topics(ClientSettings(f"127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - started < 10


def test_a_chosen_port_in_use_is_an_error_before_the_start(broker: Broker, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=f"port {broker.port} for the Kafka broker is in use"),
        Broker(directory=tmp_path, port=broker.port),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_broker_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(WorkError, match=r"(?s)did not come up:.*heap"),
        Broker(directory=tmp_path, heap="1k"),
    ):
        pass


def test_settings_that_the_broker_refuses_are_shown(tmp_path: Path) -> None:
    with (
        pytest.raises(WorkError, match=r"(?s)cannot format the Kafka data directory:.*num.io.threads"),
        Broker(directory=tmp_path, settings={"num.io.threads": "many"}),
    ):
        pass


def _user(brokers: str, name: str, password: str = "pw") -> ClientSettings:
    return ClientSettings(brokers, "SASL_PLAINTEXT", "PLAIN", name, password)


@pytest.fixture(scope="module")
def secured() -> Iterator[str]:
    """A broker with users and rights; its address for SASL clients. The topic `seen` is open to nobody."""
    plain, sasl, controller = free_port(), free_port(), free_port()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{login} user_admin="pw" user_guest="pw";',
    }
    with Broker(port=plain, controller_port=controller, settings=settings):
        brokers = f"127.0.0.1:{sasl}"
        create_topics(_user(brokers, "admin"), {"seen": 1})
        yield brokers


def _allow(brokers: str, operation: AclOperation) -> None:
    acl = AclBinding(
        ResourceType.TOPIC,
        "seen",
        ResourcePatternType.LITERAL,
        "User:guest",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )
    admin = AdminClient(_user(brokers, "admin").librdkafka())
    for future in admin.create_acls([acl]).values():
        future.result()


def test_missing_rights_name_user_right_and_topic(secured: str) -> None:
    guest = _user(secured, "guest")
    with pytest.raises(
        WorkError, match=r"user 'guest' needs the right Describe on topic 'seen' at 127"
    ) as told:
        describe_topics(guest, ["seen"])
    line = "--add --allow-principal User:guest --operation Describe --topic seen"
    assert str(told.value).endswith(f":\n  kafka-acls --bootstrap-server {guest.brokers} {line}")
    with pytest.raises(WorkError, match=r"user 'guest' needs the right Create on topic 'mine'"):
        create_topics(guest, {"mine": 1})
    _allow(secured, AclOperation.DESCRIBE)
    assert describe_topics(guest, ["seen"]) == {"seen": TopicInfo("seen", 1, None)}
    produce_lines(_user(secured, "admin"), "seen", [b"1"])
    with pytest.raises(WorkError, match=r"user 'guest' needs the right Read on topic 'seen'"):
        list(read_topic(guest, "seen"))
    with pytest.raises(WorkError, match=r"user 'guest' needs the right Write on topic 'seen'"):
        produce_lines(guest, "seen", [b"1"])
    assert cluster_limits(guest).transaction_max_timeout_ms is None


def test_refused_credentials_are_said_and_the_password_is_not(secured: str) -> None:
    with pytest.raises(WorkError, match=r"refused the credentials of user 'guest'") as raised:
        list_topics(_user(secured, "guest", "hunter2"))
    assert "hunter2" not in str(raised.value)
