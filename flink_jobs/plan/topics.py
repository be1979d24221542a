"""Lists the topics that a job reads and writes."""

from __future__ import annotations

from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.spec import JobSpec, Labels


def labels_of(job: JobSpec) -> Labels | None:
    """The topic of labels, if the job reads one: comparisons and quality have the same."""
    return compared_labels(job) or (job.quality.labels if job.quality else None)


def compared_labels(job: JobSpec) -> Labels | None:
    """The labels by which versions are compared: with a lifecycle, where none are given, those of quality."""
    if job.comparisons is None:
        return None
    of_quality = job.quality.labels if job.lifecycle and job.quality else None
    return job.comparisons.labels or of_quality


def labels_location(job: JobSpec) -> tuple[str, str]:
    """The section that says which labels are read."""
    return ("comparisons" if job.comparisons and job.comparisons.labels else "quality", "labels")


def output_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of the outputs of which each record that is read has one."""
    return {output.name: output.topic(job) for output in outputs_of(job) if output.account}


def all_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of all that the job writes."""
    return {output.name: output.topic(job) for output in outputs_of(job)}


def forgives_replayed(job: JobSpec) -> bool:
    """Whether a replayed record is never late: no windows, tables or labels are joined by event time."""
    return not has_stages(job) and labels_of(job) is None


def has_stages(job: JobSpec) -> bool:
    """Whether records wait for the watermark, for their windows or for tables of topics."""
    return bool(job.features.windows or topic_lookups(job))
