"""What is written to the drift and alert topics, as data: the interface, documented in docs/drift.md.

Numbers are finite or null. Times are ISO 8601 with milliseconds, UTC. Shares and probabilities are 0 to 1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.alerts.records import AlertRecord, Segment, WindowSpan
from udfs.profile.params import Compared, Role

Verdict = Literal["ok", "drift", "insufficient_data"]


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
    segments of the window. `reference_unseen` is the share of values that are expected to be `unseen`.
    `n_effective`: as how many independent rows those with a value count; null where that is not known.
    `ratio` is the factor by which the share of the bin or value changed that changed most surely.
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
    reference_unseen: float = 0.0
    n_effective: float | None = None
    ratio: float = 1.0
    min_ratio: float | None = None


class PairChange(msgspec.Struct, frozen=True):
    """The correlation of two columns, in the reference and now.

    With `cell` the share of the rows that are there, and what it would be had the columns of this window gone
    together as in the reference.
    """

    first: str
    second: str
    reference: float
    current: float
    cell: str | None = None

    def __str__(self) -> str:
        if self.cell is None:
            return f"{self.first} and {self.second}: {self.reference:.2f} → {self.current:.2f}"
        return f"{self.cell}: {self.reference:.3g} → {self.current:.3g} of the rows"


class JointReport(msgspec.Struct, frozen=True):
    """What no single column shows, by that of two tests which is the surer.

    `correlations`: how far those of numbers are from the reference's. `pairs`: the share of the rows that
    moved in the table of two columns, beyond what the columns' own shares explain.
    """

    n: int
    value: float
    threshold: float
    p: float
    q: float
    verdict: Verdict
    pairs: tuple[PairChange, ...]
    test: Literal["correlations", "pairs"] = "correlations"


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
    same hours of the week; or which records of before. A `partial` window is one in which the input began or
    ended; `learning` is one before which there are too few records to compare it with: neither is judged.
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
    partial: bool = False
    learning: bool = False


def named(column: str, direction: str) -> str:
    """The direction with the column's name in it, once."""
    return direction if direction.startswith(column) else f"{column}: {direction}"


def encode(record: DriftRecord | AlertRecord) -> bytes:
    """One line of JSON; the same bytes for the same record. Not-a-number and infinity become null."""
    return msgspec.json.encode(record)
