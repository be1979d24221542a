"""Runs a real Kafka broker on this machine: one process, broker and controller in one (KRaft).

It is for tests, the demo and `tailrace up`, and listens on 127.0.0.1 only.
"""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, answers
from flink_jobs.local.server import HOST, LocalServer
from flink_jobs.system.jars import broker_classpath
from flink_jobs.system.processes import find_java, free_port

_FOR_EVER = str(2**63 - 1)
_LISTENERS = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", "SASL_PLAINTEXT": "SASL_PLAINTEXT"}
_SERVER = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": ",".join(f"{name}:{_LISTENERS[name]}" for name in _LISTENERS),
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Records of past years are replayed: none is too old to keep or to accept.
    "log.retention.ms": "-1",
    "log.message.timestamp.before.max.ms": _FOR_EVER,
    "log.message.timestamp.after.max.ms": _FOR_EVER,
    "log.cleaner.dedupe.buffer.size": "16777216",
}
_LOGGING = {"defaultLogLevel": "warn", "showDateTime": "true", "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSZ"}


class Broker(LocalServer):
    """A Kafka broker's process. `settings` are server properties that replace the defaults."""

    called = "the Kafka broker"
    name = "kafka"
    log_name = "broker.log"

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        controller_port: int | None = None,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
        port_option: str = "port",
    ) -> None:
        super().__init__(directory, port, port_option, detached)
        self.controller_port = controller_port or free_port()
        self._heap = heap
        self._settings = dict(settings or {})

    @property
    def bootstrap(self) -> str:
        """What clients call `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """What clients are given."""
        return self.bootstrap

    def answers(self) -> bool:
        """Whether it does, within seconds."""
        return answers(ClientSettings(self.bootstrap), timeout=1.0)

    def command(self) -> list[str]:
        """Starts it, after its settings were written and its data directory was formatted."""
        java = [find_java(), "-cp", broker_classpath()]
        config = self._write_config()
        self._format(java, config)
        logging = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _LOGGING.items()]
        tuned = os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS", "").split()  # as Kafka's own scripts have it
        return [java[0], f"-Xmx{self._heap}", *tuned, *logging, *java[1:], "kafka.Kafka", str(config)]

    def _write_config(self) -> Path:
        endpoint, controller = f"PLAINTEXT://{self.bootstrap}", f"{HOST}:{self.controller_port}"
        settings = _SERVER | {
            "listeners": f"{endpoint},CONTROLLER://{controller}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.directory / "data"),
        }
        path = self.directory / "server.properties"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{key}={_escape(value)}\n" for key, value in (settings | self._settings).items())
        path.write_text(text, encoding="ascii")
        path.chmod(0o600)
        return path

    def _format(self, java: list[str], config: Path) -> None:
        if (self.directory / "data" / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        storage = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(config)]
        done = subprocess.run(
            [java[0], "-XX:TieredStopAtLevel=1", *java[1:], *storage], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise WorkError(f"cannot format the Kafka data directory:\n{done.stdout}{done.stderr}".rstrip())


def _escape(value: str) -> str:
    """As Java reads property files: ASCII, the rest in UTF-16 escapes."""
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 and code != 92 else f"\\u{code:04x}" for code in codes)
