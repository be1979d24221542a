"""Chooses the Flink settings of a job: latency profile, delivery and state; `runtime.flink` overrides all.

>>> largest_message(512_000)
2097176
>>> as_uri("/srv/state"), as_uri("s3://bucket/state")
('file:///srv/state', 's3://bucket/state')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flink_jobs.spec import JobSpec

# Bytes of the key of a prediction, beside it.
LARGEST_KEY = 131_072
# Of a bundle of a job with windows: each changes some sixty states, which takes longer than 10 ms of records.
LEAST_WINDOWED_MS = 20


@dataclass(frozen=True)
class Profile:
    """How long records wait to travel together: `bundle` rows or `bundle_ms`; `linger_ms` in the producer.

    `arrow_rows` is the size of the batches that the model sees, `buffer_ms` how long Flink holds a network
    buffer back. With exactly-once delivery readers wait for the checkpoint, every `checkpoint_ms`; else that
    only says how much is repeated after a failure.
    """

    bundle: int
    bundle_ms: int
    arrow_rows: int
    buffer_ms: int
    linger_ms: int
    checkpoint_ms: int


PROFILES: Mapping[str, Profile] = {
    "low": Profile(
        bundle=1_000, bundle_ms=10, arrow_rows=1_000, buffer_ms=1, linger_ms=2, checkpoint_ms=1_000
    ),
    "balanced": Profile(
        bundle=20_000, bundle_ms=200, arrow_rows=10_000, buffer_ms=100, linger_ms=20, checkpoint_ms=10_000
    ),
    "throughput": Profile(
        bundle=100_000, bundle_ms=1_000, arrow_rows=10_000, buffer_ms=100, linger_ms=100, checkpoint_ms=30_000
    ),
}


def checkpoint_ms(job: JobSpec) -> int:
    """The interval that was given, or the profile's; at least 10 s where nobody waits for a checkpoint."""
    if job.runtime.checkpoint.interval is not None:
        return job.runtime.checkpoint.interval
    least = 10_000 if job.runtime.delivery == "at_least_once" else 0
    return max(PROFILES[job.runtime.latency].checkpoint_ms, least)


def flink_options(job: JobSpec) -> dict[str, str]:
    """Flink options of the job; later ones of the user win."""
    profile = PROFILES[job.runtime.latency]
    least = LEAST_WINDOWED_MS if job.features.windows else 0
    options = {
        "pipeline.name": job.job,
        "parallelism.default": str(job.runtime.parallelism),
        "pipeline.object-reuse": "true",
        "table.local-time-zone": "UTC",
        "table.exec.uid.generation": "ALWAYS",
        "python.fn-execution.bundle.size": str(profile.bundle),
        "python.fn-execution.bundle.time": str(max(profile.bundle_ms, least)),
        "python.fn-execution.arrow.batch.size": str(profile.arrow_rows),
        "execution.buffer-timeout.interval": f"{profile.buffer_ms} ms",
        "execution.checkpointing.interval": f"{checkpoint_ms(job)} ms",
        "execution.checkpointing.mode": job.runtime.delivery.upper(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    if job.runtime.checkpoint.dir:
        options["execution.checkpointing.dir"] = as_uri(str(job.runtime.checkpoint.dir))
    return options | job.runtime.all_flink


def as_uri(path: str) -> str:
    """A local path as a URI; what is a URI already stays, be it Flink's short `file:/…`."""
    return path if "://" in path or path.startswith("file:") else f"file://{path}"


def producer_properties(job: JobSpec) -> dict[str, str]:
    """Kafka producer settings of all sinks."""
    profile = PROFILES[job.runtime.latency]
    return {
        "linger.ms": str(profile.linger_ms),
        "batch.size": "16384" if job.runtime.latency == "low" else "524288",
        "compression.type": "lz4",
        "max.request.size": str(largest_output(job)),
    }


def largest_output(job: JobSpec) -> int:
    """Bytes of the largest message that the job writes."""
    return max(largest_message(job.source.max_bytes), largest_prediction(job))


def largest_message(max_record_bytes: int) -> int:
    """Bytes that an output topic must take: a record over the limit is a dead letter, whole, with headers."""
    return max(max_record_bytes, 1_048_588) * 2


def largest_prediction(job: JobSpec) -> int:
    """Bytes that a topic of predictions must take."""
    return job.predictions.max_bytes + LARGEST_KEY
