"""A real schema registry, in memory, and a producer with Confluent's serializers."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import ProcessId, free_port, spawn, tail, wait_until

HERE = Path(__file__).parent
PYTHON = PROJECT / ".venv-registry" / "bin" / "python"
MISSING = "the registry is not there: run scripts/registry_env"


@dataclass
class Registry:
    """Apicurio Registry; what it holds is gone when it stops."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Confluent's API."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def start(self) -> None:
        jars = sorted((PROJECT / ".registry").glob("apicurio-registry-app-*-runner.jar"))
        assert jars, MISSING
        options = [f"-Dquarkus.http.port={self.port}", "-Dquarkus.http.host=127.0.0.1"]
        jvm = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        log = self.folder / "registry.log"
        self.process = spawn([*jvm, *options, "-jar", str(jars[0])], log)
        assert wait_until(self._answers, 120, 0.2), tail(log)

    def stop(self) -> None:
        if self.process:
            ProcessId.of(self.process.pid).stop()
            self.process.wait()

    def put(self, path: str, body: Any) -> None:
        """Changes what the registry demands."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers, method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            return False


class Producer:
    """Confluent's serializers, which register the schemas of what they write."""

    def __init__(self, url: str) -> None:
        assert PYTHON.exists(), MISSING
        environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
        command = [str(PYTHON), str(HERE / "producer.py"), url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def write(
        self,
        subject: str,
        schema: Any,
        records: list[Any],
        references: Sequence[tuple[str, str, int]] = (),
        kind: str = "AVRO",
        message: str = "",
    ) -> list[bytes]:
        """The records' bytes; without records the schema is only registered."""
        asked = {"subject": subject, "schema": schema, "records": records, "references": references}
        asked |= {"kind": kind, "message": message}
        return [bytes.fromhex(text) for text in self._ask(asked)]

    def read(self, topic: str, raws: Sequence[bytes]) -> list[dict[str, Any]]:
        """What Confluent's deserializer reads; times as text."""
        found: list[dict[str, Any]]
        found = self._ask({"subject": f"{topic}-value", "read": [raw.hex() for raw in raws]})
        return found

    def events(self, events: Sequence[Any], mode: str) -> list[tuple[dict[str, bytes], bytes]]:
        """Headers and value of each, as the SDK of CloudEvents makes them."""
        found = self._ask({"subject": "", "events": events, "mode": mode})
        return [
            ({name: bytes.fromhex(text) for name, text in headers.items()}, bytes.fromhex(value))
            for headers, value in found
        ]

    def _ask(self, asked: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    running = Registry(tmp_path_factory.mktemp("registry"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def producer(registry: Registry) -> Iterator[Producer]:
    made = Producer(registry.url)
    try:
        yield made
    finally:
        made.close()
