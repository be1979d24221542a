"""The job file as data: what a person wrote, with defaults, checked key by key, and frozen.

Attribute names are the YAML keys, except `source.fields`, which is the key `schema`. Durations are
integers in milliseconds, sizes integers in bytes. Nothing else in the project knows YAML keys.

    job = load_job("conf/flight_delay.yaml")       # flink_jobs.loader
    job.features.windows["origin_1h"].over         # 3600000

References between sections are checked in `flink_jobs.consistency`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.aggregates import Aggregate
from flink_jobs.mistakes import Location, wrong, wrong_at
from flink_jobs.paths import AbsolutePath, PathOrUri, RegistryPlace, Secret
from flink_jobs.public_keys import PublicKey
from flink_jobs.scalars import (
    Brokers,
    CheckpointInterval,
    Parsed,
    PositiveDuration,
    Property,
    Scalar,
    matching,
    number,
    whole,
)
from flink_jobs.section import Reference, References, Section, Topic
from flink_jobs.spec_drift import AlertRule, Alerts, Drift
from flink_jobs.spec_features import GROUP_WINDOW_KINDS, Features, Lookup, Window, WindowKind
from flink_jobs.spec_rollout import AutomaticSteps, Comparisons, GateRules, Shadows
from flink_jobs.spec_source import EventTime, FieldType, SchemaField, Source

__all__ = [
    "GROUP_WINDOW_KINDS",
    "Aggregate",
    "AlertRule",
    "Alerts",
    "AutomaticSteps",
    "Checkpoint",
    "Comparisons",
    "DeadLetters",
    "Drift",
    "EventTime",
    "Features",
    "FieldType",
    "GateRules",
    "JobSpec",
    "Kafka",
    "Late",
    "Lookup",
    "Model",
    "Predictions",
    "Runtime",
    "SchemaField",
    "Security",
    "Shadows",
    "Source",
    "Window",
    "WindowKind",
]

JOB_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
OUTPUT_SUFFIXES = {"predictions": "predictions", "dead_letters": "dead-letters", "late": "late"}
REPORT_SUFFIXES = {"drift": "drift", "alerts": "alerts", "comparisons": "comparisons"}
# Topics that there are only if the job file has their section, or one that needs it.
OPTIONAL_SUFFIXES = {**REPORT_SUFFIXES, "shadows": "shadows"}
NEEDED_WITH = (
    ("drift", "alerts"),
    ("shadows", "comparisons"),
    ("comparisons", "shadows"),
    ("comparisons", "alerts"),
)
_OWNED_PROPERTIES = {
    "bootstrap.servers": "kafka.brokers",
    "group.id": "job",
    "transactional.id": "job",
}
_SECRET_OPTION = re.compile("password|secret|jaas|token|credential|access.?key", re.IGNORECASE)


def _not_owned(name: str) -> str:
    if name in _OWNED_PROPERTIES:
        raise wrong(f"a property other than {name}, which comes from {_OWNED_PROPERTIES[name]}", repr(name))
    return name


def _without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    return {k: "**********" if _SECRET_OPTION.search(k) else v for k, v in options.items()}


_HIDDEN_IN_JSON = PlainSerializer(_without_secrets, when_used="json")
PropertyName = Annotated[
    str, matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Kafka client property"), AfterValidator(_not_owned)
]
OptionName = Annotated[str, matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Flink option")]


class Security(Section):
    """How the brokers know the job. SASL needs mechanism, username and password."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        description="Security protocol."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="SASL mechanism."
    )
    username: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,1000}", "a user name")] | None = Field(
        default=None, description="SASL user name."
    )
    password: Secret | None = Field(default=None, description="SASL password: ${VARIABLE} or {file: path}.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the authority that signed the brokers."
    )

    @model_validator(mode="after")
    def _check_protocol(self) -> Security:
        errors: dict[Location, PydanticCustomError] = {}
        sasl = self.protocol.startswith("SASL")
        for key in ("mechanism", "username", "password"):
            if sasl and getattr(self, key) is None:
                errors[key,] = wrong(f"given, as {self.protocol} needs it", "nothing")
            elif not sasl and getattr(self, key) is not None:
                errors[key,] = wrong(f"left out, as {self.protocol} has no use for it", "a value")
        if self.ca_file and not self.protocol.endswith("SSL"):
            errors["ca_file",] = wrong(f"left out, as {self.protocol} has no use for it", "a value")
        if errors:
            raise wrong_at(errors)
        return self


class Kafka(Section):
    """The brokers that hold all topics of the job."""

    brokers: Brokers = Field(
        default="localhost:9092", description="host:port, or several with commas between."
    )
    create_topics: bool = Field(default=True, description="Create missing output topics.")
    security: Security | None = Field(default=None, description="Encryption and authentication.")
    properties: Annotated[dict[PropertyName, Property], _HIDDEN_IN_JSON] = Field(
        default_factory=dict, repr=False, description="Further properties of the Java Kafka clients."
    )


def _parse_use(value: object) -> str | int:
    if value in ("champion", "latest") or (
        isinstance(value, int) and not isinstance(value, bool) and value > 0
    ):
        return value
    raise wrong("champion, latest or a version number from 1", choices=("champion", "latest"))


_USE_SCHEMA = {"anyOf": [{"enum": ["champion", "latest"]}, {"type": "integer", "minimum": 1}]}


class Model(Section):
    """The model that scores, and what it is fed."""

    name: Annotated[
        str, matching(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,199}", "a model name of letters, digits, _ and -")
    ] = Field(description="Folder of the model in the registry.")
    registry: RegistryPlace = Field(
        default="models",
        validate_default=True,
        description="Folder of all models, relative to the job file, or a URI such as s3://bucket/models.",
    )
    use: Annotated[str | int, Parsed(_parse_use, _USE_SCHEMA)] = Field(
        default="champion", description="The released version, the latest one, or a version number."
    )
    refresh: PositiveDuration = Field(
        default="10s",
        validate_default=True,
        description="How old a worker's view of the release log may be, with use: champion.",
    )
    inputs: dict[Annotated[str, matching(r"[\s\S]{1,200}", "the name of a model input")], Reference] = Field(
        default_factory=dict, description="Model input: column, where the names differ."
    )
    threshold: Annotated[float, number(0, 1)] = Field(
        default=0.5, description="Score from which a binary model says yes."
    )
    require_signature: bool = Field(
        default=False, description="Use only versions that one of the trusted keys has signed."
    )
    trusted_keys: Annotated[tuple[PublicKey, ...], Field(strict=False)] = Field(
        default=(), description="Ed25519 public keys: paths of PEM files, PEM text, or base64 of 32 bytes."
    )
    pickle: Literal["allow", "refuse"] = Field(
        default="allow", description="Whether formats may be used whose loading runs code: joblib."
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Model:
        if self.require_signature and not self.trusted_keys:
            raise wrong_at({("trusted_keys",): wrong("given, as require_signature needs them", "none")})
        if self.trusted_keys and not self.require_signature:
            raise wrong_at({("require_signature",): wrong("true, as trusted_keys are given", "false")})
        return self


def _topic_field(suffix: str) -> Any:
    return Field(
        default="",
        validate_default=False,
        description=f"Topic to write; default: the job's name and .{suffix}.",
    )


class Predictions(Section):
    """Where predictions go, and which columns they carry."""

    topic: Topic = _topic_field("predictions")
    include: References = Field(default=(), description="Columns to write next to the prediction.")
    explain: Annotated[int, whole(0, 1000)] = Field(
        default=0, description="So many of the inputs that moved each score most are written with it."
    )
    pii_key: Secret | None = Field(
        default=None, description="Key for hashing personal data: ${VARIABLE} or {file: path}."
    )


class DeadLetters(Section):
    """Where records go that cannot be scored."""

    topic: Topic = _topic_field("dead-letters")


class Late(Section):
    """Where records go that came too late for their windows."""

    topic: Topic = _topic_field("late")


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
    flink: Annotated[dict[OptionName, Scalar], _HIDDEN_IN_JSON] = Field(
        default_factory=dict, repr=False, description="Any Flink option; stronger than all other settings."
    )


class JobSpec(Section):
    """A whole job file."""

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
    runtime: Runtime = Field(
        default_factory=Runtime, description="Parallelism, latency, delivery, checkpoints."
    )

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
