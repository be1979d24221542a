"""How to reach something by HTTP, and what it asks for: keys that sections of several servers share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath, Secret
from flink_jobs.spec.scalars import matching
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Name
from flink_jobs.system.addresses import WEB_URL

WebUrl = Annotated[str, matching(WEB_URL, "a URL: http://host:port or https://host/path")]


class HttpAccess(Section):
    """An address, and how the server there and we know each other."""

    url: WebUrl = Field(description="Address of the server.")
    ca_file: AbsolutePath | None = Field(default=None, description="PEM file of the server's authority.")
    certificate_file: AbsolutePath | None = Field(default=None, description="PEM file of one's certificate.")
    key_file: AbsolutePath | None = Field(default=None, description="PEM file of the certificate's key.")
    key_password: Secret | None = Field(default=None, description="Password of an encrypted key.")
    username: Name | None = Field(default=None, description="User name, for basic authentication.")
    password: Secret | None = Field(default=None, description="Password, for basic authentication.")
    token: Secret | None = Field(default=None, description="Token, for bearer authentication.")

    @model_validator(mode="after")
    def _check_access(self) -> HttpAccess:
        errors = dict(self._contradictions())
        if errors:
            raise wrong_at(errors)
        return self

    def _contradictions(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        if (self.username is None) != (self.password is None):
            missing, given = ("password", "username") if self.username else ("username", "password")
            yield (missing,), wrong(f"given, as {given} needs it", "nothing")
        if self.token and self.password:
            yield ("token",), wrong("left out, as a password is given", "a value")
        if not self.url.startswith("https:"):
            secured = ("ca_file", "certificate_file", "password", "token")
            for key in secured:
                if getattr(self, key) is not None:
                    yield ("url",), wrong(f"https://…, as {key} is given", repr(self.url))
        for key in ("key_file", "key_password"):
            if getattr(self, key) is not None and self.certificate_file is None:
                yield ("certificate_file",), wrong(f"given, as {key} needs it", "nothing")
