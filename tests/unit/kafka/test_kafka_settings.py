"""One set of settings, two clients, no secret in sight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings, Kerberos, OAuth, list_topics
from flink_jobs.spec.secrets import redact
from tests.helpers.certificates import Authority


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
    """Java reads keys in PKCS #8 only, and not all kinds of encryption: its key is decrypted before."""
    authority = Authority(tmp_path)
    authority.issue("me", password="k")
    settings = ClientSettings(
        "a:1",
        protocol="SSL",
        ca_file=authority.file,
        certificate_file=tmp_path / "me.crt",
        key_file=tmp_path / "me.key",
        key_password="k",
    )
    java = settings.java()
    assert java["ssl.truststore.certificates"] == authority.file.read_text()
    assert java["ssl.keystore.certificate.chain"] == (tmp_path / "me.crt").read_text()
    assert same_key(java["ssl.keystore.key"], (tmp_path / "me.key").read_bytes())
    assert settings.librdkafka()["ssl.key.location"] == str(tmp_path / "me.key")


def same_key(clear: str, encrypted: bytes) -> bool:
    assert clear.startswith("-----BEGIN PRIVATE KEY-----")
    one, other = load_pem_private_key(clear.encode(), None), load_pem_private_key(encrypted, b"k")
    return one.public_key() == other.public_key()


def test_a_pkcs12_store_goes_to_java_as_text_and_to_librdkafka_as_it_is(tmp_path: Path) -> None:
    Authority(tmp_path).issue("me", password="k")
    store = {"keystore_file": tmp_path / "me.p12", "keystore_password": "k"}
    settings = ClientSettings("a:1", protocol="SSL", **store)  # type: ignore[arg-type]
    java, native = settings.java(), settings.librdkafka()
    assert same_key(java["ssl.keystore.key"], (tmp_path / "me.key").read_bytes())
    assert java["ssl.keystore.certificate.chain"].startswith((tmp_path / "me.crt").read_text())
    assert (native["ssl.keystore.location"], native["ssl.keystore.password"]) == (
        str(tmp_path / "me.p12"),
        "k",
    )


def test_a_certificate_that_cannot_be_used_names_its_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("me", password="k")
    authority.issue("other")
    me, crt = tmp_path / "me.key", tmp_path / "me.crt"
    wrong: list[tuple[dict[str, object], str]] = [
        ({"certificate_file": crt, "key_file": me}, f"{me} holds an encrypted key, which needs key_password"),
        ({"certificate_file": crt, "key_file": me, "key_password": "x"}, "key_password must be the password"),
        (
            {"certificate_file": crt, "key_file": tmp_path / "other.key"},
            "must hold the key of the client cert",
        ),
        ({"certificate_file": me}, f"{me} must be a PEM file with a certificate"),
        ({"certificate_file": crt}, f"{crt} must be a PEM file with a private key"),
        ({"keystore_file": tmp_path / "me.p12"}, "must be a PKCS #12 store that its password opens"),
        ({"keystore_file": crt, "keystore_password": "k"}, "must be a PKCS #12 store"),
        ({"certificate_file": tmp_path / "none"}, "must be a readable PEM file"),
    ]
    for given, message in wrong:
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            ClientSettings("a:1", protocol="SSL", **given).java()  # type: ignore[arg-type]
        assert "PRIVATE KEY" not in str(caught.value)


def test_tokens_come_from_one_server_for_both_clients(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    oauth = OAuth("https://login:8443/token", "me", 's"ecret', ("kafka", "more"), authority.file)
    settings = ClientSettings("a:1", protocol="SASL_SSL", mechanism="OAUTHBEARER", oauth=oauth)
    java, native = settings.java(), settings.librdkafka()
    assert java["sasl.oauthbearer.token.endpoint.url"] == native["sasl.oauthbearer.token.endpoint.url"]
    assert (native["sasl.oauthbearer.client.secret"], native["sasl.oauthbearer.scope"]) == (
        's"ecret',
        "kafka more",
    )
    assert 'clientSecret="s\\"ecret" scope="kafka more"' in java["sasl.jaas.config"]
    assert "\n" not in java["sasl.jaas.config"]
    assert redact(java)["sasl.jaas.config"] == "***"
    assert 's"ecret' not in repr(settings)


def test_what_a_client_lacks_is_named_with_the_package_that_has_it(tmp_path: Path) -> None:
    """Neither wheel brings Kerberos or Amazon's signatures."""
    kerberos = Kerberos("me@EXAMPLE.ORG", tmp_path / "keytab")
    settings = ClientSettings("127.0.0.1:1", protocol="SASL_SSL", mechanism="GSSAPI", kerberos=kerberos)
    assert "Krb5LoginModule" in settings.java()["sasl.jaas.config"]
    with pytest.raises(InputError, match="GSSAPI needs a confluent-kafka that is built with libsasl2"):
        list_topics(settings)
    amazon = ClientSettings("127.0.0.1:1", protocol="SASL_SSL", mechanism="AWS_MSK_IAM", region="eu-west-1")
    assert amazon.java()["sasl.mechanism"] == "AWS_MSK_IAM"
    with pytest.raises(InputError, match="pip install aws-msk-iam-sasl-signer-python"):
        list_topics(amazon)


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
    oauth = OAuth("https://login/token", "me", "hidden")
    hidden = {"ssl.truststore.password": "hidden", "ssl.key.password": "hidden"}
    settings = secured(key_password="hidden", keystore_password="hidden", oauth=oauth, properties=hidden)
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
        ({"mechanism": "OAUTHBEARER"}, r"OAUTHBEARER needs oauth"),
        ({"mechanism": "GSSAPI"}, r"GSSAPI needs kerberos"),
        ({"mechanism": "AWS_MSK_IAM"}, r"AWS_MSK_IAM needs region"),
    ],
)
def test_contradictions_are_input_errors(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        secured(**changes)
