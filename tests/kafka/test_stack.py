"""`tailrace up`, `status`, `down` with a real broker and a real cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import ClientSettings, create_topics, produce_lines, read_topic
from flink_jobs.local import stack
from flink_jobs.local.stack import Options
from flink_jobs.local.state import Service, Stack, default_brokers, load
from flink_jobs.system.processes import ProcessId, free_port, port_in_use, wait_until
from tests.helpers.commands import tailrace_command


def tailrace(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TAILRACE_BROKERS"}
    return subprocess.run(
        [*tailrace_command(), *arguments], capture_output=True, text=True, env=environment, timeout=180
    )


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for a stack, with a space in its name; whatever still runs there at the end is stopped."""
    path = tmp_path / "my stack"
    yield path
    stack.down(path, purge=True)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    yield process
    process.kill()
    process.wait()


def ports() -> list[str]:
    return ["--kafka-port", str(free_port()), "--flink-port", str(free_port())]


@pytest.mark.timeout(400)
def test_a_day_with_the_stack(directory: Path, bystander: subprocess.Popen[bytes]) -> None:
    place = ["--dir", str(directory)]
    chosen = ports()
    registered = [*chosen, "--schema-registry", "--registry-port", str(free_port())]
    started = tailrace("up", *registered, "--slots", "2", *place)
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("Started.")

    status = tailrace("status", "--json", *place)
    state = json.loads(status.stdout)
    assert status.returncode == 0
    assert [(s["name"], s["healthy"]) for s in state["services"]] == [
        ("kafka", True),
        ("schema-registry", True),
        ("jobmanager", True),
        ("taskmanager", True),
    ]
    assert requests.get(f"{state['flink_url']}/overview", timeout=5).json()["slots-total"] == 2
    assert all(Path(s["log"]).exists() for s in state["services"])
    kafka = ClientSettings(state["brokers"])
    create_topics(kafka, {"kept": 1})
    produce_lines(kafka, "kept", [b"1"])
    subject = f"{state['schema_registry']}/subjects/kept-value/versions"
    known = requests.post(subject, json={"schema": '"long"'}, timeout=30).json()["id"]

    again = tailrace("up", *place)
    assert again.returncode == 0
    assert again.stdout.splitlines()[:2] == ["Already running.", f"Kafka  {state['brokers']}"]

    os.kill(state["services"][3]["pid"], signal.SIGKILL)
    assert tailrace("status", *place).returncode == 1
    down = tailrace("down", *place)
    assert down.stdout == "Stopped jobmanager, schema-registry, kafka.\n"
    assert not any(runs(s["pid"]) for s in state["services"])
    assert bystander.poll() is None
    assert tailrace("down", *place).stdout == "Nothing was running.\n"

    second = tailrace("up", *registered, "--slots", "1", *place)
    assert second.returncode == 0, second.stderr
    assert [r.value for r in read_topic(kafka, "kept")] == [b"1"]
    kept = requests.get(f"{subject}/latest", timeout=30).json()
    assert (kept["id"], kept["schema"]) == (known, '"long"'), "ids are those of the records"
    mine = directory / "mine.txt"
    mine.write_text("not yours")
    assert tailrace("down", "--purge", *place).returncode == 0
    assert list(directory.iterdir()) == [mine]


def runs(pid: int) -> bool:
    try:
        return ProcessId.of(pid).alive()
    except ProcessLookupError:
        return False


def test_a_port_in_use_is_exit_2_and_starts_nothing(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        for option, other in (("--kafka-port", "--flink-port"), ("--flink-port", "--kafka-port")):
            done = tailrace("up", option, taken, other, str(free_port()), "--dir", str(directory))
            assert done.returncode == 2
            assert f"port {taken} " in done.stderr
            assert f"choose a free one with {option}" in done.stderr
    assert load(directory) is None


def test_a_stack_that_cannot_start_leaves_nothing_running(directory: Path) -> None:
    options = Options(free_port(), free_port(), slots=1, memory="10m")
    with pytest.raises(WorkError, match=r"(?s)Flink's taskmanager ended instead of starting:.*emory"):
        stack.up(directory, options, report=lambda _: None)
    assert load(directory) is None
    assert wait_until(lambda: not port_in_use(options.kafka_port) and not port_in_use(options.flink_port), 5)


def test_down_never_stops_a_process_that_took_over_a_pid(
    directory: Path, bystander: subprocess.Popen[bytes]
) -> None:
    directory.mkdir()
    recycled = dataclasses.replace(ProcessId.of(bystander.pid), started="12")
    Stack(directory, "127.0.0.1:1", "http://127.0.0.1:2", (Service("kafka", recycled, "", ""),)).save()
    assert stack.down(directory) == []
    assert bystander.poll() is None
    assert load(directory) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"brokers": 1, "flink_url": 2, "services": [{}]}', "\xff"])
def test_a_broken_state_file_is_an_input_error(directory: Path, text: str) -> None:
    directory.mkdir()
    path = directory / "stack.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="is not readable as the state of `tailrace up`"):
        load(directory)
    path.unlink()


def test_two_ups_at_once_are_refused(directory: Path) -> None:
    with (
        stack._locked(directory),
        pytest.raises(WorkError, match="another `tailrace up` or `down` is at work"),
    ):
        stack.up(directory, Options())


@pytest.mark.parametrize("memory", ["3", "lots", "-1g", "3g -Xevil"])
def test_memory_must_be_a_size(directory: Path, memory: str) -> None:
    with pytest.raises(InputError, match="--memory must be a size such as 3g or 4096m; got"):
        stack.up(directory, Options(free_port(), free_port(), memory=memory))


def test_status_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    done = tailrace("status", "--dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "Nothing is running here; tailrace up starts it.\n")


def test_the_default_brokers_are_those_of_the_environment_or_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAILRACE_BROKERS", raising=False)
    assert default_brokers(tmp_path) == "localhost:9092"
    myself = (Service("kafka", ProcessId.of(os.getpid()), "", ""),)
    Stack(tmp_path, "127.0.0.1:19092", "http://127.0.0.1:2", myself).save()
    assert default_brokers(tmp_path) == "127.0.0.1:19092"
    monkeypatch.setenv("TAILRACE_BROKERS", "elsewhere:1")
    assert default_brokers(tmp_path) == "elsewhere:1"
