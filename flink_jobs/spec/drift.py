"""The `drift` and `alerts` sections of a job file."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import Secret, SecretAddress, SecretHeader
from flink_jobs.spec.scalars import Parsed, PositiveDuration, matching, number, parse_duration, whole
from flink_jobs.spec.section import References, Section, Topic
from udfs.alerts.records import Severity
from udfs.alerts.shapes import Format
from udfs.drift.alert_rules import Subject

_MIN_RATIO = 1.5
_REFERENCE = r"training|(trailing|year_ago) [0-9]{1,12}(ms|s|m|h|d)"

StatisticName = Literal[
    "psi",
    "jensen_shannon",
    "hellinger",
    "ks",
    "wasserstein",
    "chi2",
    "l_infinity",
    "mean",
    "missing",
    "unseen",
]


def _unique(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, str) and re.fullmatch(_COLUMN, value)):
        return value
    raise wrong("true, false or the name of a column")


_COLUMN = r"[^\s(),]{1,200}"
UNIQUE = Parsed(_unique, {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^{_COLUMN}$"}]})


def _reference(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_REFERENCE, value):
        raise wrong("training, or trailing or year_ago with a duration, such as trailing 28d")
    if value != "training":
        parse_duration(value.split()[1])
    return value


REFERENCE = Parsed(_reference, {"type": "string", "pattern": f"^({_REFERENCE})$"})


class Sequential(Section):
    """Alerts within a window: a detector that adds up small steps of event time."""

    columns: References = Field(
        default=(), description="Model inputs, score or prediction; default: the score, else the prediction."
    )
    run_length: PositiveDuration = Field(
        default="720h",
        validate_default=True,
        description="Expected time to a false alert, of all the columns together.",
    )
    step: PositiveDuration | None = Field(
        default=None,
        description="Event time of a step; the window must be a multiple of it; default: a 12th.",
    )


class Drift(Section):
    """Comparing each window with the model's reference profile."""

    topic: Topic = Field(
        default="",
        validate_default=False,
        description="Topic to write; default: the job's name and .drift.",
    )
    window: PositiveDuration = Field(
        default="1h", validate_default=True, description="Length of the windows, in event time."
    )
    segments: References = Field(
        default=(), description="Columns whose values are watched one by one, beside all together."
    )
    max_segments: Annotated[int, whole(1, 1000)] = Field(
        default=50, description="Values of a segment column that are watched; the others are OTHER."
    )
    columns: References = Field(
        default=(), description="Model inputs to watch; default: all that the reference has."
    )
    level: Annotated[float, number(1e-6, 0.5)] = Field(
        default=0.01, description="Share of windows without drift that may be called drift."
    )
    min_effect: Annotated[float, number(0, 1)] = Field(
        default=0.02, description="Share of the rows that must have moved, however sure it is …"
    )
    min_ratio: Annotated[float, number(1, 1e6)] | None = Field(
        default=None,
        description="… or the factor by which a rare value's share must have changed; default: 1.5, but none"
        " where `min_effect` is given.",
    )
    min_effects: dict[str, Annotated[float, number(0, 1)]] = Field(
        default_factory=dict,
        description="Column: the share of its rows that must have moved, in place of both.",
    )
    thresholds: dict[str, dict[StatisticName, Annotated[float, number(0, 1e12)]]] = Field(
        default_factory=dict,
        description="Column: statistic: the value from which that column drifts, in place of the test.",
    )
    idle: PositiveDuration = Field(
        default="5m", validate_default=True, description="Silence, on the clock, after which windows close."
    )
    seasonal: Literal["hour_of_week"] | None = Field(
        default=None, description="Compare with the reference rows of the same hours of the week."
    )
    reference: Annotated[str, REFERENCE] = Field(
        default="training",
        description="What windows are compared with: training, trailing 28d (what the job saw in that"
        " time), or year_ago 28d (so much about the same day 52 weeks before).",
    )
    duplicates: Annotated[bool | str, UNIQUE] = Field(
        default=False, description="Count repeated keys: true for those of the records, or a column."
    )
    sequential: Sequential | None = Field(default=None, description="Alerts before the window ends.")
    early: PositiveDuration | None = Field(
        default=None, description="Time on the clock between interim results of open windows."
    )

    @property
    def least_ratio(self) -> float | None:
        """Who says what share of the rows matters means that share, unless they ask for the ratio too."""
        given = self.model_fields_set
        return self.min_ratio if given & {"min_effect", "min_ratio"} else _MIN_RATIO


class AlertRule(Section):
    """When an alert fires, and when it is over."""

    on: Subject = Field(description="What is watched.")
    columns: References = Field(default=(), description="Columns; default: all.")
    statistic: Annotated[str, matching(r"[a-z0-9_]{1,40}", "the name of a statistic")] = Field(
        default="effect", description="The value that is compared with above."
    )
    above: Annotated[float, number(0, 1e12)] | None = Field(
        default=None, description="Value from which a window is bad; default: the verdict decides."
    )
    segments: bool = Field(default=False, description="Alerts of each segment too, not only of all records.")
    severity: Severity = Field(default="warning", description="How bad it is.")
    bad: Annotated[int, whole(1, 100)] = Field(default=2, description="Bad windows that fire the alert …")
    of: Annotated[int, whole(1, 100)] = Field(default=3, description="… among the last so many.")
    resolve_after: Annotated[int, whole(1, 100)] = Field(
        default=2, description="Quiet windows in a row that end it."
    )
    cooldown: PositiveDuration | None = Field(
        default=None, description="Event time after its end in which it does not fire again."
    )

    @model_validator(mode="after")
    def _check_windows(self) -> AlertRule:
        if self.bad > self.of:
            raise wrong_at({("bad",): wrong(f"at most of ({self.of})", str(self.bad))})
        return self


def _address(value: SecretAddress) -> SecretAddress:
    """Its text is not shown in errors."""
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong("an address that begins with http:// or https://", "another text (not shown)")
    return value


class Webhook(Section):
    """A web address that is told of incidents."""

    url: Annotated[SecretAddress, AfterValidator(_address)] = Field(
        description="Address, http:// or https://, as ${VARIABLE} or {file: path}."
    )
    headers: dict[Annotated[str, matching(r"[A-Za-z0-9-]{1,100}", "the name of a header")], SecretHeader] = (
        Field(default_factory=dict, description="Header: value, as ${VARIABLE} or {file: path}.")
    )
    timeout: PositiveDuration = Field(
        default="10s", validate_default=True, description="How long an answer may take."
    )
    retries: Annotated[int, whole(0, 20)] = Field(
        default=5, description="Further attempts, after 1, 2, 4, … and at most 60 seconds."
    )
    format: Format = Field(
        default="incident",
        description="Body: incidents or alerts as JSON, or what Slack, PagerDuty or Alertmanager take.",
    )
    routing_key: Secret | None = Field(
        default=None, description="PagerDuty's integration key, as ${VARIABLE} or {file: path}."
    )
    runbook_url: Annotated[str, matching(r"https?://[^\s<>|\"]{1,1000}", "an address")] | None = Field(
        default=None, description="Where people read what to do; linked in each notification."
    )

    @model_validator(mode="after")
    def _check_key(self) -> Webhook:
        if self.format == "pagerduty" and self.routing_key is None:
            raise wrong_at({("routing_key",): wrong("given with format: pagerduty")})
        return self


class Alerts(Section):
    """What becomes of drift."""

    topic: Topic = Field(
        default="",
        validate_default=False,
        description="Topic to write; default: the job's name and .alerts.",
    )
    rules: dict[Annotated[str, matching(r"[a-z0-9_-]{1,60}", "a name of a-z, 0-9, _ and -")], AlertRule] = (
        Field(default_factory=dict, description="Name: rule; default: Tailrace's own rules.")
    )
    webhook: Webhook | None = Field(default=None, description="A web address that is told of incidents.")
