"""The job file as data: what a person wrote, with defaults, checked key by key, and frozen.

Attribute names are the YAML keys, except `source.fields`, which is the key `schema`. Durations are
integers in milliseconds, sizes integers in bytes. Nothing else in the project knows YAML keys.

    job = load_job("conf/flight_delay.yaml")       # flink_jobs.jobfile
    job.features.windows["origin_1h"].over         # 3600000

References between sections are checked in `flink_jobs.jobfile.references`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from flink_jobs.spec.aggregates import Aggregate
from flink_jobs.spec.contract import FieldType, SchemaField
from flink_jobs.spec.drift import AlertRule, Alerts, Drift
from flink_jobs.spec.event_time import EventTime
from flink_jobs.spec.features import GROUP_WINDOW_KINDS, Features, Lookup, Window, WindowKind
from flink_jobs.spec.formats import Envelope
from flink_jobs.spec.kafka import Kafka
from flink_jobs.spec.lifecycle import Lifecycle, OnDrift, OnQuality
from flink_jobs.spec.model import Model
from flink_jobs.spec.outputs import Accounting, DeadLetters, Late, Predictions
from flink_jobs.spec.privacy import Declassified, Privacy
from flink_jobs.spec.quality import Quality
from flink_jobs.spec.rollout import AutomaticSteps, Comparisons, GateRules, Labels, Shadows
from flink_jobs.spec.runtime import Checkpoint, Runtime
from flink_jobs.spec.scalars import FileVersion, matching
from flink_jobs.spec.schema_registry import SchemaRegistry
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Security
from flink_jobs.spec.source import Source
from flink_jobs.system.masks import Masks

__all__ = [
    "GROUP_WINDOW_KINDS",
    "Accounting",
    "Aggregate",
    "AlertRule",
    "Alerts",
    "AutomaticSteps",
    "Checkpoint",
    "Comparisons",
    "DeadLetters",
    "Declassified",
    "Drift",
    "Envelope",
    "EventTime",
    "Features",
    "FieldType",
    "GateRules",
    "JobSpec",
    "Kafka",
    "Labels",
    "Late",
    "Lifecycle",
    "Lookup",
    "Model",
    "OnDrift",
    "OnQuality",
    "Predictions",
    "Privacy",
    "Quality",
    "Runtime",
    "SchemaField",
    "SchemaRegistry",
    "Security",
    "Shadows",
    "Source",
    "Window",
    "WindowKind",
]

JOB_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
OUTPUT_SUFFIXES = {"predictions": "predictions", "dead_letters": "dead-letters", "late": "late"}
REPORT_SUFFIXES = {"drift": "drift", "alerts": "alerts", "comparisons": "comparisons", "quality": "quality"}
# Topics that there are only if the job file has their section, or one that needs it.
OPTIONAL_SUFFIXES = {**REPORT_SUFFIXES, "shadows": "shadows", "accounting": "accounts"}
NEEDED_WITH = (
    ("lifecycle", "comparisons"),
    ("drift", "alerts"),
    ("shadows", "comparisons"),
    ("comparisons", "shadows"),
    ("comparisons", "alerts"),
    ("quality", "alerts"),
)


class JobSpec(Section):
    """A whole job file."""

    version: FileVersion = Field(
        default=1, description="Version of the file's keys; tailrace migrate writes it."
    )
    job: Annotated[
        str,
        matching(
            JOB_NAME, "a job name: at most 63 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
        ),
    ] = Field(description="Name of the job; prefix of its topics, consumer group and transactions.")
    kind: Literal["score"] = Field(default="score", description="What the job does.")
    score: Literal["per_event", "per_window"] = Field(
        default="per_event", description="One prediction for each event, or for each key and window."
    )
    kafka: Kafka = Field(default_factory=Kafka, description="Brokers.")
    source: Source = Field(description="The topic to read and its data contract.")
    features: Features = Field(default_factory=Features, description="Columns made for the model.")
    model: Model = Field(description="The model.")
    predictions: Predictions = Field(default_factory=Predictions, description="Output of predictions.")
    dead_letters: DeadLetters = Field(default_factory=DeadLetters, description="Output of failed records.")
    late: Late = Field(default_factory=Late, description="Output of late records.")
    accounting: Accounting | None = Field(
        default=None, description="Output of what became of each range of offsets; left out: none."
    )
    privacy: Privacy = Field(default_factory=Privacy, description="Personal data: key and exceptions.")
    drift: Drift | None = Field(
        default=None, description="Drift and data quality of each window; left out: none."
    )
    alerts: Alerts | None = Field(
        default=None, description="Alerts about drift; default, with drift: Tailrace's own rules."
    )
    shadows: Shadows | None = Field(
        default=None,
        description="Predictions of shadow versions; left out: none, unless comparisons is there.",
    )
    comparisons: Comparisons | None = Field(
        default=None, description="Comparing versions, and the gate; left out: none, unless shadows is there."
    )
    quality: Quality | None = Field(
        default=None, description="How right the model is in each window; left out: none."
    )
    lifecycle: Lifecycle | None = Field(
        default=None,
        description="When to train again, and what a new version must go through; left out: people decide.",
    )
    runtime: Runtime = Field(
        default_factory=Runtime, description="Parallelism, latency, delivery, checkpoints."
    )
    _masks: Masks = PrivateAttr(default_factory=Masks)

    @property
    def masks(self) -> Masks:
        """What hides values of the environment wherever the job is shown."""
        return self._masks

    def with_masks(self, masks: Masks) -> JobSpec:
        """The same job, whose values from the environment are known."""
        self._masks = masks
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_topics(cls, data: Any) -> Any:
        return with_default_topics(data) if isinstance(data, dict) else data


def with_default_topics(data: dict[str, Any]) -> dict[str, Any]:
    """The job file with each output topic named after the job, unless it is given."""
    job = data.get("job")
    prefix = job if isinstance(job, str) and re.fullmatch(JOB_NAME, job) else "job"
    filled = dict(data)
    for section, suffix in OUTPUT_SUFFIXES.items():
        given = data.get(section, {})
        if isinstance(given, dict):
            filled[section] = {"topic": f"{prefix}.{suffix}", **given}
    for needing, needed in NEEDED_WITH:
        if filled.get(needing) is not None:
            filled.setdefault(needed, {})
    for section, suffix in OPTIONAL_SUFFIXES.items():
        given = filled.get(section)
        if isinstance(given, dict):
            filled[section] = {"topic": f"{prefix}.{suffix}", **given}
    return filled
