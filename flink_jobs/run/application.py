"""The entry of an application cluster: plans the job file and submits the job in its own JobManager.

    flink's PythonDriver: -py …/main.py /opt/tailrace/job/job.yaml

where main.py is `from flink_jobs.run.application import main; main()`. The JobManager runs it again whenever
it starts anew; topics that are there stay as they are. It does not start a job that runs elsewhere, unless
`--hand-over` after the file says that the other one is about to end. A session cluster, which has no such
file, gets the text itself, as base64:TEXT; who submits that waits for seconds only, so nobody is asked there.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from flink_jobs.errors import InputError, TailraceError
from flink_jobs.jobfile import JobFile, read_job, read_job_text
from flink_jobs.plan.validate import plan_file
from flink_jobs.run import preflight
from flink_jobs.run.program import recovered_inside, start_inside
from flink_jobs.run.unclaimed import as_refusal, runs_elsewhere, why_not
from flink_jobs.spec import JobSpec
from flink_jobs.system.log import configure_logging
from flink_jobs.system.masks import PROCESS

HAND_OVER = "--hand-over"
_TEXT = "base64:"


def main(words: Sequence[str] | None = None) -> None:
    """Submits the job of the file that the first word names; a mistake ends the JobManager with its text."""
    configure_logging()
    word, *options = sys.argv[1:] if words is None else words
    with PROCESS.learning():
        try:
            plan = plan_file(_read(word))
            found = preflight.check(plan)
            if not word.startswith(_TEXT):
                _require_alone(plan.job, hand_over=HAND_OVER in options)
            job = start_inside(plan)
        except TailraceError as error:
            sys.exit(f"error: {PROCESS.hide(str(error))}")
    for warning in found.warnings:
        structlog.get_logger().warning("preflight", warning=warning)
    structlog.get_logger().info("job_submitted", job=plan.job.job, id=job)


def _require_alone(job: JobSpec, *, hand_over: bool) -> None:
    """Raises InputError where the job would be the second of its name."""
    why = why_not(
        recovered=recovered_inside(),
        hand_over=hand_over,
        exactly_once=job.runtime.delivery == "exactly_once",
        runs=lambda: runs_elsewhere(job),
    )
    if why:
        raise InputError(as_refusal(job, why))


def _read(word: str) -> JobFile:
    if word.startswith(_TEXT):
        return read_job_text(base64.b64decode(word.removeprefix(_TEXT)), "the job file", Path.cwd())
    return read_job(Path(word))
