"""What `tailrace.yaml` says: which jobs belong together, and what their files leave out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from flink_jobs.spec.scalars import FileVersion, matching
from flink_jobs.spec.section import Section

Written = dict[str, Any] | None


class Defaults(Section):
    """Sections of job files; each job checks them as its own."""

    kafka: Written = Field(default=None, description="Brokers.")
    model: Written = Field(default=None, description="Registry, signatures.")
    privacy: Written = Field(default=None, description="Key of personal data.")
    alerts: Written = Field(default=None, description="Alerts of jobs that have any.")
    runtime: Written = Field(default=None, description="Parallelism, latency, delivery, checkpoints.")


class Project(Section):
    """A whole `tailrace.yaml`."""

    version: FileVersion = Field(default=1, description="Version of this file's keys.")
    jobs: Annotated[
        tuple[
            Annotated[str, matching(r"[^/\x00-\x1f][^\x00-\x1f]*", "a path or pattern below the folder")], ...
        ],
        Field(strict=False, min_length=1),
    ] = Field(description="Job files, or patterns such as jobs/*.yaml.")
    default: str | None = Field(default=None, description="The profile that is taken unless one is named.")
    profiles: dict[str, Any] = Field(default_factory=dict, description="As in conf/profiles.yaml.")
    defaults: Defaults = Field(default_factory=Defaults, description="What job files leave out.")
