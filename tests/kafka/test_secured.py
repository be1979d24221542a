"""Brokers that ask for proof: who gets in, and what is said to who does not."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, Message, create_topics, list_topics, produce, read_topic
from tests.helpers.certificates import Authority
from tests.helpers.secured import Secured, secured_broker


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("tls")) as running:
        create_topics(running.admin, {"seen": 1})
        for principal in ("User:alice", "User:CN=scorer"):
            running.allow(principal, ResourceType.TOPIC, "seen", AclOperation.READ, AclOperation.WRITE)
        yield running


def ways_in(secured: Secured) -> dict[str, ClientSettings]:
    folder = secured.authority.folder
    secured.authority.issue("scorer", password="of the key")
    sealed: dict[str, Any] = {"key_file": folder / "scorer.key", "key_password": "of the key"}
    return {
        "scram": secured.scram("alice"),
        "pem": secured.tls(certificate_file=folder / "scorer.crt", **sealed),
        "pem in one": secured.tls(certificate_file=folder / "scorer.pem", key_password="of the key"),
        "pkcs12": secured.tls(keystore_file=folder / "scorer.p12", keystore_password="of the key"),
    }


def test_each_kind_of_proof_writes_and_reads(secured: Secured) -> None:
    for name, settings in ways_in(secured).items():
        assert produce(settings, "seen", [Message(name.encode())]) == 1
    assert [record.value for record in read_topic(secured.scram("alice"), "seen")] == [
        name.encode() for name in ways_in(secured)
    ]


def test_each_obstacle_has_its_own_words_within_ten_seconds(secured: Secured, tmp_path: Path) -> None:
    """librdkafka says the same of the first three, and nothing of the fourth."""
    stranger = Authority(tmp_path, "stranger")
    stranger.issue("scorer")
    plain, scram, mtls = (secured.address(name) for name in ("PLAINTEXT", "SCRAM", "MTLS"))
    expired, misnamed = secured.address("EXPIRED"), secured.address("MISNAMED")
    cases = {
        "wrong authority": (
            secured.scram("alice", ca_file=stranger.file),
            rf"the certificate of {scram}, issued by CN=ca, comes from none of the authorities in "
            rf"{stranger.file}: kafka.security.ca_file must be the one",
        ),
        "expired": (secured.tls("EXPIRED"), rf"the certificate of {expired} expired on \d{{4}}-\d\d-\d\d"),
        "other host": (
            secured.tls("MISNAMED"),
            rf"the certificate of {misnamed} is for another host than 127.0.0.1; it is for kafka.example.org",
        ),
        "plain to TLS": (
            ClientSettings(scram),
            rf"{scram} speaks TLS: kafka.security.protocol must be SSL; got PLAINTEXT",
        ),
        "TLS to plain": (
            secured.tls("PLAINTEXT"),
            rf"{plain} does not speak TLS: kafka.security.protocol must be PLAINTEXT; got SSL",
        ),
        "no client certificate": (
            secured.tls(),
            rf"{mtls} asks for a client certificate: kafka.security.certificate_file and key_file",
        ),
        "a stranger's certificate": (
            secured.tls(certificate_file=tmp_path / "scorer.pem"),
            rf"{mtls} refuses the client certificate in {tmp_path}/scorer.pem",
        ),
        "wrong password": (
            secured.scram("alice", password="hunter2"),
            rf"{scram} refused the credentials of user 'alice': .*invalid credentials",
        ),
    }
    said = {}
    for name, (settings, message) in cases.items():
        started = time.monotonic()
        with pytest.raises(WorkError, match=message) as caught:
            list_topics(settings)
        assert time.monotonic() - started < 10, name
        said[name] = str(caught.value)
    assert len({re.sub(r"127\.0\.0\.1:\d+", "", text)[:45] for text in said.values()}) == len(cases)
    assert not any("hunter2" in text or "tailrace up" in text for text in said.values())


def test_a_host_without_name_is_said() -> None:
    with pytest.raises(WorkError, match=r"the host name in nowhere\.invalid:9093 is unknown here"):
        list_topics(ClientSettings("nowhere.invalid:9093"))


def test_a_port_that_never_answers_tls_is_an_error_within_ten_seconds(secured: Secured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WorkError, match="no Kafka broker answers"):
            list_topics(ClientSettings(address, protocol="SSL", ca_file=secured.authority.file))
        assert time.monotonic() - started < 10
