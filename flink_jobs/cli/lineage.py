"""Tells a catalog of runs that commands start and end, where OPENLINEAGE_URL says which."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flink_jobs.errors import JobFailedError
from flink_jobs.plan import Plan
from flink_jobs.run.lineage import EventType, ended, lineage_of, started
from flink_jobs.system.masks import PROCESS


@dataclass
class Outcome:
    """How a run that is watched has ended."""

    interrupted: bool = False


@contextmanager
def reported(plan: Plan, job_id: str, *, goes_on: bool = False) -> Iterator[Outcome]:
    """Tells of a run that has begun, and with what it ends within; nothing of one that goes on afterwards."""
    outcome, lineage, name = Outcome(), lineage_of(os.environ), plan.job.job
    if lineage:
        lineage.send(started(plan, job_id))
    try:
        yield outcome
    except JobFailedError as error:
        if lineage:
            lineage.send(ended(name, job_id, "FAIL", PROCESS.hide(str(error))))
        raise
    if lineage and not goes_on:
        lineage.send(ended(name, job_id, "ABORT" if outcome.interrupted else "COMPLETE"))


def report_end(name: str, job_id: str, kind: EventType) -> None:
    """Tells that a run on a cluster was ended."""
    lineage = lineage_of(os.environ)
    if lineage:
        lineage.send(ended(name, job_id, kind))
