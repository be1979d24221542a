"""What is written to the drift and alert topics, as data: the interface, documented in docs/drift.md.

record = msgspec.json.decode(line, type=DriftRecord)

Numbers are finite or null. Times are ISO 8601 with milliseconds, UTC. Shares and probabilities are 0 to 1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

Verdict = Literal["ok", "drift", "insufficient_data"]
Role = Literal["input", "feature", "prediction", "score"]
Closed = Literal["watermark", "idle", "early"]
Compared = Literal["all", "segment", "hour_of_week"]


class WindowSpan(msgspec.Struct, frozen=True):
    """[start, end) in event time, and what closed it; `early` is an interim result."""

    start: str
    end: str
    closed: Closed = "watermark"


class Segment(msgspec.Struct, frozen=True):
    """The records whose `column` has this value; `OTHER` stands for all values beyond the limit."""

    column: str
    value: str | None


class Volume(msgspec.Struct, frozen=True):
    """How many records of the window ended how.

    `duplicates` are predicted records whose key the window had before, null if not asked for; `key_sample` is
    1 if each key was looked at, else one in so many.
    """

    predicted: int
    dead: int = 0
    late: int = 0
    duplicates: int | None = None
    key_sample: int | None = None


class ProblemCount(msgspec.Struct, frozen=True):
    """Dead letters of one reason; `field` is the JSON path, where there is one."""

    stage: str
    reason: str
    field: str | None
    count: int


class Statistic(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value and the threshold in force at this n; the true value is in [value, upper] where that is set."""

    value: float
    threshold: float
    upper: float | None = None
    p: float | None = None
    fixed: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """Against the previous window of the same segment and version. `effect` is a share of the rows."""

    n: int
    effect: float
    p: float
    q: float
    verdict: Verdict


class Bins(msgspec.Struct, frozen=True):
    """The two distributions on at most 12 bins for display, as shares of the non-null rows."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


class ColumnReport(msgspec.Struct, frozen=True):
    """One column of one window.

    `effect` is the share of the rows that moved: the Kolmogorov-Smirnov distance of numbers, the total
    variation of categories, or the change of the null rate, whichever is the largest. `visible_effect` is the
    smallest effect that this n could have shown at the level. `q` is Benjamini-Hochberg over all columns and
    segments of the window.
    """

    name: str
    role: Role
    kind: Literal["numeric", "categorical"]
    n: int
    verdict: Verdict
    p: float
    q: float
    effect: float
    min_effect: float
    visible_effect: float
    direction: str
    null_rate: float
    reference_null_rate: float
    invalid: int
    below: int
    above: int
    other: int
    unseen: int
    unseen_examples: tuple[str, ...]
    mean: float | None
    reference_mean: float | None
    std: float | None
    reference_std: float | None
    quantiles: dict[str, float]
    reference_quantiles: dict[str, float]
    statistics: dict[str, Statistic]
    bins: Bins
    previous: Comparison | None = None


class PairChange(msgspec.Struct, frozen=True):
    """The correlation of two columns, in the reference and now."""

    first: str
    second: str
    reference: float
    current: float


class JointReport(msgspec.Struct, frozen=True):
    """How far the columns' correlations are from the reference's: what no single column shows."""

    n: int
    value: float
    threshold: float
    p: float
    q: float
    verdict: Verdict
    pairs: tuple[PairChange, ...]


class SequentialReport(msgspec.Struct, frozen=True):
    """Where the sequential detector stands at the end of the window: it signals above the threshold.

    `since` is when a change would have begun, and `open` whether one is known.
    """

    column: str
    value: float
    threshold: float
    direction: Literal["up", "down"] | None
    since: str | None
    open: bool


class DriftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One window of one segment and model version; `segment` is null for all records together.

    `reference` says which reference rows it is compared with: all, those of the same segment, or those of the
    same hours of the week.
    """

    schema: Literal["tailrace.drift/1"] = "tailrace.drift/1"
    job: str
    model: str
    version: int
    window: WindowSpan
    segment: Segment | None
    records: Volume
    problems: tuple[ProblemCount, ...]
    freshness_ms: float | None
    level: float
    verdict: Verdict
    drifted: tuple[str, ...]
    columns: tuple[ColumnReport, ...]
    joint: JointReport | None
    sequential: tuple[SequentialReport, ...] | None = None
    reference: Compared = "all"


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A change of state. `id` names the thing that one alert at a time can be open for.

    `impact` estimates the effect on the model: the column's importance × its effect, 0 to 1. `rank` orders
    the alerts that one window changed, 1 first. `window` is the window that changed the state; its drift
    record is found by job, version, segment and start. `at` is the event time of a change that is
    known before the window ends.
    """

    schema: Literal["tailrace.alert/1"] = "tailrace.alert/1"
    job: str
    id: str
    rule: str
    state: Literal["firing", "resolved"]
    severity: Literal["info", "warning", "critical"]
    model: str
    version: int
    segment: Segment | None
    column: str | None
    statistic: str
    value: float
    threshold: float
    message: str
    window: WindowSpan
    since: str
    windows_bad: int
    windows_seen: int
    impact: float
    rank: int
    examples: tuple[str, ...]
    at: str | None = None


def iso(ms: int) -> str:
    """2013-07-01T06:00:00.000Z"""
    text = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03}Z"


def named(column: str, direction: str) -> str:
    """The direction with the column's name in it, once."""
    return direction if direction.startswith(column) else f"{column}: {direction}"


def encode(record: DriftRecord | AlertRecord) -> bytes:
    """One line of JSON; the same bytes for the same record. Not-a-number and infinity become null."""
    return msgspec.json.encode(record)
