"""A job under names of its own, so that it can run on any broker without a trace of, or in, another run.

isolated(job, "localhost:9092").source.topic      # flight-delay-1f0c2a9b.source
"""

from __future__ import annotations

import uuid
from typing import Any

from flink_jobs.plan.topics import all_topics
from flink_jobs.spec import JobSpec, Kafka


def isolated(job: JobSpec, brokers: str) -> JobSpec:
    """The job with a name, topics and brokers that are not its own; all else is as the job file says."""
    name = f"{job.job[:40]}-{uuid.uuid4().hex[:8]}"
    changes: dict[str, Any] = {"job": name, "kafka": Kafka(brokers=brokers)}
    for section in ("source", *all_topics(job)):
        topic = f"{name}.{section.replace('_', '-')}"
        changes[section] = getattr(job, section).model_copy(update={"topic": topic})
    return job.model_copy(update=changes)
