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

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# Java properties that librdkafka knows under the same name; it refuses names that it does not know.
_SHARED = (
    "client.id",
    "client.rack",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
)
# The SQL connector's jar carries its own copy of the Kafka client under this package.
_SHADED = "org.apache.flink.kafka.shaded."

# librdkafka reports through errors, which callers show; its own log would go to stderr.
_QUIET = logging.Logger("librdkafka", level=logging.CRITICAL + 1)


@dataclass(frozen=True)
class ClientSettings:
    """Addresses and credentials; files are PEM. `properties` are extra Java client properties.

    Raises InputError when the parts contradict each other or a file cannot be read.
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
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for address in self.brokers.split(","):
            if not re.fullmatch(r"\s*[^\s:]\S*:\d{1,5}\s*", address):
                raise InputError(
                    f"Kafka brokers must be host:port, separated by commas; got {self.brokers!r}"
                )
        _require_one_of("Kafka security protocol", self.protocol, PROTOCOLS)
        if self.protocol.startswith("SASL"):
            _require_one_of("SASL mechanism", self.mechanism, MECHANISMS)
            if self.username is None or self.password is None:
                raise InputError(f"Kafka security protocol {self.protocol} needs a username and a password")

    def librdkafka(self) -> dict[str, Any]:
        """The settings under librdkafka's names, secrets included."""
        shared = {key: value for key, value in self.properties.items() if key in _SHARED}
        return shared | {"bootstrap.servers": self.brokers, "logger": _QUIET} | self._security_librdkafka()

    def java(self, *, shaded: bool = True) -> dict[str, str]:
        """The settings under the Java client's names, secrets included.

        `shaded` is for Flink's SQL connector; without it the names fit a plain Java client.
        """
        return {"bootstrap.servers": self.brokers} | self._security_java(shaded) | dict(self.properties)

    def _security_librdkafka(self) -> dict[str, str]:
        settings = {
            "security.protocol": self.protocol,
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password,
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file or self.certificate_file,
            "ssl.key.password": self.key_password,
        }
        return {key: str(value) for key, value in settings.items() if value is not None}

    def _security_java(self, shaded: bool) -> dict[str, str]:
        settings: dict[str, str] = {}
        if self.protocol != "PLAINTEXT":
            settings["security.protocol"] = self.protocol
        if self.protocol.startswith("SASL") and self.mechanism:
            settings |= {"sasl.mechanism": self.mechanism, "sasl.jaas.config": self._jaas(shaded)}
        if self.ca_file:
            settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": _read_pem(self.ca_file)}
        if self.certificate_file:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": _read_pem(self.certificate_file),
                "ssl.keystore.key": _read_pem(self.key_file or self.certificate_file),
            }
        if self.key_password:
            settings["ssl.key.password"] = self.key_password
        return settings

    def _jaas(self, shaded: bool) -> str:
        login = "plain.PlainLoginModule" if self.mechanism == "PLAIN" else "scram.ScramLoginModule"
        module = f"{_SHADED if shaded else ''}org.apache.kafka.common.security.{login}"
        return f"{module} required username={_quote(self.username)} password={_quote(self.password)};"


def _require_one_of(what: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} must be one of {', '.join(allowed)}; got {value!r}")


def _quote(value: str | None) -> str:
    escaped = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read_pem(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"a Kafka certificate or key file must be a readable PEM file; got {path}: {error}"
        ) from error
