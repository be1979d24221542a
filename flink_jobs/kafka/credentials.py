"""What a client logs in with where it is no password: tokens of a server, a Kerberos keytab.

>>> OAuth("https://login.example.org/token", "scorer", "hunter2", ("kafka",))
OAuth(token_url='https://login.example.org/token', client_id='scorer', scopes=('kafka',), ca_file=None)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class OAuth:
    """OIDC client credentials: `token_url` gives tokens for id and secret; `ca_file` is for its TLS."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    ca_file: Path | None = None


@dataclass(frozen=True)
class Kerberos:
    """A principal with its keytab; `service` is the brokers' part of their own principal."""

    principal: str
    keytab: Path
    service: str = "kafka"
