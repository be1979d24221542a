"""Where a schema registry is, as plain data: importing it costs nothing."""

from __future__ import annotations

import msgspec


class RegistryParams(msgspec.Struct, frozen=True):
    """Where a registry is and how it knows us; `ca`, `certificate` and `key` are PEM texts.

    `wait_s` is how long records wait for a registry that does not answer.
    """

    url: str
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    wait_s: float = 30.0
    timeout_s: float = 5.0

    def __repr__(self) -> str:
        """Nothing of what is secret."""
        return f"RegistryParams({self.url!r})"
