"""The sections of a job file for what it always writes: `predictions`, `dead_letters`, `late`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flink_jobs.spec.contract import HeaderName
from flink_jobs.spec.paths import Secret
from flink_jobs.spec.scalars import Share, Size, whole
from flink_jobs.spec.schema_registry import SchemaRegistry
from flink_jobs.spec.section import References, Section, Topic
from udfs.records.personal import RecordTreatment


def _topic_field(suffix: str) -> Any:
    return Field(
        default="",
        validate_default=False,
        description=f"Topic to write; default: the job's name and .{suffix}.",
    )


def _records_field() -> Any:
    return Field(
        default=None,
        description="The original bytes in jobs with personal data: dropped, encrypted, or kept as they are; "
        "default: dropped with personal data, else kept.",
    )


class Predictions(Section):
    """Where predictions go, and which columns they carry."""

    topic: Topic = _topic_field("predictions")
    include: References = Field(default=(), description="Columns to write next to the prediction.")
    headers: Annotated[tuple[HeaderName, ...], Field(max_length=8, strict=False)] = Field(
        default=(), description="Headers of the record that its prediction gets, such as traceparent."
    )
    explain: Annotated[int, whole(0, 1000)] = Field(
        default=0, description="So many of the inputs that moved each score most are written with it."
    )
    max_bytes: Size = Field(
        default="900 KB", validate_default=True, description="Larger predictions are dead letters."
    )
    format: Literal["json", "avro", "protobuf", "json_schema"] = Field(
        default="json", description="How predictions are written."
    )
    schema_registry: SchemaRegistry | None = Field(
        default=None, description="For all but json: where their schema is; default: the source's."
    )
    register_schema: bool = Field(
        default=True, description="For all but json: register the schema at the start; else it must be there."
    )
    pii_key: Secret | None = Field(
        default=None,
        description="Key for hashing personal data, of at least 16 bytes: ${VARIABLE} or {file: path}.",
    )


class DeadLetters(Section):
    """Where records go that cannot be scored, and how many may."""

    topic: Topic = _topic_field("dead-letters")
    pii: RecordTreatment | None = _records_field()
    max_rate: Share | None = Field(
        default=None, description="Share of the records that may become dead letters; default: no limit."
    )
    then: Literal["alert", "stop"] = Field(
        default="alert", description="Beyond it: the drift alert dead-letters, per window, or the job stops."
    )
    over: Annotated[int, whole(30, 10_000_000)] = Field(
        default=1000, description="With stop: the share is that of so many records of an instance."
    )


class Accounting(Section):
    """Where the job accounts for what it has read, by partition and offset range."""

    topic: Topic = _topic_field("accounts")


class Late(Section):
    """Where records go that came too late for their windows."""

    topic: Topic = _topic_field("late")
    pii: RecordTreatment | None = _records_field()
