"""Another user of the machine, and whoever reaches the local cluster: what the shell knows stays with it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.errors import InputError
from flink_jobs.jobfile import LARGEST_FILE, load_job
from flink_jobs.local import flink
from flink_jobs.local.flink import SessionCluster
from flink_jobs.system.processes import ProcessId

SECRETS = {
    "BANK_PASSWORD": "planted-1",
    "GITHUB_TOKEN": "planted-2",
    "DATABASE_URL": "postgres://u:planted-3@h/d",
    "KAFKA_PASSWORD": "planted-4",
    "TAILRACE_RELEASE_KEY": "/planted-5",
    "PYTHONSTARTUP": "/planted-6",
}


@pytest.fixture
def environments(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What is started gets these, and is not."""
    given: list[dict[str, str]] = []

    class Started:
        pid = os.getpid()

    def spawn(_command: Any, _log: Path, *, env: dict[str, str]) -> Started:
        given.append(env)
        return Started()

    monkeypatch.setattr(flink, "spawn", spawn)
    return given


def test_no_secret_of_the_shell_goes_to_the_cluster(
    tmp_path: Path, environments: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        **SECRETS,
        "AWS_REGION": "eu-west-1",
        "MINE": "1",
        "TAILRACE_PASS": "MINE, X",
    }.items():
        monkeypatch.setenv(name, value)
    started = list(SessionCluster(tmp_path, port=1, slots=1, memory="1g").launch())
    assert [process for _, process, _ in started] == [ProcessId.of(os.getpid())] * 2
    assert len(environments) == 2
    for environment in environments:
        assert "planted" not in str(environment)
        assert (environment["AWS_REGION"], environment["MINE"]) == ("eu-west-1", "1")
        assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("own", [None, "8"])
def test_workers_of_many_threads_keep_little_memory_unless_told_otherwise(
    tmp_path: Path, environments: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if own:
        monkeypatch.setenv("MALLOC_ARENA_MAX", own)
    list(SessionCluster(tmp_path, port=1, slots=1, memory="1g").launch())
    assert [environment["MALLOC_ARENA_MAX"] for environment in environments] == [own or "2"] * 2


def test_workers_import_what_came_with_their_job_wherever_the_cluster_was_started(
    tmp_path: Path, environments: list[dict[str, str]]
) -> None:
    """As in a checkout of another Tailrace: Python started with -m looks into its folder first."""
    list(SessionCluster(tmp_path / "stack", port=1, slots=1, memory="1g").launch())
    for place in ("shipped", "here"):
        (tmp_path / place / "udfs").mkdir(parents=True)
        (tmp_path / place / "udfs" / "worker.py").write_text(f"print({place!r})")
    command, shipped = [sys.executable, "-m", "udfs.worker"], {"PYTHONPATH": str(tmp_path / "shipped")}
    for environment in environments:
        own = environment | shipped
        assert subprocess.check_output(command, cwd=tmp_path / "here", env=own) == b"shipped\n"
    plain = {name: value for name, value in own.items() if name != "PYTHONSAFEPATH"}
    assert subprocess.check_output(command, cwd=tmp_path / "here", env=plain) == b"here\n"


def test_state_is_for_its_owner(tmp_path: Path, environments: list[dict[str, str]]) -> None:
    directory = tmp_path / "stack"
    list(SessionCluster(directory, port=1, slots=1, memory="1g").launch())
    assert environments
    for folder in ("checkpoints", "savepoints", "tmp", "log"):
        assert stat.S_IMODE((directory / folder).stat().st_mode) == 0o700


def test_a_hostile_job_file_costs_seconds_not_minutes(tmp_path: Path) -> None:
    """800 KB in 31 brackets took 11 s, quoted text 17; what is read at most is timed on a slow machine."""
    path = tmp_path / "job.yaml"
    path.write_text("[" * 31 + '"' + "a " * 400_000 + '"' + "]" * 31)
    started = time.process_time()
    with pytest.raises(InputError, match="must be a job file of at most 128 KiB"):
        load_job(path)
    assert time.process_time() - started < 1
    path.write_text("[" * 31 + '"' + "a " * (LARGEST_FILE // 2 - 40) + '"' + "]" * 31)
    started = time.process_time()
    with pytest.raises(InputError):
        load_job(path)
    assert time.process_time() - started < 8
