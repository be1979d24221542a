"""One set of settings, two clients, no secret in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings
from flink_jobs.spec.secrets import redact


def secured(**changes: object) -> ClientSettings:
    given = {
        "brokers": "a:9093",
        "protocol": "SASL_SSL",
        "mechanism": "PLAIN",
        "username": "me",
        "password": 'p"\\w',
    } | changes
    return ClientSettings(**given)  # type: ignore[arg-type]


def test_plain_settings_hold_the_address_alone() -> None:
    settings = ClientSettings("a:1,b:2")
    assert settings.java() == {"bootstrap.servers": "a:1,b:2"}
    assert settings.librdkafka()["bootstrap.servers"] == "a:1,b:2"


def test_credentials_reach_both_clients_quoted_for_java() -> None:
    java, native = secured().java(), secured().librdkafka()
    assert java["security.protocol"] == native["security.protocol"] == "SASL_SSL"
    assert java["sasl.jaas.config"] == (
        "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="me" password="p\\"\\\\w";'
    )
    assert (native["sasl.username"], native["sasl.password"]) == ("me", 'p"\\w')


def test_an_unshaded_client_gets_the_plain_class_name() -> None:
    jaas = secured(mechanism="SCRAM-SHA-512").java(shaded=False)["sasl.jaas.config"]
    assert jaas.startswith("org.apache.kafka.common.security.scram.ScramLoginModule required ")


def test_certificates_go_to_java_as_text_and_to_librdkafka_as_paths(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"PEM {name}")
    settings = ClientSettings(
        "a:1",
        protocol="SSL",
        ca_file=tmp_path / "ca",
        certificate_file=tmp_path / "cert",
        key_file=tmp_path / "key",
        key_password="k",
    )
    java = settings.java()
    assert java["ssl.truststore.certificates"] == "PEM ca"
    assert (java["ssl.keystore.certificate.chain"], java["ssl.keystore.key"]) == ("PEM cert", "PEM key")
    assert settings.librdkafka()["ssl.key.location"] == str(tmp_path / "key")


def test_a_missing_certificate_is_an_input_error(tmp_path: Path) -> None:
    settings = ClientSettings("a:1", protocol="SSL", ca_file=tmp_path / "none")
    with pytest.raises(InputError, match=r"must be a readable PEM file; got .*none"):
        settings.java()


def test_java_properties_that_librdkafka_would_refuse_stay_with_java() -> None:
    settings = ClientSettings("a:1", properties={"client.id": "x", "max.poll.records": "5"})
    assert settings.java()["max.poll.records"] == "5"
    assert settings.librdkafka()["client.id"] == "x"
    assert "max.poll.records" not in settings.librdkafka()


def test_secrets_are_neither_in_the_repr_nor_in_redacted_properties() -> None:
    settings = secured(key_password="hidden", properties={"ssl.truststore.password": "hidden"})
    assert "hidden" not in repr(settings)
    assert 'p"' not in repr(settings)
    shown = redact(settings.java())
    assert shown["ssl.truststore.password"] == shown["sasl.jaas.config"] == shown["ssl.key.password"] == "***"
    assert shown["bootstrap.servers"] == "a:9093"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"brokers": "a"}, r"must be host:port, separated by commas; got 'a'"),
        ({"brokers": "a:1,"}, r"must be host:port"),
        ({"brokers": ""}, r"must be host:port"),
        ({"protocol": "TLS"}, r"protocol must be one of PLAINTEXT, SSL, .*; got 'TLS'"),
        ({"mechanism": None}, r"mechanism must be one of PLAIN, .*; got None"),
        ({"password": None}, r"SASL_SSL needs a username and a password"),
    ],
)
def test_contradictions_are_input_errors(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        secured(**changes)
