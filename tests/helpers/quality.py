"""Scored rows with labels, and the comparisons that come of them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from udfs.alerts.records import WindowSpan
from udfs.rollout.compare import compare_window
from udfs.rollout.events import Role
from udfs.rollout.gate import Evidence
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelCounts, LabelSums
from udfs.rollout.losses import Quality, RecordLoss, ScoredRow, measured, quality_of
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import VersionCounts

SPAN = WindowSpan("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z")
DRAW = np.random.default_rng(11)
N = 2000
TRUTH = DRAW.random(N) < 0.3
SCORES = np.clip(DRAW.beta(2, 4, N) + 0.25 * TRUTH, 0.001, 0.999)


def binary(score: float, role: Role = "champion", version: int = 1) -> ScoredRow:
    return ScoredRow(version, role, 1, "binary", (False, True), score >= 0.5, score)


def regression(value: float | None) -> ScoredRow:
    return ScoredRow(1, "champion", 1, "regression", (), value)


def rows(scored: list[ScoredRow], labels: list[object]) -> list[RecordLoss]:
    found = [measured(one, label) for one, label in zip(scored, labels, strict=True)]
    assert None not in found
    return [row for row in found if row]


def of_scores(scores: NDArray[np.float64], truth: NDArray[np.bool_] = TRUTH) -> Quality:
    return quality_of(rows([binary(s) for s in scores.tolist()], truth.tolist()))


@cache
def of_champion() -> Quality:
    return of_scores(SCORES)


def of_shadow(shift: float) -> tuple[Quality, Quality]:
    champion = rows([binary(s) for s in SCORES.tolist()], TRUTH.tolist())
    other = rows([binary(s) for s in np.clip(SCORES + shift, 0, 0.999).tolist()], TRUTH.tolist())
    beside = [(o.loss, c.loss) for o, c in zip(other, champion, strict=True)]
    return quality_of(other, beside), quality_of(champion)


def compared(shift: float, n: int = N, role: Role = "canary", records: int = 2000) -> ComparisonRecord:
    return evidence(shift, n, role, records).window


def evidence(shift: float, n: int = N, role: Role = "canary", records: int = 2000) -> Evidence:
    """Of one window, the first."""
    own, champion = (
        of_shadow(shift)
        if role == "shadow"
        else (of_scores(np.clip(SCORES + shift, 0.001, 0.999)[:n], TRUTH[:n]), of_champion())
    )
    return of_qualities(own, champion, role, LabelCounts(2 * n + 5, 5, 2 * n), records)


def of_qualities(
    own: Quality, champion: Quality, role: Role, label_counts: LabelCounts, records: int = 2000
) -> Evidence:
    counts: dict[tuple[int, int, Role, int], VersionCounts] = {
        (0, 1, "champion", 3): VersionCounts(records),
        (0, 2, role, 3): VersionCounts(records),
    }
    labels = LabelSums({(0, 1, "champion", 3): champion, (0, 2, role, 3): own}, {0: label_counts})
    record = compare_window("payments", "fraud", SPAN, counts, labels)
    return Evidence(record, record, labelled=labelled(labels, 2, role, 1, 2))


def of_numbers() -> Evidence:
    truth = DRAW.normal(0, 5, 200).tolist()
    own = quality_of(rows([regression(v + 3) for v in truth], truth))
    champion = quality_of(rows([regression(v + 2) for v in truth], truth))
    return of_qualities(own, champion, "canary", LabelCounts(400, 0, 400))
