"""Which topics a job reads and writes."""

from __future__ import annotations

from flink_jobs.spec import JobSpec, Labels


def labels_of(job: JobSpec) -> Labels | None:
    """The topic of labels, if the job reads one."""
    return job.comparisons.labels if job.comparisons else None


def output_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic."""
    return {
        "predictions": job.predictions.topic,
        "dead_letters": job.dead_letters.topic,
        "late": job.late.topic,
    }


def shadow_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of what shadows say of each record; empty without `shadows`."""
    return {"shadows": job.shadows.topic} if job.shadows else {}


def report_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of what is said of windows; empty without `drift` and `comparisons`."""
    sections = {"drift": job.drift, "alerts": job.alerts, "comparisons": job.comparisons}
    if job.drift is None and job.comparisons is None:
        return {}
    return {name: section.topic for name, section in sections.items() if section}


def all_topics(job: JobSpec) -> dict[str, str]:
    """Sink to topic of all that the job writes."""
    return output_topics(job) | shadow_topics(job) | report_topics(job)
