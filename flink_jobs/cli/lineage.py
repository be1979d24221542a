"""Tells a catalog of runs that commands start and end, where OPENLINEAGE_URL says which."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from flink_jobs.errors import JobFailedError
from flink_jobs.plan import Plan
from flink_jobs.plan.state import PARAMETER
from flink_jobs.run.cluster import Cluster, JobInfo, failure_reason
from flink_jobs.run.lineage import EventType, ended, lineage_of, started
from flink_jobs.system.masks import PROCESS

# By Flink's word for the state of a job that has ended.
_ENDS: Mapping[str, EventType] = {"FAILED": "FAIL", "CANCELED": "ABORT", "FINISHED": "COMPLETE"}


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


def report_ended(cluster: Cluster, jobs: Iterable[JobInfo]) -> None:
    """Tells of runs that have ended while no command watched: the same of each, however often it is told."""
    lineage = lineage_of(os.environ)
    if lineage is None:
        return
    for job in jobs:
        kind = _ENDS.get(job.state)
        if kind and PARAMETER in cluster.parameters(job.id):
            trace = cluster.failure(job.id) if kind == "FAIL" else None
            reason = PROCESS.hide(failure_reason(trace)) if trace else ""
            lineage.send(ended(job.name, job.id, kind, reason, at=job.started + job.duration))
