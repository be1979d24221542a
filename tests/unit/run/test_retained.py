"""Where a lost job left its state; the adversaries are other jobs' folders, and a run that was cut off."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from flink_jobs.errors import InputError
from flink_jobs.plan.state import FILE, JobState, encode_state
from flink_jobs.run.retained import Retained, lost_jobs, newest, remembered, retained_in

STATE = JobState("fraud", "payments", {}, file="/srv/fraud.yaml")


def leave(folder: Path, state: JobState, *checkpoints: str, at: int = 0) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(encode_state(state))
    for name in checkpoints:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "_metadata").write_bytes(b"x")
        os.utime(folder / name / "_metadata", (at, at))


@pytest.fixture
def places(tmp_path: Path) -> Path:
    leave(tmp_path / "a", STATE, "chk-9", "chk-10", at=2_000)
    leave(tmp_path / "b", STATE, "chk-50", at=1_000)
    leave(tmp_path / "c", msgspec.structs.replace(STATE, job="other"), "chk-99", at=9_000)
    leave(tmp_path / "cut-off", STATE)
    (tmp_path / "a" / "chk-11").mkdir()  # begun, and not done when the machine went
    leave(tmp_path / "savepoint-1", STATE, ".", at=1_500)
    (tmp_path / "not-ours").mkdir()
    return tmp_path


def test_the_newest_checkpoint_of_the_job(places: Path) -> None:
    found = retained_in(str(places), "fraud")
    assert {Path(each.path).relative_to(places).as_posix() for each in found} == {
        "a/chk-10",
        "b/chk-50",
        "savepoint-1",
    }
    last = newest(found, "fraud")
    assert last is not None
    assert last.path == f"{places}/a/chk-10"
    assert last.file == "/srv/fraud.yaml"


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert retained_in(str(tmp_path / "none"), "fraud") == []
    assert lost_jobs(tmp_path / "none") == []


def test_jobs_that_ran_when_the_jobmanager_died(tmp_path: Path) -> None:
    """Not one that was cancelled, one of a cluster before this one, nor a folder that was cut off."""
    for number, name in enumerate(("old", "lost", "cancelled", "lost")):
        leave(tmp_path / "checkpoints" / (str(number) * 32), msgspec.structs.replace(STATE, job=name))
    os.utime(tmp_path / "checkpoints" / ("0" * 32) / FILE, (0, 0))
    (tmp_path / "checkpoints" / "broken").mkdir()
    (tmp_path / "checkpoints" / "broken" / FILE).write_text("{")
    (tmp_path / "jobmanager.started").touch()
    os.utime(tmp_path / "jobmanager.started", (1_000, 1_000))
    (tmp_path / "ended" / "of-an-application").mkdir(parents=True)
    (tmp_path / "ended" / "of-an-application" / ("2" * 32)).touch()
    assert lost_jobs(tmp_path) == ["lost"]
    assert newest([], "fraud") is None


def test_without_times_it_is_not_guessed_which_is_the_newest() -> None:
    found = [Retained("s3://b/x/chk-1", None), Retained("s3://b/y/chk-2", None)]
    with pytest.raises(InputError, match=r"name one with --from: s3://b/x/chk-1, s3://b/y/chk-2"):
        newest(found, "fraud")
    assert newest([found[0], found[0]], "fraud") == found[0]


def test_what_the_cluster_remembers() -> None:
    checkpoint = {"external_path": "file:/c/chk-3", "latest_ack_timestamp": 5}
    savepoint = {"external_path": "file:/s/savepoint-1", "latest_ack_timestamp": 7}
    assert remembered({"latest": {"completed": checkpoint}}) == Retained("file:/c/chk-3", 5)
    assert remembered({"latest": {"completed": checkpoint, "savepoint": savepoint}}) == Retained(
        "file:/s/savepoint-1", 7
    )
    assert remembered({"latest": {"completed": None}}) is None
    assert remembered({}) is None


def test_brokers_may_have_ended_what_an_old_checkpoint_prepared() -> None:
    """A job that comes back after the transactions' timeout, here of five minutes."""
    minutes = 60_000
    at = 1_767_268_800_000
    checkpoint = Retained("file:/c/x/chk-3", at)
    assert checkpoint.outlived(5 * minutes, at + 6 * minutes)
    assert not checkpoint.outlived(5 * minutes, at + 4 * minutes)
    assert not Retained("file:/s/savepoint-1f", at).outlived(5 * minutes, at + 6 * minutes)
    assert not checkpoint._replace(at=None).outlived(5 * minutes, at + 6 * minutes)
