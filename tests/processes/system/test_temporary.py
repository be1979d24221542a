"""What a killed process leaves, the next one removes, and never what a living one has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flink_jobs.system.temporary import remove_left

OWN = """
import sys, time
from flink_jobs.system.temporary import own_folder
folder = own_folder("udfs")
(folder / "keystore.p12").write_text("secret")
print(folder, flush=True)
if sys.argv[1:] == ["wait"]:
    time.sleep(60)
"""


def begin(temporary: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWN, *words],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    process, folder = begin(tmp_path)
    assert folder.is_relative_to(tmp_path)
    assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_leaves_the_next_removes_while_others_keep_theirs(tmp_path: Path) -> None:
    killed, left = begin(tmp_path, "wait")
    living, kept = begin(tmp_path, "wait")
    try:
        killed.kill()
        killed.wait(30)
        assert (left / "keystore.p12").exists()
        following, _ = begin(tmp_path)
        assert following.wait(30) == 0
        assert not left.parent.exists()
        assert (kept / "keystore.p12").exists()
        assert kept.parent.stat().st_mode & 0o077 == 0
    finally:
        living.kill()
        living.wait(30)


def test_what_only_looks_like_ours_is_left_alone(tmp_path: Path) -> None:
    """A link to somewhere else, other names, and a folder that another has put in the place of ours."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    name = "tailrace-" + "0" * 16
    (temporary / f"{name}.lock").touch()
    (temporary / name).symlink_to(precious)
    (temporary / "tailrace-mine.lock").touch()
    (temporary / "tailrace-mine").mkdir()
    (temporary / ("tailrace-" + "1" * 16 + ".lock")).symlink_to(precious / "file")
    remove_left(temporary)
    assert (precious / "file").exists()
    assert (temporary / "tailrace-mine").exists()
    assert not (temporary / f"{name}.lock").exists()


@pytest.mark.parametrize("rounds", [3])
def test_processes_that_begin_at_once_do_not_take_each_others_folders(tmp_path: Path, rounds: int) -> None:
    for _ in range(rounds):
        begun = [begin(tmp_path, "wait") for _ in range(4)]
        time.sleep(0.1)
        assert all((folder / "keystore.p12").exists() for _, folder in begun)
        for process, _ in begun:
            process.kill()
            process.wait(30)
