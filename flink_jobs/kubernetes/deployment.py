"""What is known of a deployment before it is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flink_jobs.kubernetes.sizes import Memory

Mode = Literal["application", "session", "blue_green"]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A job, and where it shall run.

    `files` are the texts of the ConfigMap, `job.yaml` among them. `variables` are those that the files name:
    true for those that have a default. `plain` are variables with their values. `ports` are those of brokers
    and other servers that the job reaches. `otlp` is the URL of an OpenTelemetry collector.
    """

    job: str
    files: Mapping[str, str]
    image: str
    bucket: str
    memory: Memory
    flink_version: str
    parallelism: int = 1
    mode: Mode = "application"
    session: str = ""
    namespace: str = "default"
    secret: str = ""
    variables: Mapping[str, bool] = field(default_factory=dict)
    plain: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    autoscale: bool = False
    cpu: float = 1.0
    otlp: str = ""

    @property
    def from_secret(self) -> dict[str, bool]:
        """The variables of the Secret, and whether each is optional."""
        return {name: optional for name, optional in self.variables.items() if name not in self.plain}
