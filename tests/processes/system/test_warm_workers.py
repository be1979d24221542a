"""Warm workers against their owner's kill -9, their own crashes, and a server that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flink_jobs.system.processes import ProcessId, wait_until
from flink_jobs.system.warm_workers import warm_python

# Starts a worker as Flink does, and waits for it.
OWNER = """
import subprocess, sys
from flink_jobs.system.warm_workers import warm_python
sys.exit(subprocess.call([warm_python(), "-m", "job"], cwd=sys.argv[1]))
"""
WAITS = """
import os, pathlib, time
pathlib.Path("pid.new").write_text(str(os.getpid()))
os.rename("pid.new", "pid")
time.sleep(600)
"""


def ran(folder: Path, code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "job.py").write_text(code)
    return subprocess.run(
        [warm_python(), "-m", "job", *arguments],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_worker_has_the_arguments_environment_and_folder_of_who_asked(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "print(sys.argv, os.getcwd(), os.environ['MINE'], 'pandas' in sys.modules)\n"
        "sys.stderr.write('bad'); sys.exit(3)"
    )
    done = ran(tmp_path, code, "--id", "7", MINE="1")
    expected = f"{[str(tmp_path / 'job.py'), '--id', '7']} {tmp_path} 1 True\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "bad", 3)


def test_workers_draw_different_numbers(tmp_path: Path) -> None:
    code = "import numpy, random; print(numpy.random.random(), random.random())"
    first, second = (ran(tmp_path, code).stdout.split() for _ in range(2))
    assert len({*first, *second}) == 4


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_who_asked_ends_as_the_worker_did(tmp_path: Path, number: signal.Signals) -> None:
    assert ran(tmp_path, f"import os; os.kill(os.getpid(), {int(number)})").returncode == -number


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "job.py").write_text(WAITS)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)])
    assert wait_until(lambda: (tmp_path / "pid").exists(), 60)
    worker = ProcessId.of(int((tmp_path / "pid").read_text()))
    assert worker.alive()
    owner.send_signal(number)
    owner.wait()
    assert wait_until(lambda: not worker.alive(), 20)


def test_without_its_server_an_ordinary_interpreter_runs(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import sys; print('pandas' in sys.modules)")
    code = f"""
import os, signal, subprocess
from flink_jobs.system import warm_workers
python = warm_workers.warm_python()
children = open(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read().split()
for child in children:
    os.kill(int(child), signal.SIGKILL)
    os.waitpid(int(child), 0)
print(subprocess.check_output([python, "-m", "job"], cwd={str(tmp_path)!r}, text=True).strip())
"""
    assert _output([sys.executable, "-c", code]) == "False"


def test_what_is_no_module_is_for_an_ordinary_interpreter() -> None:
    assert _output([warm_python(), "-c", "import sys; print('pandas' in sys.modules)"]) == "False"


def test_a_temporary_folder_with_a_long_name_has_ordinary_workers(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    code = (
        "import sys; from flink_jobs.system import warm_workers as w; print(w.warm_python(), sys.executable)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(long)}, capture_output=True, text=True
    )
    given, ordinary = done.stdout.split()
    assert given == ordinary
    assert list(long.iterdir()) == []


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_library_that_is_not_installed_keeps_no_worker_cold(tmp_path: Path) -> None:
    """As fsspec is not, where Tailrace is installed from an index without extras."""
    (tmp_path / "job.py").write_text("import sys; print('pandas' in sys.modules)")
    done = subprocess.run(
        [warm_python("no_such_library"), "-m", "job"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "True\n"
