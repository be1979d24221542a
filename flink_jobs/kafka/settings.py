"""Says how to reach a Kafka cluster, for both clients: librdkafka here, Java in Flink.

>>> login = {"mechanism": "PLAIN", "username": "scorer", "password": "secret"}
>>> settings = ClientSettings("broker:9093", protocol="SASL_SSL", **login)
>>> settings.librdkafka()["sasl.mechanism"]
'PLAIN'
>>> "sasl.jaas.config" in settings.java()
True
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flink_jobs.errors import InputError
from flink_jobs.kafka.credentials import Kerberos, OAuth
from flink_jobs.kafka.msk import token_callback
from flink_jobs.system.certificates import Certificate, keystore_certificate, pem_certificate, read_pem

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = (*PASSWORD_MECHANISMS, "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI")
# Java properties that librdkafka knows under the same name; it refuses names that it does not know.
_SHARED = (
    "client.id",
    "client.rack",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
)
# The SQL connector's jar carries its own copy of the Kafka client under this package.
SHADED = "org.apache.flink.kafka.shaded."
_SECURITY = "org.apache.kafka.common.security"

# librdkafka reports through errors, which callers show; its own log would go to stderr.
_QUIET = logging.Logger("librdkafka", level=logging.CRITICAL + 1)


@dataclass(frozen=True)
class ClientSettings:
    """Addresses and credentials; files are PEM, but for `keystore_file`, which is PKCS #12.

    `properties` are extra Java client properties, `region` is that of AWS_MSK_IAM. Raises InputError when the
    parts contradict each other or a file cannot be read.
    """

    brokers: str
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    keystore_file: Path | None = None
    keystore_password: str | None = field(default=None, repr=False)
    oauth: OAuth | None = None
    kerberos: Kerberos | None = None
    region: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for address in self.brokers.split(","):
            if not re.fullmatch(r"\s*[^\s:]\S*:\d{1,5}\s*", address):
                raise InputError(
                    f"Kafka brokers must be host:port, separated by commas; got {self.brokers!r}"
                )
        _require_one_of("Kafka security protocol", self.protocol, PROTOCOLS)
        if self.sasl:
            _require_one_of("SASL mechanism", self.mechanism, MECHANISMS)
            self._require_login()

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL")

    @property
    def tls(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def who(self) -> str:
        """Whom the brokers see, for messages."""
        name = self.username or (self.kerberos and self.kerberos.principal)
        if self.oauth and self.mechanism == "OAUTHBEARER":
            return f"client {self.oauth.client_id!r}"
        if name:
            return f"user {name!r}"
        holder = self.certificate_file or self.keystore_file
        return f"the holder of {holder}" if holder and not self.sasl else "the anonymous user"

    def librdkafka(self) -> dict[str, Any]:
        """The settings under librdkafka's names, secrets included."""
        shared = {key: value for key, value in self.properties.items() if key in _SHARED}
        return shared | {"bootstrap.servers": self.brokers, "logger": _QUIET} | self._security_librdkafka()

    def java(self, *, shaded: bool = True) -> dict[str, str]:
        """The settings under the Java client's names, secrets included.

        `shaded` is for Flink's SQL connector; without it the names fit a plain Java client.
        """
        return {"bootstrap.servers": self.brokers} | self._security_java(shaded) | dict(self.properties)

    def certificate(self) -> Certificate | None:
        """The client's own certificate with its key, if it has one. Raises InputError for wrong files."""
        if self.keystore_file:
            return keystore_certificate(self.keystore_file, self.keystore_password)
        if self.certificate_file:
            return pem_certificate(self.certificate_file, self.key_file, self.key_password)
        return None

    def _require_login(self) -> None:
        if self.mechanism in PASSWORD_MECHANISMS and (self.username is None or self.password is None):
            raise InputError(f"Kafka security protocol {self.protocol} needs a username and a password")
        needed = {"OAUTHBEARER": self.oauth, "GSSAPI": self.kerberos, "AWS_MSK_IAM": self.region}
        if self.mechanism in needed and not needed[self.mechanism]:
            name = {"OAUTHBEARER": "oauth", "GSSAPI": "kerberos", "AWS_MSK_IAM": "region"}[self.mechanism]
            raise InputError(f"SASL mechanism {self.mechanism} needs {name}")

    def _security_librdkafka(self) -> dict[str, Any]:
        settings = {
            "security.protocol": self.protocol,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file or self.certificate_file,
            "ssl.key.password": self.key_password,
            "ssl.keystore.location": self.keystore_file,
            "ssl.keystore.password": self.keystore_password,
        }
        if self.sasl:
            settings |= self._login_librdkafka()
        return {
            key: value if callable(value) else str(value)
            for key, value in settings.items()
            if value is not None
        }

    def _login_librdkafka(self) -> dict[str, Any]:
        if self.mechanism == "OAUTHBEARER" and (oauth := self.oauth):
            return {
                "sasl.mechanism": self.mechanism,
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.token.endpoint.url": oauth.token_url,
                "sasl.oauthbearer.client.id": oauth.client_id,
                "sasl.oauthbearer.client.secret": oauth.client_secret,
                "sasl.oauthbearer.scope": " ".join(oauth.scopes) or None,
                "https.ca.location": oauth.ca_file,
            }
        if self.mechanism == "AWS_MSK_IAM" and self.region:
            return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": token_callback(self.region)}
        if self.mechanism == "GSSAPI" and (kerberos := self.kerberos):
            return {
                "sasl.mechanism": self.mechanism,
                "sasl.kerberos.principal": kerberos.principal,
                "sasl.kerberos.keytab": kerberos.keytab,
                "sasl.kerberos.service.name": kerberos.service,
            }
        return {
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password,
        }

    def _security_java(self, shaded: bool) -> dict[str, str]:
        settings: dict[str, str] = {}
        if self.protocol != "PLAINTEXT":
            settings["security.protocol"] = self.protocol
        if self.sasl and self.mechanism:
            settings |= self._login_java(SHADED if shaded else "")
        if self.ca_file:
            settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": read_pem(self.ca_file)}
        if own := self.certificate():
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": own.chain,
                "ssl.keystore.key": own.key,
            }
        return settings

    def _login_java(self, package: str) -> dict[str, str]:
        """`package` is where the connector keeps its copy of the Kafka client."""
        security, mechanism = f"{package}{_SECURITY}", str(self.mechanism)
        if mechanism == "OAUTHBEARER" and self.oauth:
            bearer = f"{security}.oauthbearer.OAuthBearerLogin"
            return {
                "sasl.mechanism": mechanism,
                "sasl.login.callback.handler.class": f"{bearer}CallbackHandler",
                "sasl.oauthbearer.token.endpoint.url": self.oauth.token_url,
                "sasl.jaas.config": _jaas(f"{bearer}Module", _oauth_options(self.oauth)),
            }
        if mechanism == "AWS_MSK_IAM":
            return {
                "sasl.mechanism": mechanism,
                "sasl.client.callback.handler.class": "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
                "sasl.jaas.config": "software.amazon.msk.auth.iam.IAMLoginModule required;",
            }
        if mechanism == "GSSAPI" and self.kerberos:
            login = {"useKeyTab": "true", "storeKey": "true", "keyTab": str(self.kerberos.keytab)}
            login["principal"] = self.kerberos.principal
            return {
                "sasl.mechanism": mechanism,
                "sasl.kerberos.service.name": self.kerberos.service,
                "sasl.jaas.config": _jaas("com.sun.security.auth.module.Krb5LoginModule", login),
            }
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        login = {"username": self.username or "", "password": self.password or ""}
        return {"sasl.mechanism": mechanism, "sasl.jaas.config": _jaas(f"{security}.{module}", login)}


def _oauth_options(oauth: OAuth) -> dict[str, str]:
    options = {"clientId": oauth.client_id, "clientSecret": oauth.client_secret}
    if oauth.scopes:
        options["scope"] = " ".join(oauth.scopes)
    if oauth.ca_file:
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": read_pem(oauth.ca_file)}
    return options


def _require_one_of(what: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} must be one of {', '.join(allowed)}; got {value!r}")


def _jaas(module: str, options: Mapping[str, str]) -> str:
    return " ".join([module, "required", *(f"{key}={_quote(value)}" for key, value in options.items())]) + ";"


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'
