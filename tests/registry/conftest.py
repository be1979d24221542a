"""A real schema registry, and a producer with Confluent's serializers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from flink_jobs.local.schema_registry import LocalRegistry
from flink_jobs.system.jars import PROJECT

HERE = Path(__file__).parent
PYTHON = PROJECT / ".venv-registry" / "bin" / "python"
MISSING = "the registry is not there: run scripts/registry_env"


class Registry(LocalRegistry):
    """What it holds is gone when it stops."""

    def put(self, path: str, body: Any) -> None:
        """Changes what the registry demands."""
        requests.put(self.url + path, json=body, timeout=30).raise_for_status()


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
        strategy: str = "topic",
    ) -> list[bytes]:
        """The records' bytes; without records the schema is only registered, but for Protobuf."""
        asked = {"subject": subject, "schema": schema, "records": records, "references": references}
        asked |= {"kind": kind, "message": message, "strategy": strategy}
        return [bytes.fromhex(text) for text in self._ask(asked)]

    def read(self, topic: str, raws: Sequence[bytes], kind: str = "AVRO") -> list[dict[str, Any]]:
        """What Confluent's deserializer reads; times as text."""
        found: list[dict[str, Any]]
        asked = {"subject": f"{topic}-value", "read": [raw.hex() for raw in raws], "kind": kind}
        found = self._ask(asked)
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
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture(scope="session")
def producer(registry: Registry) -> Iterator[Producer]:
    made = Producer(registry.url)
    try:
        yield made
    finally:
        made.close()
