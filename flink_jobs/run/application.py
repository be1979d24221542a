"""The entry of an application cluster: plans the job file and submits the job in its own JobManager.

    flink's PythonDriver: -py …/main.py /opt/tailrace/job/job.yaml

where main.py is `from flink_jobs.run.application import main; main()`. The JobManager runs it again whenever
it starts anew; topics that are there stay as they are. A session cluster, which has no such file, gets the
text itself, as base64:TEXT.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from flink_jobs.errors import TailraceError
from flink_jobs.jobfile import JobFile, read_job, read_job_text
from flink_jobs.plan.validate import plan_file
from flink_jobs.run import preflight
from flink_jobs.run.program import start_inside
from flink_jobs.system.log import configure_logging
from flink_jobs.system.masks import PROCESS


def main(words: Sequence[str] | None = None) -> None:
    """Submits the job of the file that the first word names; a mistake ends the JobManager with its text."""
    configure_logging()
    word = (sys.argv[1:] if words is None else words)[0]
    with PROCESS.learning():
        try:
            plan = plan_file(_read(word))
            found = preflight.check(plan)
            job = start_inside(plan)
        except TailraceError as error:
            sys.exit(f"error: {PROCESS.hide(str(error))}")
    for warning in found.warnings:
        structlog.get_logger().warning("preflight", warning=warning)
    structlog.get_logger().info("job_submitted", job=plan.job.job, id=job)


def _read(word: str) -> JobFile:
    kind, _, text = word.partition(":")
    if kind == "base64":
        return read_job_text(base64.b64decode(text), "the job file", Path.cwd())
    return read_job(Path(word))
