"""A job that outlives an edit, its TaskManager, and its JobManager, on the local stack.

The adversary is whoever edits the file or kills these processes: the job is shown as what it is, `up` starts
what died, brings its jobs back and leaves the rest, and nothing is written twice. The job file is what `init`
makes of the topic.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.kafka import ClientSettings, claims, create_topics, produce, read_topic
from flink_jobs.local import stack
from flink_jobs.local.state import load
from flink_jobs.run.retained import lost_jobs
from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import free_port, wait_until
from flink_jobs.system.warm_workers import warm_python
from flink_jobs.testing import record
from tests.helpers.commands import tailrace_command, tailrace_here
from tests.helpers.samples import write_model

RUNTIME = "runtime: {python: PYTHON, parallelism: 1, checkpoint: {interval: 1s}}\n"


class Day:
    """A folder with a stack, where commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = ["--kafka-port", str(free_port()), "--flink-port", str(free_port())]
        self.sent = 0

    def tailrace(self, *words: str) -> subprocess.CompletedProcess[str]:
        named = ("TAILRACE_BROKERS", "TAILRACE_CLUSTER")
        environ = {name: value for name, value in os.environ.items() if name not in named}
        environ["PYTHONPATH"] = str(PROJECT)
        if words[0] != "up":  # whose processes are to be no children of ours
            return tailrace_here(*words, environ=environ, folder=self.folder)
        return subprocess.run(
            [*tailrace_command(), *words],
            capture_output=True,
            text=True,
            env=environ,
            cwd=self.folder,
            timeout=300,
        )

    def well(self, *words: str) -> str:
        done = self.tailrace(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pid(self, name: str) -> int:
        found = load(self.folder / ".tailrace")
        assert found is not None
        return next(service.process.pid for service in found.services if service.name == name)

    def kill(self, name: str) -> None:
        os.killpg(self.pid(name), signal.SIGKILL)

    @property
    def kafka(self) -> ClientSettings:
        return ClientSettings(f"127.0.0.1:{self.ports[1]}")

    def send(self, count: int) -> None:
        rows = [record({"id": self.sent + n, "x": 1.0}) for n in range(count)]
        self.sent += produce(self.kafka, "alive.in", rows)

    def predictions(self) -> list[dict[str, Any]]:
        return [json.loads(each.value or b"") for each in read_topic(self.kafka, "alive.predictions")]

    def ids(self) -> list[int]:
        return [each["id"] for each in self.predictions()]

    def job(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.tailrace("job", "alive", "--json").stdout)
        return found

    def waiting(self) -> int:
        return sum(lag["records"] for lag in self.job()["lag"])

    def until_all_are_there(self) -> None:
        assert wait_until(lambda: len(self.ids()) >= self.sent, 200, 1)


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    write_model(tmp_path / "models", "m", "x")
    made = Day(tmp_path)
    try:
        made.well("up", *made.ports, "--slots", "1", "--memory", "2g")
        yield made
    finally:
        stack.down(tmp_path / ".tailrace", purge=True)


@pytest.mark.timeout(900)
def test_a_job_outlives_its_taskmanager_and_its_jobmanager(day: Day) -> None:
    create_topics(day.kafka, {"alive.in": 2})
    day.send(100)
    day.well("init", "alive", "--model", "m", "--topic", "alive.in")
    job = day.folder / "alive.yaml"
    job.write_text(job.read_text() + RUNTIME.replace("PYTHON", warm_python()))
    day.well("submit", "alive.yaml")
    day.until_all_are_there()
    assert wait_until(lambda: day.waiting() == 0, 60, 1)  # offsets are committed after predictions
    found = day.job()
    assert (found["state"], found["healthy"], found["release"]) == ("running", True, "m version 1, release 1")
    assert [(lag["partition"], lag["records"]) for lag in found["lag"]] == [(0, 0), (1, 0)]
    assert found["restarts"] == 0
    assert wait_until(lambda: day.job()["dead_share"] == 0, 60, 1)
    assert Path(day.well("savepoint", "alive").strip().removeprefix("file:"), "_metadata").is_file()
    assert day.job()["healthy"]
    written = day.well("logs", "alive")
    assert "==> /jobmanager/log <==" in written
    assert "==> /taskmanagers/127.0.0.1:" in written
    assert day.tailrace("run", "alive.yaml").returncode == 2
    # Though it has nothing new to commit. A new broker takes some seconds for the first offsets of a group.
    assert wait_until(lambda: claims.runs(day.kafka, "alive", "alive.in", 20), 60, 1)

    assert wait_until(lambda: day.waiting() == 0, 60, 1)
    day.kill("taskmanager")
    assert wait_until(lambda: day.job()["state"] == "no TaskManager", 120, 1)
    day.send(50)
    assert day.waiting() == 50
    before = day.pid("jobmanager"), day.pid("kafka")
    assert day.well("up").startswith("Started taskmanager; the rest ran on.")
    day.until_all_are_there()
    assert (day.pid("jobmanager"), day.pid("kafka")) == before

    day.kill("jobmanager")
    time.sleep(2)
    day.send(25)
    assert "alive ran when the JobManager died; it goes on" in day.well("up")
    day.until_all_are_there()
    assert sorted(day.ids()) == list(range(day.sent))

    day.well("stop", "alive", "--cancel")
    refused = day.tailrace("submit", "alive.yaml")
    assert (refused.returncode, "tailrace resume alive" in refused.stderr) == (2, True)
    day.send(5)
    day.well("resume", "alive")
    day.until_all_are_there()
    assert sorted(day.ids()) == list(range(day.sent))
    # By Flink's own archive the cancelled run has ended, and the one after it has not.
    assert lost_jobs(day.folder / ".tailrace" / "flink") == ["alive"]
    day.well("stop", "alive", "--cancel")
    assert wait_until(lambda: lost_jobs(day.folder / ".tailrace" / "flink") == [], 30, 0.5)
