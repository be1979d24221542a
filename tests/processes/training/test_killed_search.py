"""A search that is killed in mid trial, resumed as if there had been none."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from flink_jobs.system.jars import PROJECT
from tests.helpers.payments import write_model
from tests.helpers.searches import TRIALS, searched, states


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
