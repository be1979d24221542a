"""`tailrace job` and `jobs` on what a real Flink answered, at 80 columns."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app, clusters, job
from flink_jobs.errors import WorkError
from flink_jobs.run.cluster import JobInfo
from flink_jobs.run.vitals import Lag
from tests.helpers.recorded_flink import RecordedCluster

Run = Callable[..., tuple[int, str]]
LONG = "card-fraud-of-the-north-and-the-south-and-the-rest-of-the-world-by-hour"


class Renamed(RecordedCluster):
    """One whose job has a name as long as they come."""

    def jobs(self) -> list[JobInfo]:
        return [dataclasses.replace(each, name=LONG) for each in super().jobs()]


@pytest.fixture
def tailrace(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*words: str, cluster: RecordedCluster) -> tuple[int, str]:
        for module in (job, clusters):
            monkeypatch.setattr(module, "cluster_at", lambda _: cluster)
        monkeypatch.setattr(time, "time", lambda: cluster.now / 1000)
        done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_a_job_that_runs(tailrace: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_lag", lambda *_: [Lag(0, 1_200, 61.5), Lag(1, 0, 0.0)])
    code, text = tailrace("job", "alive", cluster=RecordedCluster("running"))
    words = " ".join(text.split())
    assert code == 0
    assert "state running for 46s" in words
    assert "lag 1,200 records, 1m 1s; by partition 0: 1,200 (1m 1s)" in words
    assert "rate 33/s in, " in words
    assert "0.05% late, 0.00% dead" in words
    assert "restarts 0 " in words
    assert "checkpoint 0s ago, 56.7 KB, 8 failed" in words
    assert max(map(len, text.splitlines())) <= 80


def test_a_job_without_a_taskmanager_is_shown_as_what_it_is(tailrace: Run) -> None:
    """The adversary is Flink, which calls it RUNNING; a script sees it by the exit code."""
    code, text = tailrace("job", "alive", cluster=RecordedCluster("alone"))
    assert code == 1
    assert "no TaskManager: Flink calls it running" in text
    assert "a TaskManager was lost (127.0.0.1:37089-12835b)" in " ".join(text.split())
    _, listed = tailrace("jobs", cluster=RecordedCluster("alone"))
    assert "no TaskManager" in listed


def test_json_has_all_that_is_shown(tailrace: Run) -> None:
    code, text = tailrace("job", "alive", "--json", cluster=RecordedCluster("alone"))
    found: dict[str, Any] = json.loads(text)
    assert code == 1
    assert (found["state"], found["healthy"], found["restarts"]) == ("no TaskManager", False, 1)
    _, text = tailrace("jobs", "--json", cluster=RecordedCluster("running"))
    (listed,) = json.loads(text)
    assert (listed["state"], listed["standing"], listed["vitals"]["pending"]) == ("RUNNING", "running", 0)


def test_names_are_never_cut(tailrace: Run) -> None:
    _, text = tailrace("jobs", cluster=Renamed("running"))
    assert max(map(len, text.splitlines())) <= 80
    shown = "".join(line[:20].split(" ")[0] for line in text.splitlines()[1:])
    assert shown == LONG


def test_a_job_that_ends_while_it_is_looked_at_is_listed(tailrace: Run) -> None:
    class Gone(RecordedCluster):
        def get(self, path: str) -> Any:
            raise WorkError(f"{path}: not found")

    code, text = tailrace("jobs", cluster=Gone("running"))
    assert (code, "alive" in text) == (0, True)


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (9_999, "9999"), (12_340, "12k"), (10**8, "100M")])
def test_counts_in_short(count: int, text: str) -> None:
    assert clusters.compact(count) == text
