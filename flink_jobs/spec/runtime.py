"""The `runtime` section of a job file: how the job runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flink_jobs.spec.paths import PathOrUri
from flink_jobs.spec.scalars import (
    CheckpointInterval,
    Scalar,
    as_text,
    matching,
    not_owned,
    overridable,
    whole,
)
from flink_jobs.spec.secrets import HIDDEN_IN_JSON, NoLiterals
from flink_jobs.spec.section import Section
from flink_jobs.spec.unsafe import Unsafe

_OWNED_OPTIONS = {
    "pipeline.name": "job",
    "parallelism.default": "runtime.parallelism",
    "execution.checkpointing.mode": "runtime.delivery",
    "execution.checkpointing.interval": "runtime.checkpoint.interval",
    "python.executable": "runtime.python",
    # What runs in the workers is what was checked; the cluster's lib folder is for further jars.
    "pipeline.jars": "Tailrace itself",
    "pipeline.classpaths": "Tailrace itself",
}
# HTTP stores cannot be written.
_ARTIFACTS = r"flink|(?!https?:)[a-z][a-z0-9+.-]{0,30}://[^\x00-\x20\x7f]{1,1000}"
OptionName = Annotated[
    str,
    matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Flink option"),
    not_owned("an option", _OWNED_OPTIONS),
]


# What may be set all the same, with a reason; the others say what the job is called and how it is counted.
_OVERRIDABLE = (
    *("execution.checkpointing.mode", "execution.checkpointing.interval", "python.executable"),
    *("pipeline.jars", "pipeline.classpaths"),
)
UnsafeName = Annotated[str, overridable(_OVERRIDABLE)]


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
    artifacts: (
        Annotated[str, matching(_ARTIFACTS, "flink, or a URI such as s3://bucket/artifacts")] | None
    ) = Field(
        default=None,
        description="How workers get what they need, so that the job names no path of here: flink, or a URI.",
    )
    flink: Annotated[dict[OptionName, Scalar], HIDDEN_IN_JSON, NoLiterals()] = Field(
        default_factory=dict,
        repr=False,
        description="Further Flink options; stronger than what Tailrace sets.",
    )
    overrides: dict[UnsafeName, Unsafe] = Field(
        default_factory=dict, description="Options against what other keys say, each with a reason."
    )

    @property
    def artifact_store(self) -> str | None:
        """The URI from which workers fetch what they need, unless Flink distributes it."""
        return None if self.artifacts == "flink" else self.artifacts

    @property
    def all_flink(self) -> dict[str, str]:
        """With those that are set against other keys, as text."""
        given = {**self.flink, **{name: each.value for name, each in self.overrides.items()}}
        return {name: as_text(value) for name, value in given.items()}
