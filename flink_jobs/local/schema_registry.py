"""Runs a schema registry on this machine: Apicurio Registry, by Confluent's API, on 127.0.0.1 only.

It is for tests, the demo and `tailrace up --schema-registry`. Its directory keeps what is registered.
"""

from __future__ import annotations

from pathlib import Path

import requests

from flink_jobs.local.server import HOST, LocalServer
from flink_jobs.system.fetch_registry import registry_program
from flink_jobs.system.processes import find_java

_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# A line for each request else.
_QUIET = ("-Dquarkus.log.level=WARN", "-Dquarkus.http.access-log.enabled=false")


class LocalRegistry(LocalServer):
    """A registry's process."""

    called = "the schema registry"
    name = "registry"
    log_name = "registry.log"
    poll_seconds = 0.2

    def __init__(
        self, *, directory: Path | None = None, port: int | None = None, detached: bool = False
    ) -> None:
        super().__init__(directory, port, "--registry-port", detached)

    @property
    def url(self) -> str:
        """What `schema_registry.url` is in a job file."""
        return registry_url(self.port)

    @property
    def address(self) -> str:
        """What clients are given."""
        return self.url

    def answers(self) -> bool:
        """Whether it does, within seconds."""
        return registry_answers(self.url)

    def command(self) -> list[str]:
        """Starts it, after its directory was made."""
        data = self.directory.resolve() / "data" / "schemas"
        data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = [
            f"-Dquarkus.http.port={self.port}",
            f"-Dquarkus.http.host={HOST}",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{data}",
        ]
        return [find_java(), *_JVM, *_QUIET, *options, "-jar", str(registry_program())]


def registry_url(port: int) -> str:
    """Confluent's API of a local registry."""
    return f"http://{HOST}:{port}/apis/ccompat/v7"


def registry_answers(url: str) -> bool:
    """Whether it does, within seconds."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between two processes of one machine
        try:
            return session.get(f"{url}/subjects", timeout=3.0).ok
        except requests.RequestException:
            return False
