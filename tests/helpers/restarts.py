"""Runs a job file in a process of its own until its topics hold enough, and stops it with a savepoint.

python -m tests.helpers.restarts BROKERS JOB_FILE SAVEPOINTS SAVEPOINT TOPIC=COUNT …
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import wait_until


def run_until(
    brokers: str, file: Path, counts: Mapping[str, int], savepoints: Path, savepoint: str = "-"
) -> subprocess.CompletedProcess[str]:
    """The last line of its output is the savepoint, if it came so far."""
    wanted = [f"{topic}={count}" for topic, count in counts.items()]
    words = [sys.executable, "-m", "tests.helpers.restarts", brokers, file, savepoints, savepoint, *wanted]
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=400, cwd=PROJECT)


def _main(brokers: str, file: str, savepoints: str, savepoint: str, *wanted: str) -> None:
    counts = {topic: int(count) for topic, _, count in (word.partition("=") for word in wanted)}
    plan = make_plan(load_job_text(Path(file).read_text(), file, Path(file).parent, {}))
    preflight.check(plan)
    settings = ClientSettings(brokers)

    def written() -> dict[str, int]:
        return {topic: count_committed(settings, topic) for topic in counts}

    with start(plan, Target(None, None if savepoint == "-" else savepoint)) as running:
        enough = wait_until(
            lambda: running.ended() or all(written()[t] >= count for t, count in counts.items()), 300, 0.5
        )
        if running.ended():
            running.wait()
        assert enough, written()
        stopped = running.stop(savepoints)
        running.wait()
    print(stopped)


if __name__ == "__main__":
    _main(*sys.argv[1:])
