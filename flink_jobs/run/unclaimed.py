"""Sees to it that one job of a name runs at a time: two would end each other's transactions.

A JobManager of an application cluster plans its job each time that it starts; which start is that of a second
job, `why_not` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import structlog

from flink_jobs.kafka import claims
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.flink_options import checkpoint_ms
from flink_jobs.spec import JobSpec

# What a checkpoint may take on top of its interval.
_CHECKPOINT_SECONDS = 5.0
WhyNot = Literal["runs", "transactions"]


def why_not(
    *, recovered: bool, hand_over: bool, exactly_once: bool, runs: Callable[[], bool]
) -> WhyNot | None:
    """Why a JobManager must not start its job; None where it may.

    `recovered`: the cluster's own job goes on, after a JobManager was lost. `hand_over`: it was said that
    another of this name may run for a while beside it. `runs` asks whether one does, which takes its time.
    """
    if recovered:
        return None
    if hand_over:
        return "transactions" if exactly_once else None
    return "runs" if runs() else None


def runs_elsewhere(job: JobSpec) -> bool:
    """Whether a job of this name commits offsets; for one that ended without a word, this takes a while."""
    wait = 2 * checkpoint_ms(job) / 1_000 + _CHECKPOINT_SECONDS
    log = structlog.get_logger()

    def asked() -> None:
        log.info("asking_elsewhere", job=job.job, seconds=wait, reason="how it ended is not known")

    return claims.runs(client_settings(job), job.job, job.source.topic, wait, asked)


def as_refusal(job: JobSpec, why: WhyNot) -> str:
    """The same for people."""
    if why == "transactions":
        return (
            f"--hand-over starts {job.job} while another of its name runs, and each would end the other's "
            f"transactions: runtime.delivery must be at_least_once; got {job.runtime.delivery}"
        )
    return (
        f"a job {job.job} runs elsewhere: its group commits offsets of {job.source.topic}. Two would "
        f"write to the same topics, and end each other's transactions; stop it there first"
    )
