"""`up` on a stack of which something died; the adversary is whoever kills one process of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.cli import connection
from flink_jobs.errors import InputError, WorkError
from flink_jobs.local import stack
from flink_jobs.local.state import Service, Stack, load
from flink_jobs.system.processes import ProcessId

NAMES = ("kafka", "schema-registry", "jobmanager", "taskmanager")
REGISTRY = "http://127.0.0.1:28082/apis/ccompat/v7"


class Processes:
    """Real ones that only sleep, in the place of brokers and clusters."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self.fails = False

    def new(self) -> ProcessId:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        self.children.append(child)
        return ProcessId.of(child.pid)

    def kill(self, pid: int) -> None:
        child = next(child for child in self.children if child.pid == pid)
        child.kill()
        child.wait()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    made = Processes()

    class Started:
        url, log = REGISTRY, Path("/logs/registry.log")

        def __init__(self, **settings: Any) -> None:
            self.process: ProcessId | None = None

        def launch(self) -> ProcessId:
            self.process = made.new()
            return self.process

        def wait(self) -> None:
            if made.fails:
                raise WorkError("it did not come up")

    class Cluster(Started):
        def __init__(self, directory: Path, port: int, **settings: Any) -> None:
            assert port == 28081
            super().__init__()

        def relaunch(self, name: str) -> tuple[ProcessId, Path]:
            return made.new(), Path(f"/logs/{name}.log")

    monkeypatch.setattr(stack, "Broker", Started)
    monkeypatch.setattr(stack, "LocalRegistry", Started)
    monkeypatch.setattr(stack, "SessionCluster", Cluster)
    monkeypatch.setattr(stack, "_all_free", lambda _: True)
    yield made
    for child in made.children:
        child.kill()
        child.wait()


@pytest.fixture
def running(processes: Processes, tmp_path: Path) -> Stack:
    services = tuple(Service(name, processes.new(), "", f"/logs/{name}.log") for name in NAMES)
    made = Stack(tmp_path.resolve(), "127.0.0.1:29092", "http://127.0.0.1:28081", services, (), REGISTRY)
    made.save()
    return made


def pids(of: Stack) -> dict[str, int]:
    return {service.name: service.process.pid for service in of.services}


@pytest.mark.parametrize("name", NAMES)
def test_only_what_died_is_started(processes: Processes, running: Stack, name: str) -> None:
    processes.kill(pids(running)[name])
    found, started = stack.up(running.directory, stack.Options(), report=lambda _: None)
    assert started == (name,)
    assert found.alive()
    changed = {each for each in NAMES if pids(found)[each] != pids(running)[each]}
    assert changed == {name}
    assert load(running.directory) == found
    assert (found.brokers, found.flink_url) == (running.brokers, running.flink_url)
    assert found.schema_registry == REGISTRY


def test_nothing_died(running: Stack) -> None:
    assert stack.up(running.directory, stack.Options()) == (running, ())


def test_a_registry_is_started_beside_what_runs(processes: Processes, running: Stack) -> None:
    services = tuple(service for service in running.services if service.name != "schema-registry")
    without = replace(running, services=services, schema_registry=None)
    without.save()
    assert stack.up(running.directory, stack.Options()) == (without, ())
    found, started = stack.up(running.directory, stack.Options(registry_port=1), report=lambda _: None)
    assert started == ("schema-registry",)
    assert {name: pids(found)[name] for name in pids(without)} == pids(without)
    assert load(running.directory) == found
    assert found.schema_registry == REGISTRY


def test_what_does_not_come_up_takes_nothing_along(processes: Processes, running: Stack) -> None:
    processes.kill(pids(running)["taskmanager"])
    processes.fails = True
    with pytest.raises(WorkError, match="did not come up"):
        stack.up(running.directory, stack.Options(), report=lambda _: None)
    left = load(running.directory)
    assert left is not None
    assert {name: left.runs(name) for name in NAMES} == {
        "kafka": True,
        "schema-registry": True,
        "jobmanager": True,
        "taskmanager": False,
    }


def test_commands_reach_what_is_still_there(
    processes: Processes, running: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a TaskManager the cluster still says how its jobs are, and the broker what waits."""
    for variable in ("TAILRACE_CLUSTER", "TAILRACE_BROKERS", "TAILRACE_PROFILE", "TAILRACE_PROFILES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(connection, "load", lambda: load(running.directory))
    monkeypatch.chdir(running.directory)
    processes.kill(pids(running)["taskmanager"])
    assert connection.flink_access(None).url == running.flink_url
    processes.kill(pids(running)["jobmanager"])
    assert connection.environment()["TAILRACE_BROKERS"] == running.brokers
    with pytest.raises(InputError, match="no cluster"):
        connection.flink_access(None)
