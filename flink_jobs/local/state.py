"""What `tailrace up` started, as `stack.json` in its directory says.

Each process is named by pid and start time, so that nothing else is taken for it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.system.processes import ProcessId

DEFAULT_DIRECTORY = Path(".tailrace")
STATE_FILE = "stack.json"


@dataclass(frozen=True)
class Service:
    """One process of the stack; `log` is the file that it writes."""

    name: str
    process: ProcessId
    address: str
    log: str


@dataclass(frozen=True)
class Stack:
    """What `up` started: `brokers` for Kafka clients, `flink_url` for the cluster's REST interface.

    `metrics` are the addresses for Prometheus to scrape, and `schema_registry` is the registry's URL, if they
    were asked for.
    """

    directory: Path
    brokers: str
    flink_url: str
    services: tuple[Service, ...] = ()
    metrics: tuple[str, ...] = ()
    schema_registry: str | None = None

    def alive(self) -> bool:
        return bool(self.services) and all(service.process.alive() for service in self.services)

    def runs(self, name: str) -> bool:
        """Whether this process of the stack does: the broker is there also while Flink is not."""
        return any(service.name == name and service.process.alive() for service in self.services)

    def save(self) -> None:
        state = asdict(self) | {"directory": str(self.directory)}
        part = self.directory / f"{STATE_FILE}.part"
        part.write_text(json.dumps(state, indent=2) + "\n")
        part.replace(self.directory / STATE_FILE)


def load(directory: Path = DEFAULT_DIRECTORY) -> Stack | None:
    """The stack that was started in this directory, whether or not its processes still run."""
    path = directory / STATE_FILE
    try:
        state = json.loads(path.read_text())
        services = tuple(_service(entry) for entry in state["services"])
        metrics = tuple(state.get("metrics", ()))
        registry = state.get("schema_registry")
        return Stack(directory, state["brokers"], state["flink_url"], services, metrics, registry)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not readable as the state of `tailrace up`: {error}") from error


def default_brokers(directory: Path = DEFAULT_DIRECTORY) -> str:
    """TAILRACE_BROKERS, else the broker of a running `tailrace up`, else localhost:9092."""
    if configured := os.environ.get("TAILRACE_BROKERS"):
        return configured
    stack = load(directory)
    return stack.brokers if stack and stack.runs("kafka") else "localhost:9092"


def _service(entry: dict[str, object]) -> Service:
    process = entry["process"]
    if not isinstance(process, dict):
        raise TypeError("process must be a mapping")
    identity = ProcessId(int(process["pid"]), str(process["started"]))
    return Service(str(entry["name"]), identity, str(entry["address"]), str(entry["log"]))
