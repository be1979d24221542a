"""Runs a job file until its topics hold enough, and stops it with a savepoint for another run to go on from.

Each run has a Flink and Python workers of its own: only topics and the savepoint are left for the next. The
JVM alone is that of the test, as to start one takes longer than such a job; `tests/kafka/test_drift.py` and
`test_cli_run.py` go on in processes that are new altogether.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.run.warm_up import warmed
from flink_jobs.system.processes import wait_until


def run_until(
    brokers: str,
    file: Path,
    counts: Mapping[str, int],
    savepoints: Path,
    savepoint: str | None = None,
    *,
    warm_up: bool = False,
) -> str:
    """The savepoint with which it was stopped."""
    plan = make_plan(load_job_text(file.read_text(), str(file), file.parent, {}))
    preflight.check(plan)
    if warm_up:
        assert savepoint
        plan = warmed(plan, savepoint)
    settings = ClientSettings(brokers)

    def written() -> dict[str, int]:
        return {topic: count_committed(settings, topic) for topic in counts}

    with start(plan, Target(None, savepoint)) as running:
        enough = wait_until(
            lambda: running.ended() or all(written()[t] >= count for t, count in counts.items()), 300, 0.5
        )
        if running.ended():
            running.wait()
        assert enough, written()
        stopped = running.stop(str(savepoints))
        running.wait()
    return stopped
