"""The `shadows` and `comparisons` sections of a job file: versions beside each other."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic_core import PydanticCustomError

from flink_jobs.spec.diagnostics import wrong
from flink_jobs.spec.event_time import EventTime, Isolation
from flink_jobs.spec.scalars import (
    SHARE_SCHEMA,
    Parsed,
    PositiveDuration,
    Share,
    matching,
    number,
    parse_share,
    whole,
)
from flink_jobs.spec.section import Reference, Section, Topic

_CONFIDENCE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0.5, "maximum": 0.9999},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
    ]
}


def _parse_confidence(value: object) -> float:
    try:
        confidence = parse_share(value)
    except PydanticCustomError:
        confidence = 0.0
    if not 0.5 <= confidence <= 0.9999:
        raise wrong("a number from 0.5 to 0.9999, or per cent such as 99%", repr(value))
    return confidence


def _parse_steps(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise wrong("a list of ascending shares, such as [1%, 10%, 50%, 100%]", repr(value))
    steps = tuple(parse_share(item) for item in value)
    if list(steps) != sorted(set(steps)) or steps[0] <= 0:
        raise wrong("ascending shares above 0, such as [1%, 10%, 50%, 100%]", repr(value))
    return steps


Steps = Annotated[
    tuple[float, ...], Parsed(_parse_steps, {"type": "array", "items": SHARE_SCHEMA, "minItems": 1})
]


class Shadows(Section):
    """Where the predictions of shadow versions go."""

    topic: Topic = Field(
        default="",
        validate_default=False,
        description="Topic to write; default: the job's name and .shadows.",
    )
    timeout: PositiveDuration = Field(
        default="1s", validate_default=True, description="How long a batch waits for a shadow, at most."
    )


class GateRules(Section):
    """What a version must keep to, beside the champion of the same time."""

    records: Annotated[int, whole(1, 10**9)] = Field(
        default=1_000, description="Predicted records under a release before it can pass."
    )
    errors: Share | None = Field(default=0.01, description="How much higher its error rate may be.")
    latency: Annotated[float, number(0, 1e6)] | None = Field(
        default=3.0, description="Its time per record to the champion's, at most."
    )
    disagreement: Share | None = Field(
        default=None, description="Share of other predictions on the same records (shadows)."
    )
    difference: Annotated[float, number(0, 1e12)] | None = Field(
        default=None, description="Mean distance of scores on the same records (shadows)."
    )
    drift: Share | None = Field(
        default=0.1, description="Kolmogorov-Smirnov distance of its scores from the champion's."
    )
    quality: Share | None = Field(
        default=0.05,
        description="It passes when its loss is shown to be higher by less than this part of the champion's "
        "(with comparisons.labels).",
    )
    labels: Annotated[int, whole(2, 10**9)] = Field(
        default=500, description="Records with labels before it can pass (with comparisons.labels)."
    )
    confidence: Annotated[float, Parsed(_parse_confidence, _CONFIDENCE_SCHEMA)] = Field(
        default=0.99,
        description="1 − the share of equal versions that fail, and of those worse than allowed that pass, "
        "in however many windows.",
    )


LabelField = Annotated[str, matching(r"[\s\S]{1,200}", "the name of a field of the label's record")]


class Labels(Section):
    """What became true, in a topic of its own: JSON records that come late, and some never."""

    topic: Topic = Field(description="Kafka topic to read.")
    on: Reference = Field(description="Column of the job by which a label finds its record.")
    key: LabelField | None = Field(
        default=None, description="The same in the label's record; default: under the same name."
    )
    field: LabelField = Field(description="Field of the label's record that holds the label.")
    wait: PositiveDuration = Field(description="How long after its record's event time a label may come.")
    isolation: Isolation = Field(
        default="read_committed", description="Whether records of aborted or open transactions are read, too."
    )
    event_time: EventTime = Field(
        default_factory=EventTime, description="When a label came; as in source.event_time."
    )


class AutomaticSteps(Section):
    """A canary that goes on, or back, by itself."""

    steps: Steps = Field(
        default=["1%", "10%", "50%", "100%"], validate_default=True, description="Shares of the canary."
    )
    windows: Annotated[int, whole(1, 1000)] = Field(
        default=2, description="Windows in a row that must pass the gate at each step."
    )


class Comparisons(Section):
    """Comparing the versions that score at the same time."""

    topic: Topic = Field(
        default="",
        validate_default=False,
        description="Topic to write; default: the job's name and .comparisons.",
    )
    window: PositiveDuration = Field(
        default="5m", validate_default=True, description="Length of the windows, in event time."
    )
    idle: PositiveDuration = Field(
        default="1m", validate_default=True, description="Silence, on the clock, after which windows close."
    )
    gate: GateRules = Field(
        default_factory=GateRules, description="What the gate asks of a canary or shadow."
    )
    labels: Labels | None = Field(
        default=None, description="Topic with what became true; left out: versions are compared without."
    )
    automatic: AutomaticSteps | None = Field(
        default=None, description="Let the job advance or roll back a canary; left out: people do."
    )
