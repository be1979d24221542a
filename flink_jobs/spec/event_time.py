"""Where records have their event time, and how late they may come: of sources, labels and tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.scalars import Duration, PositiveDuration, matching
from flink_jobs.spec.section import Section

Isolation = Literal["read_committed", "read_uncommitted"]


class EventTime(Section):
    """Where a record's event time is, and how far out of order records may come."""

    field: Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of a field of the record")] | None = (
        Field(
            default=None,
            description="Field of the record with the event time; default: the Kafka record's timestamp.",
        )
    )
    header: Annotated[str, matching(r"[!-~]{1,200}", "the name of a Kafka header")] | None = Field(
        default=None, description="Kafka header with the event time, as text."
    )
    unit: Literal["ms", "s", "us", "iso8601"] = Field(
        default="ms", description="How field or header is written."
    )
    out_of_order: Duration = Field(
        default="5s", validate_default=True, description="How much later than a newer record one may come."
    )
    idle: PositiveDuration = Field(
        default="30s", validate_default=True, description="A partition silent for so long holds nothing back."
    )
    max_ahead: Duration = Field(
        default="1h",
        validate_default=True,
        description="Event times further beyond the Kafka timestamp, or beyond now, are errors.",
    )

    @property
    def type(self) -> Literal["string", "long"]:
        """Of a field that `schema` does not name."""
        return "string" if self.unit == "iso8601" else "long"

    @model_validator(mode="after")
    def _check_origin(self) -> EventTime:
        if self.field and self.header:
            raise wrong_at({("header",): wrong("left out when field is given", describe(self.header))})
        if "unit" in self.model_fields_set and not (self.field or self.header):
            expected = "left out unless field or header is given"
            raise wrong_at({("unit",): wrong(expected, describe(self.unit))})
        return self
