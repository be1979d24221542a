"""Processes are known by pid and start time; only those are stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.errors import InputError
from flink_jobs.system.processes import (
    ProcessId,
    find_java,
    free_port,
    port_in_use,
    require_free_port,
    spawn,
    tail,
    wait_until,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn(SLEEP, tmp_path / "log")
    yield process
    process.kill()
    process.wait()


def test_a_running_process_is_alive_until_it_is_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessId.of(sleeper.pid)
    assert identity.alive()
    assert identity.stop()
    assert not identity.alive()
    assert sleeper.wait() == -signal.SIGTERM
    assert not identity.stop()


def test_a_recycled_pid_is_not_alive_and_not_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    earlier = ProcessId(sleeper.pid, started="1")
    assert not earlier.alive()
    assert not earlier.stop()
    assert sleeper.poll() is None


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    process = spawn(SLEEP, tmp_path / "log")
    identity = ProcessId.of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not identity.alive(), 5)
    process.wait()


def test_a_process_that_ignores_term_is_killed(tmp_path: Path) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code = f"{ignore} print(1, flush=True); time.sleep(60)"
    process = spawn([sys.executable, "-c", code], tmp_path / "log")
    assert wait_until(lambda: tail(tmp_path / "log") == "1", 10)
    assert ProcessId.of(process.pid).stop(grace=0.2)
    assert process.wait() == -signal.SIGKILL


def test_stopping_takes_what_the_process_left_behind(tmp_path: Path) -> None:
    code = f"import subprocess, time; print(subprocess.Popen({SLEEP!r}).pid, flush=True); time.sleep(60)"
    process = spawn([sys.executable, "-c", code], tmp_path / "log")
    assert wait_until(lambda: tail(tmp_path / "log").isdigit(), 10)
    child = ProcessId.of(int(tail(tmp_path / "log")))
    assert ProcessId.of(process.pid).stop()
    process.wait()
    assert wait_until(lambda: not child.alive(), 5)


@pytest.mark.parametrize("bound", [True, False])
def test_a_bound_process_dies_with_its_parent_even_if_that_is_killed(tmp_path: Path, bound: bool) -> None:
    code = (
        "import pathlib, time; from flink_jobs.system.processes import spawn;"
        f"log = pathlib.Path({str(tmp_path / 'log')!r});"
        f"print(spawn({SLEEP!r}, log, dies_with_parent={bound}).pid, flush=True);"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = ProcessId.of(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    if bound:
        assert wait_until(lambda: not child.alive(), 5)
    else:
        time.sleep(0.3)
        assert child.stop()


def test_there_is_no_identity_without_a_process() -> None:
    with pytest.raises(ProcessLookupError, match="no process has the pid"):
        ProcessId.of(2**22 + 1)


def test_a_port_in_use_is_an_error_that_names_port_and_option() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert port_in_use(port)
        with pytest.raises(InputError, match=rf"port {port} for Flink is in use .* --flink-port"):
            require_free_port(port, "Flink", "--flink-port")
    assert not port_in_use(port)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_an_impossible_port_is_an_error(port: int) -> None:
    with pytest.raises(InputError, match=r"--kafka-port must be a port from 1 to 65535; got"):
        require_free_port(port, "Kafka", "--kafka-port")


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def test_a_missing_java_names_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"JAVA_HOME={tmp_path}; install Java 17"):
        find_java()


def test_the_end_of_a_log_is_text_whatever_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\n" + b"".join(b"%d\n" % n for n in range(100)))
    assert tail(tmp_path / "log", lines=2) == "98\n99"
    assert tail(tmp_path / "none") == ""
