"""The `database` of a lookup: SQLite's file, or how PostgreSQL is reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath, Secret
from flink_jobs.spec.scalars import matching
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Name

_URL = r"postgresql://[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?/[A-Za-z0-9_.$-]{1,63}"


class Database(Section):
    """A database; it is only read."""

    file: AbsolutePath | None = Field(
        default=None,
        description="SQLite database, relative to the job file, on each machine that runs workers.",
    )
    url: Annotated[str, matching(_URL, "postgresql://host:port/database")] | None = Field(
        default=None, description="PostgreSQL database: postgresql://host:port/database."
    )
    username: Name | None = Field(default=None, description="User name; for url.")
    password: Secret | None = Field(default=None, description="Password; for url.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the server's authority, for TLS; for url."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Database:
        if (self.file is None) == (self.url is None):
            raise wrong("a database with exactly one of file or url", "both" if self.file else "none")
        if errors := dict(self._access_errors()):
            raise wrong_at(errors)
        return self

    def _access_errors(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        if self.url and self.username is None:
            yield ("username",), wrong("given, as url is", "nothing")
        for key in ("username", "password", "ca_file") if self.file else ():
            if getattr(self, key) is not None:
                yield (key,), wrong("left out, as file is given", "a value")

    @property
    def server(self) -> tuple[str, int, str]:
        """Host, port and database of `url`."""
        parts = urlsplit(self.url or "")
        return parts.hostname or "", parts.port or 5432, parts.path.lstrip("/")

    @property
    def place(self) -> str:
        """Where it is."""
        return str(self.file or self.url)
