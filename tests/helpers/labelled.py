"""Predictions with the labels that came for them, and the counts that workers make of these."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from udfs.quality.counts import Labelled, QualityReport, decode_report, encode_report
from udfs.quality.labelled import count_quality
from udfs.quality.params import LabelWait, QualityCount
from udfs.rollout.losses import ScoredRow

HOUR = 3_600_000
T0 = 1_767_225_600_000
COUNT, WAIT = QualityCount(HOUR), LabelWait(24 * HOUR, HOUR)
CLASSES = ("car", "foot", "train")
Rows = Sequence[tuple[ScoredRow, object]]

_DRAW = np.random.default_rng(17)
N = 3_000


def binary(score: float, prediction: bool | None = None) -> ScoredRow:
    said = score >= 0.4 if prediction is None else prediction
    return ScoredRow(1, "champion", 1, "binary", (False, True), said, score)


def _binary() -> Rows:
    truth = _DRAW.random(N) < 0.3
    scores = np.clip(_DRAW.beta(2, 4, N) + 0.2 * truth, 0.001, 0.999)
    return [(binary(s), y) for s, y in zip(scores.tolist(), truth.tolist(), strict=True)]


def _many() -> Rows:
    chances = _DRAW.dirichlet([1.0, 2.0, 3.0], N)
    rows = []
    for p in chances.tolist():
        label = str(_DRAW.choice(CLASSES, p=p))
        said = CLASSES[int(np.argmax(p))]
        named = dict(zip(CLASSES, p, strict=True))
        rows.append((ScoredRow(1, "champion", 1, "multiclass", CLASSES, said, None, named), label))
    return rows


def _numbers() -> Rows:
    truth = _DRAW.gamma(2, 100, N)
    said = truth * 0.9 + _DRAW.normal(20, 30, N)
    return [
        (ScoredRow(1, "champion", 1, "regression", (), s), y)
        for s, y in zip(said.tolist(), truth.tolist(), strict=True)
    ]


def _anomalies() -> Rows:
    truth = _DRAW.random(N) < 0.05
    scores = _DRAW.normal(0, 10, N) + 15 * truth
    return [
        (ScoredRow(1, "champion", 1, "anomaly", (), s > 12, s), y)
        for s, y in zip(scores.tolist(), truth.tolist(), strict=True)
    ]


BINARY, MANY, NUMBERS, ANOMALIES = _binary(), _many(), _numbers(), _anomalies()


def report_of(
    rows: Rows,
    times: np.ndarray | None = None,  # type: ignore[type-arg]
    delays: Sequence[int] | None = None,
    count: QualityCount = COUNT,
) -> QualityReport:
    """As a worker counts it; records of one window, labels an hour later."""
    at = T0 + (np.zeros(len(rows), np.int64) if times is None else np.asarray(times, np.int64))
    late = np.full(len(rows), HOUR) if delays is None else np.asarray(delays[: len(rows)], np.int64)
    data = count_quality(
        [msgspec.json.encode([row]) for row, _ in rows],
        [msgspec.json.encode(label) for _, label in rows],
        np.ones(len(rows), np.bool_),
        at,
        at + late,
        count,
        WAIT,
    )
    return decode_report(data or b"")


def counted(
    rows: Rows,
    *,
    scores: Sequence[float] | None = None,
    times: np.ndarray | None = None,  # type: ignore[type-arg]
    delays: Sequence[int] | None = None,
) -> Labelled:
    """All labels of all records together."""
    if scores is not None:
        rows = [(msgspec.structs.replace(row, score=s), y) for (row, y), s in zip(rows, scores, strict=True)]
    report = report_of(rows, times, delays)
    total: Labelled | None = None
    for labelled in report.labelled.values():
        total = total.merged(labelled) if total else labelled
    assert total is not None
    return total


def counts_in_parts(rows: Rows, parts: int) -> bytes:
    """The bytes of counts that workers made of a part each, added up in another order."""
    order = np.random.default_rng(parts).permutation(len(rows))
    total = QualityReport()
    times = np.arange(len(rows)) * 1_000
    for places in np.array_split(order, parts)[::-1]:
        total.add(report_of([rows[i] for i in places], times[places]))
    return encode_report(total)
