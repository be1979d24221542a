"""Lists the topics that a job reads and writes."""

from __future__ import annotations

from flink_jobs.plan.outputs import outputs_of
from flink_jobs.spec import JobSpec, Labels


def labels_of(job: JobSpec) -> Labels | None:
    """The topic of labels, if the job reads one."""
    return job.comparisons.labels if job.comparisons else None


def output_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of the outputs of which each record that is read has one."""
    return {output.name: output.topic(job) for output in outputs_of(job) if output.account}


def all_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of all that the job writes."""
    return {output.name: output.topic(job) for output in outputs_of(job)}
