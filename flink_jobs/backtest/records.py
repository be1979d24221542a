"""What a backtest found, as data: the JSON of `tailrace backtest --json`, schema `tailrace.backtest/1`.

    encode(found), msgspec.json.decode(text, type=Backtest)

A and B are the two versions; each difference is B minus A. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from udfs.model.manifest import OutputKind

Side = Literal["a", "b"]


class Estimate(msgspec.Struct, frozen=True):
    """A value with its confidence interval; null where it is not defined or there are too few rows."""

    value: float | None
    low: float | None = None
    high: float | None = None


class MetricComparison(msgspec.Struct, frozen=True):
    """One metric of both versions; `better` says which one it is for, null when that is not sure."""

    name: str
    a: Estimate
    b: Estimate
    difference: Estimate
    better: Side | None = None


class Move(msgspec.Struct, frozen=True):
    """How many rows have this prediction in A and that one in B."""

    a: Any
    b: Any
    rows: int


class Differences(msgspec.Struct, frozen=True):
    """How far the predictions of the two versions are apart, over the rows that both scored.

    `changed`: share of other predictions. `mean`, `mean_absolute`, `largest` and `quantiles` ("p1" to "p99")
    are of B's score minus A's; for a multiclass model, of the largest change of any class's probability.
    """

    changed: float | None
    mean: float | None
    mean_absolute: float | None
    largest: float | None
    quantiles: dict[str, float] = {}
    moves: tuple[Move, ...] = ()


class Slice(msgspec.Struct, frozen=True):
    """Some of the rows: all, those of a window (`start` to `end`), or of a segment (`value`, null: missing).

    `labelled` of the `rows` have a label; `label_mean` is the share of positive ones, or the mean. There are
    no metrics without labels.
    """

    rows: int
    labelled: int
    label_mean: float | None
    score_mean_a: float | None
    score_mean_b: float | None
    differences: Differences
    metrics: tuple[MetricComparison, ...] = ()
    start: str | None = None
    end: str | None = None
    value: str | None = None


class Segments(msgspec.Struct, frozen=True):
    """The rows by a column's value, the largest first; `others` is how many values share the last slice."""

    column: str
    slices: tuple[Slice, ...]
    others: int = 0


class DeadCount(msgspec.Struct, frozen=True):
    """Dead letters of one kind."""

    stage: str
    reason: str
    count: int


class VersionRun(msgspec.Struct, frozen=True):
    """A version, and what became of the records with it; `predicted` are rows, records or windows."""

    model: str
    version: int
    digest: str
    predicted: int
    late: int
    dead: tuple[DeadCount, ...] = ()


class ChangedRow(msgspec.Struct, frozen=True):
    """A row that the versions differ about; `row` counts the input's records from 0, null for windows."""

    row: int | None
    event_time: str
    change: float
    prediction_a: Any
    prediction_b: Any
    score_a: float
    score_b: float
    label: Any = None
    columns: dict[str, Any] = {}


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison."""

    schema: Literal["tailrace.backtest/1"] = "tailrace.backtest/1"
    job: str
    input: str
    read: int
    kind: OutputKind
    scored: Literal["per_event", "per_window"]
    label: str | None
    a: VersionRun
    b: VersionRun
    window: str
    block: str
    level: float
    resamples: int
    seed: int
    total: Slice
    windows: tuple[Slice, ...]
    segments: Segments | None = None
    changed: tuple[ChangedRow, ...] = ()


def encode(found: Backtest) -> bytes:
    """Indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
