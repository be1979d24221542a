"""The `runtime` section of a job file: how the job runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flink_jobs.spec.paths import PathOrUri
from flink_jobs.spec.scalars import CheckpointInterval, Scalar, matching, whole
from flink_jobs.spec.secrets import HIDDEN_IN_JSON, NoLiterals
from flink_jobs.spec.section import Section

OptionName = Annotated[str, matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Flink option")]


class Checkpoint(Section):
    """How often the state is saved, and where."""

    interval: CheckpointInterval | None = Field(
        default=None, description="Time between checkpoints; default: as latency says."
    )
    dir: PathOrUri | None = Field(default=None, description="Folder or URI such as s3://bucket/checkpoints.")


class Runtime(Section):
    """How the job runs."""

    parallelism: Annotated[int, whole(1, 4096)] = Field(
        default=1, description="Parallel instances of each operator."
    )
    latency: Literal["low", "balanced", "throughput"] = Field(
        default="balanced", description="Sets batch sizes and waiting times."
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once", description="Kafka transactions, or possible repeats after a failure."
    )
    checkpoint: Checkpoint = Field(default_factory=Checkpoint, description="Saving of state.")
    python: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,1000}", "a path")] | None = Field(
        default=None, description="Python interpreter of the workers, on the cluster's machines."
    )
    flink: Annotated[dict[OptionName, Scalar], HIDDEN_IN_JSON, NoLiterals()] = Field(
        default_factory=dict, repr=False, description="Any Flink option; stronger than all other settings."
    )
