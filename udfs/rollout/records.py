"""What is written to the comparisons topic, as data: the interface, documented in docs/releases.md.

record = msgspec.json.decode(line, type=ComparisonRecord)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.drift.records import WindowSpan
from udfs.rollout.tally import Role

Outcome = Literal["pass", "fail", "wait"]


class VersionReport(msgspec.Struct, frozen=True):
    """One version in one role. `us_per_record` is the time of its model alone, in microseconds.

    `share` is its part of the records that champion and canary scored; a shadow's is null. `scores` counts
    the scores on 100 equal bins of [0, 1]; empty, with the quantiles null, where they are not probabilities.
    """

    version: int
    role: Role
    release: int
    records: int
    errors: int
    error_rate: float
    missed: int
    share: float | None
    us_per_record: float | None
    mean_score: float | None
    p10: float | None
    p50: float | None
    p90: float | None
    scores: tuple[int, ...]


class PairReport(msgspec.Struct, frozen=True):
    """A canary or shadow against the champion of the same window.

    On the same records, so for shadows only: `n` of them, the share with the same prediction, and the
    difference of the scores (other − champion). For both: `score_drift`, the Kolmogorov-Smirnov distance of
    the two distributions of scores, with its p; and how much higher error rate and time per record are.
    """

    version: int
    role: Role
    champion: int
    n: int
    agreement: float | None
    mean_difference: float | None
    mean_distance: float | None
    farthest: float | None
    score_drift: float | None
    score_drift_p: float | None
    error_rise: float
    latency_ratio: float | None


class GateReport(msgspec.Struct, frozen=True):
    """What the job's gate says of the version that may be promoted, and why."""

    version: int
    outcome: Outcome
    reasons: tuple[str, ...]


class ComparisonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All versions that scored in one window. `action` is what the job did about it by itself, or null."""

    schema: Literal["tailrace.comparison/1"] = "tailrace.comparison/1"
    job: str
    model: str
    window: WindowSpan
    versions: tuple[VersionReport, ...]
    pairs: tuple[PairReport, ...]
    gate: GateReport | None = None
    action: str | None = None
