"""A worker ends with the JVM that began it, however that ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.system.processes import ProcessId, wait_until

WORKER = (
    "import os, time, udfs.flink.worker as w\n"
    "w.prepare_worker(); print(os.getpid(), flush=True); time.sleep(60)"
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere workers cannot tell")
@pytest.mark.parametrize("name", ["java", "other"])
def test_a_worker_ends_with_its_jvm(tmp_path: Path, name: str) -> None:
    """A shell stands between the two, as in Flink; the JVM is a shell of that name."""
    shell = shutil.which("bash")
    assert shell
    (tmp_path / name).symlink_to(shell)
    command = [str(tmp_path / name), "-c", "bash -c \"$0 -c '$1'; true\"; true", sys.executable, WORKER]
    jvm = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert jvm.stdout
        worker = ProcessId.of(int(jvm.stdout.readline()))
        assert worker.alive()
        os.kill(jvm.pid, signal.SIGKILL)
        jvm.wait()
        assert wait_until(lambda: not worker.alive(), 10 if name == "java" else 1) is (name == "java")
    finally:
        os.killpg(jvm.pid, signal.SIGKILL)
