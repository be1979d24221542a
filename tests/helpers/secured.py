"""A broker that lets nobody in without proof: a listener for each kind of it, and rights by user.

with secured_broker(folder) as secured:
    secured.scram("alice")        # ClientSettings
    secured.allow("User:alice", ResourceType.TOPIC, "seen", AclOperation.READ)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from flink_jobs.kafka import ClientSettings, OAuth
from flink_jobs.system.processes import free_port
from flink_jobs.testing import Broker
from tests.helpers.certificates import Authority
from tests.helpers.rights import allow
from tests.helpers.tokens import AUDIENCE, ISSUER, Tokens, token_server

HOST = "127.0.0.1"
CLIENT, SECRET = "scorer", "client:secret/1"
_JAVA = "KAFKA_JVM_PERFORMANCE_OPTS"
PASSWORD = 'sp"are \\key'
_SECURITY = "org.apache.kafka.common.security"
_PROTOCOLS = {
    "CONTROLLER": "PLAINTEXT",
    "PLAINTEXT": "PLAINTEXT",
    "SCRAM": "SASL_SSL",
    "MTLS": "SSL",
    "TOKENS": "SASL_SSL",
    "EXPIRED": "SSL",
    "MISNAMED": "SSL",
}


@dataclass(frozen=True)
class Secured:
    """The broker's ports by listener, and the authority that its clients trust."""

    broker: Broker
    authority: Authority
    ports: Mapping[str, int]
    tokens: Tokens

    def address(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}"

    @property
    def admin(self) -> ClientSettings:
        """Of who may do everything."""
        return ClientSettings(self.broker.bootstrap)

    def scram(self, user: str, password: str = PASSWORD, **changes: Any) -> ClientSettings:
        given: dict[str, Any] = {
            "protocol": "SASL_SSL",
            "mechanism": "SCRAM-SHA-512",
            "username": user,
            "password": password,
            "ca_file": self.authority.file,
        }
        return ClientSettings(self.address("SCRAM"), **(given | changes))

    def token(self, secret: str = SECRET, **changes: Any) -> ClientSettings:
        """Of the client `scorer`."""
        ca = self.authority.file
        given: dict[str, Any] = {"token_url": self.tokens.url, "scopes": ("kafka", "more"), "ca_file": ca}
        oauth = OAuth(client_id=CLIENT, client_secret=secret, **(given | changes))
        return ClientSettings(self.address("TOKENS"), "SASL_SSL", "OAUTHBEARER", ca_file=ca, oauth=oauth)

    def tls(self, listener: str = "MTLS", **changes: Any) -> ClientSettings:
        given: dict[str, Any] = {"protocol": "SSL", "ca_file": self.authority.file}
        return ClientSettings(self.address(listener), **(given | changes))

    def allow(self, principal: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Rights on all resources whose name begins so."""
        allow(self.admin, principal, kind, name, *operations)

    def add_user(self, name: str, password: str = PASSWORD) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, info, password.encode())
        admin = AdminClient(self.admin.librdkafka())
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result()


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Starts it with its certificates in `folder`; the user `alice` is there, with no rights."""
    authority = Authority(folder)
    ports = {name: free_port() for name in _PROTOCOLS}
    with token_server(authority, {CLIENT: SECRET}) as tokens:
        broker = Broker(
            port=ports["PLAINTEXT"],
            controller_port=ports["CONTROLLER"],
            settings=_settings(authority, ports, tokens),
        )
        with _java_options(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.keys_url}"), broker:
            secured = Secured(broker, authority, ports, tokens)
            secured.add_user("alice")
            yield secured


@contextmanager
def _java_options(option: str) -> Iterator[None]:
    """What brokers that are started inside take as an option of Java."""
    before = os.environ.get(_JAVA, "")
    os.environ[_JAVA] = f"{before} {option}"
    try:
        yield
    finally:
        os.environ[_JAVA] = before


def _settings(authority: Authority, ports: Mapping[str, int], tokens: Tokens) -> dict[str, str]:
    good = authority.issue("broker", HOST, "localhost")
    tokens_listener = "listener.name.tokens.oauthbearer"
    bearer = f"{_SECURITY}.oauthbearer.OAuthBearer"
    scram = f"{_SECURITY}.scram.ScramLoginModule required;"
    return {
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items()),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in _PROTOCOLS.items()),
        "advertised.listeners": ",".join(
            f"{name}://{HOST}:{port}" for name, port in ports.items() if name != "CONTROLLER"
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
        **_tls("scram", good),
        **_tls("mtls", good),
        **_tls("tokens", good),
        "listener.name.tokens.sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{tokens_listener}.sasl.jaas.config": f"{bearer}LoginModule required;",
        f"{tokens_listener}.sasl.server.callback.handler.class": f"{bearer}ValidatorCallbackHandler",
        "listener.name.tokens.sasl.oauthbearer.jwks.endpoint.url": tokens.keys_url,
        "listener.name.tokens.sasl.oauthbearer.expected.audience": AUDIENCE,
        "listener.name.tokens.sasl.oauthbearer.expected.issuer": ISSUER,
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.truststore.type": "PEM",
        "listener.name.mtls.ssl.truststore.location": str(authority.file),
        **_tls("expired", authority.issue("expired", HOST, expired=True)),
        **_tls("misnamed", authority.issue("misnamed", "kafka.example.org")),
    }


def _tls(listener: str, keystore: Path) -> dict[str, str]:
    prefix = f"listener.name.{listener}.ssl.keystore"
    return {f"{prefix}.type": "PEM", f"{prefix}.location": str(keystore)}
