"""Counts records whose labels came, in the window of the record's own event time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import add
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.quality.bins import CURVE_BINS, Ints, coarse, number_bins
from udfs.quality.counts import PARTS, Key, Labelled, LabelsKey, Name, QualityReport, Row, encode_report
from udfs.quality.params import LabelWait, QualityCount, published_at, slot_of
from udfs.quality.predicted import binned, bins_of
from udfs.rollout.losses import FINE, LossSum, ScoredRow, is_number, measured
from udfs.times import window_start

_SCORED = msgspec.json.Decoder(list[ScoredRow])


class _Row(NamedTuple):
    """One record with its label: whether each is positive, how far off, when."""

    score: float
    truth: bool
    called: bool
    right: bool
    loss: int
    second: int
    error: int
    label: str
    said: str
    slot: int
    delay_ms: int
    cell: int | None = None


@dataclass
class _Gathered:
    kind: str
    rows: list[_Row] = field(default_factory=list)
    rejected: int = 0


def count_quality(
    told: Sequence[bytes],
    labels: Sequence[bytes],
    first: npt.NDArray[np.bool_],
    told_at: Ints,
    label_time: Ints,
    count: QualityCount,
    wait: LabelWait,
) -> bytes | None:
    """The report of n records with their labels; rows that are not `first` repeat one, and do not count."""
    gathered: dict[LabelsKey, _Gathered] = {}
    for i in np.flatnonzero(first).tolist():
        live = _SCORED.decode(told[i])[0]
        at, came = int(told_at[i]), int(label_time[i])
        start = window_start(at, count.window_ms)
        row = _row(live, msgspec.json.decode(labels[i]), came - at, slot_of(at, start, count))
        until = published_at(start, came, count, wait)
        for key in _keys(start, live, count):
            found = gathered.setdefault(LabelsKey(until, key), _Gathered(live.kind))
            if row is None or found.kind != live.kind:
                found.rejected += 1
            else:
                found.rows.append(row)
    if not gathered:
        return None
    return encode_report(
        QualityReport(labelled={key: _labelled(key, found) for key, found in gathered.items()})
    )


def _keys(start: int, row: ScoredRow, count: QualityCount) -> list[Key]:
    """All records, and the slices that the job still has."""
    found: list[Key] = [(start, row.version, None, None)]
    slices = row.slices or {}
    return found + [
        (start, row.version, s.column, slices[s.column]) for s in count.slices if s.column in slices
    ]


def _row(scored: ScoredRow, label: object, delay_ms: int, slot: int) -> _Row | None:
    """None where the label is none of the model's, or the model gave no finite number."""
    if scored.kind == "anomaly":
        return _anomaly(scored, label, delay_ms, slot)
    loss = measured(scored, label)
    if loss is None:
        return None
    right, error = loss.right, 0
    if scored.kind == "regression":
        error = _error(scored.prediction, label)
    called = scored.kind == "binary" and scored.prediction == scored.classes[1]
    score = scored.score if scored.kind == "binary" else _largest(scored)
    texts = ("", "") if scored.kind == "regression" else (str(label), str(scored.prediction))
    return _Row(
        score or 0.0,
        loss.positive,
        called,
        right,
        loss.loss,
        loss.second,
        error,
        *texts,
        slot,
        delay_ms,
        scored.cell,
    )


def _error(prediction: object, label: object) -> int:
    far = 10**9
    error = float(prediction) - float(label)  # type: ignore[arg-type]
    return round(min(max(error, -far), far) * FINE)


def _largest(scored: ScoredRow) -> float:
    return max((p for p in (scored.probabilities or {}).values() if p is not None), default=0.0)


def _anomaly(scored: ScoredRow, label: object, delay_ms: int, slot: int) -> _Row | None:
    """What is strange is labelled true, or 1."""
    if label not in (False, True) or scored.score is None or not is_number(scored.score):
        return None
    truth, called = bool(label), bool(scored.prediction)
    texts = (str(truth), str(called))
    return _Row(scored.score, truth, called, truth == called, 0, 0, 0, *texts, slot, delay_ms)


def _labelled(key: LabelsKey, found: _Gathered) -> Labelled:
    rows, kind = found.rows, found.kind
    if not rows:
        return Labelled(kind, rejected=found.rejected)
    truth, called = (
        np.array(column, np.int64) for column in ([r.truth for r in rows], [r.called for r in rows])
    )
    classes = kind != "regression"
    return Labelled(
        kind=kind,
        rows=len(rows),
        rejected=found.rejected,
        decisions=(int(truth.sum()), int(called.sum()), int((truth * called).sum())),
        right=sum(row.right for row in rows),
        loss=_sum([row.loss for row in rows]),
        second=_sum([row.second for row in rows]),
        errors=_errors([row.error for row in rows]) if not classes else (0, 0, 0),
        bins=_by_score(kind, rows, truth) if classes else _by_cell(rows),
        curve=_curve(kind, rows, truth) if kind in ("binary", "multiclass") else {},
        classes=_by_class(rows) if kind == "multiclass" else {},
        slots=_by_slot(rows) if classes and key.key[2] is None else {},
        delays=_delays(rows),
        blocks=_blocks(kind, rows),
        ranks=_ranks(kind, rows, truth) if classes else _in_slots(_by_cell, rows),
        votes=_in_slots(_by_class, rows) if kind == "multiclass" else {},
    )


def _sum(values: Sequence[int]) -> LossSum:
    return LossSum(len(values), sum(values), sum(value * value // FINE for value in values))


def _errors(values: Sequence[int]) -> Row:
    return sum(values), sum(v * abs(v) // FINE for v in values), sum(v >= 0 for v in values)


def _by_score(kind: str, rows: Sequence[_Row], truth: Ints) -> dict[int, Row]:
    """Of many classes the largest probability, and whether its class was right."""
    scores = np.array([row.score for row in rows])
    outcome = _outcome(kind, rows, truth)
    units = np.rint(np.clip(scores, -100, 100) * PARTS).astype(np.int64)
    return binned(bins_of(kind, scores), np.ones_like(truth), outcome, units)


def _by_cell(rows: Sequence[_Row]) -> dict[int, Row]:
    """Of regressions: those records of which it is known how far off the version is."""
    cells = np.array([row.cell for row in rows if row.cell is not None], np.int64)
    nothing = np.zeros_like(cells)
    return binned(cells, np.ones_like(cells), nothing, nothing)


def _outcome(kind: str, rows: Sequence[_Row], truth: Ints) -> Ints:
    return truth if kind != "multiclass" else np.array([row.right for row in rows], np.int64)


def _curve(kind: str, rows: Sequence[_Row], truth: Ints) -> dict[int, Row]:
    scores, outcome = np.array([row.score for row in rows]), _outcome(kind, rows, truth)
    units = np.rint(scores * PARTS).astype(np.int64)
    places = np.clip((scores * CURVE_BINS).astype(np.int64), 0, CURVE_BINS - 1)
    return binned(places, np.ones_like(truth), outcome, units)


def _by_class(rows: Sequence[_Row]) -> dict[str, Row]:
    counts: dict[str, list[int]] = {}
    for row in rows:
        of_label = counts.setdefault(row.label, [0, 0, 0])
        of_label[0] += 1
        of_label[1] += row.right
        counts.setdefault(row.said, [0, 0, 0])[2] += 1
    return {name: tuple(counts[name]) for name in sorted(counts)}


def _by_slot(rows: Sequence[_Row]) -> dict[int, dict[str, int]]:
    slots: dict[int, dict[str, int]] = {}
    for row in sorted(rows, key=lambda row: (row.slot, row.label)):
        counts = slots.setdefault(row.slot, {})
        counts[row.label] = counts.get(row.label, 0) + 1
    return slots


def _in_slots(
    count: Callable[[Sequence[_Row]], dict[Name, Row]], rows: Sequence[_Row]
) -> dict[int, dict[Name, Row]]:
    slots: dict[int, list[_Row]] = {}
    for row in rows:
        slots.setdefault(row.slot, []).append(row)
    return {slot: counts for slot, of_slot in sorted(slots.items()) if (counts := count(of_slot))}


def _blocks(kind: str, rows: Sequence[_Row]) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for row in rows:
        counts = (1, row.loss, row.second, int(row.right), *_of_kind(kind, row))
        block = found.get(row.slot)
        found[row.slot] = counts if block is None else tuple(map(add, block, counts))
    return dict(sorted(found.items()))


def _of_kind(kind: str, row: _Row) -> Row:
    if kind == "multiclass":
        return ()
    if kind == "regression":
        return row.error, int(row.error >= 0)
    return int(row.truth), int(row.called), int(row.truth and row.called)


def _ranks(kind: str, rows: Sequence[_Row], truth: Ints) -> dict[int, dict[int, Row]]:
    bins, outcome = coarse(bins_of(kind, np.array([row.score for row in rows]))), _outcome(kind, rows, truth)
    slots = np.array([row.slot for row in rows])
    return {
        int(slot): binned(bins[slots == slot], np.ones_like(outcome[slots == slot]), outcome[slots == slot])
        for slot in np.unique(slots)
    }


def _delays(rows: Sequence[_Row]) -> dict[int, int]:
    bins = number_bins(np.array([max(row.delay_ms, 0) for row in rows], np.float64))
    return {number: row[0] for number, row in binned(bins, np.ones_like(bins)).items()}
