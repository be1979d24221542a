"""A search that is killed in mid trial, resumed as if there had been none."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from flink_jobs.registry import Registry
from flink_jobs.system.jars import PROJECT
from flink_jobs.training import load_trainer, train
from tests.helpers.payments import in_memory, settings, write_model
from udfs.model.manifest import Manifest

TRIALS = 8


def searched(root: Path, trials: int = TRIALS) -> Manifest:
    return train(load_trainer(root / "cards"), Registry(root), settings(root, trials), features=in_memory)


def states(root: Path) -> list[str]:
    place = root / "cards" / "studies" / "studies.db"
    if not place.is_file():
        return []
    connection = sqlite3.connect(place)
    try:
        return [state for (state,) in connection.execute("select state from trials order by trial_id")]
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The process is killed in mid trial; then the same command ends with what an untouched one has."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for root in (whole, broken):
        root.mkdir()
        write_model(root, pause=0.02)
    expected = searched(whole)
    command = [sys.executable, "-m", "tests.helpers.payments", str(broken), str(TRIALS)]
    process = subprocess.Popen(command, cwd=PROJECT)
    deadline = time.monotonic() + 60
    while states(broken)[-1:] != ["RUNNING"] or len(states(broken)) < 4:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "cards" / "versions").exists()
    before = states(broken)
    assert before[-1] == "RUNNING"
    resumed = searched(broken)
    after = states(broken)
    assert after[: len(before)] == [*before[:-1], "FAIL"]
    assert len(after) == TRIALS + 1
    assert resumed.training["search"] == expected.training["search"]
    assert resumed.training["parameters"] == expected.training["parameters"]
    assert resumed.training["predictions_digest"] == expected.training["predictions_digest"]
    assert resumed.metrics == expected.metrics
