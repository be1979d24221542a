"""How to reach Flink's REST interface, or the gateway before it, from here and from Flink's own client.

access = Access("https://gateway.example.org/team", token="…")
access.session().get(f"{access.url}/overview")
access.java(folder)        # Flink's options; the token goes through the environment of its JVM
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)
from requests.adapters import HTTPAdapter

from flink_jobs.errors import InputError, WorkError
from flink_jobs.system.certificates import Certificate, pem_certificate

_SECONDS = 10.0
# Flink's client adds the headers in it to all that it sends.
HEADERS_VARIABLE = "FLINK_REST_CLIENT_HEADERS"
# Flink's own list has those for RSA keys only.
_CIPHERS = {
    "security.ssl.algorithms": ",".join(
        f"TLS_ECDHE_{key}_WITH_{cipher}"
        for key in ("ECDSA", "RSA")
        for cipher in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256")
    )
}


@dataclass(frozen=True)
class Access:
    """An address with what the gateway there asks for; files are PEM.

    `username` and `password` are for basic, `token` is for bearer authentication.
    """

    url: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def secure(self) -> bool:
        return self.url.startswith("https:")

    def headers(self) -> dict[str, str]:
        """What each request says of who sends it."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username is not None:
            login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {login}"}
        return {}

    def session(self) -> requests.Session:
        """For requests. Raises InputError for files that cannot be used."""
        session = requests.Session()
        session.trust_env = False  # a proxy for the internet is none for the cluster
        session.headers.update(self.headers())
        if self.secure:
            session.mount("https://", _Adapter(self._context()))
        return session

    def java(self, folder: Path) -> dict[str, str]:
        """Options for Flink's client; what it reads from files is written into `folder`."""
        parts = urlsplit(self.url)
        options = {
            "rest.address": parts.hostname or "",
            "rest.port": str(parts.port or (443 if self.secure else 80)),
        }
        if prefix := parts.path.strip("/"):
            options["rest.path"] = f"/{prefix}"
        return options | (self._java_tls(folder) if self.secure else {})

    def environment(self) -> dict[str, str]:
        """Variables for the JVM of Flink's client."""
        headers = "\n".join(f"{name}:{value}" for name, value in self.headers().items())
        return {HEADERS_VARIABLE: headers} if headers else {}

    def _own(self) -> Certificate | None:
        if self.certificate_file is None:
            return None
        return pem_certificate(self.certificate_file, self.key_file, self.key_password)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"cluster.ca_file must be a PEM file; got {self.ca_file}: {error}") from error
        if own := self._own():
            own.load_into(context)
        return context

    def _fingerprint(self) -> str:
        """Of the gateway's certificate, whose host name is checked here, as Flink's client cannot."""
        parts = urlsplit(self.url)
        place = parts.hostname or "", parts.port or 443
        try:
            with (
                socket.create_connection(place, _SECONDS) as raw,
                self._context().wrap_socket(raw, server_hostname=place[0]) as tls,
            ):
                der = tls.getpeercert(binary_form=True) or b""
        except OSError as error:
            raise WorkError(f"no TLS with {self.url}: {error}") from error
        return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()  # Flink knows no other

    def _java_tls(self, folder: Path) -> dict[str, str]:
        password, prefix = secrets.token_hex(16), "security.ssl.rest"
        sealing = BestAvailableEncryption(password.encode())
        known = [
            x509.load_der_x509_certificate(der) for der in self._context().get_ca_certs(binary_form=True)
        ]
        trusted = [PKCS12Certificate(each, str(number).encode()) for number, each in enumerate(known)]
        options = {
            f"{prefix}.enabled": "true",
            f"{prefix}.cert.fingerprint": self._fingerprint(),
            **_CIPHERS,
        }
        stores = {"truststore": serialize_java_truststore(trusted, sealing)}
        if own := self._own():
            key: Any = load_pem_private_key(own.key.encode(), None)
            first, *above = x509.load_pem_x509_certificates(own.chain.encode())
            stores["keystore"] = serialize_key_and_certificates(b"own", key, first, above, sealing)
            options |= {f"{prefix}.authentication-enabled": "true", f"{prefix}.key-password": password}
        for name, content in stores.items():
            path = folder / f"{name}.p12"
            path.touch(mode=0o600)
            path.write_bytes(content)
            options |= _store_options(f"{prefix}.{name}", path, password)
        return options


def _store_options(prefix: str, path: Path, password: str) -> Mapping[str, str]:
    return {prefix: str(path), f"{prefix}-password": password, f"{prefix}-type": "PKCS12"}


class _Adapter(HTTPAdapter):
    """Speaks TLS with a context of our own, whose key may be encrypted."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._ssl_context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._ssl_context)
