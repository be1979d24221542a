"""What is counted of a window's records and labels: integers, which add up to the same in any order.

Sums of losses are in units of 1e-12, of scores in those of 1e-9. Bins hold a count and a sum, so that a mean
within a bin is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple, TypeVar

import msgspec

from udfs.profile.counts import spanned
from udfs.rollout.losses import LossSum

#: Start of the window, version, and a segment's column and value, None for all records.
Key = tuple[int, int, str | None, str | None]
Row = tuple[int, ...]
#: Sums of scores are in billionths.
PARTS = 10**9
Name = TypeVar("Name", int, str)
Inner = TypeVar("Inner")


class Predicted(msgspec.Struct, frozen=True, array_like=True):
    """Predicted records of one kind of output.

    `bins` have (records, sum of the score) by the score's bin: of a probability, of the largest one of many
    classes, or any number. `called` are (records, sum of the score) of those that were predicted positive.
    `span` are the event times of the first and the last one. `blocks` have (records, predicted positive) by
    60th of the window, where anything is predicted positive.
    """

    kind: str
    rows: int = 0
    called: Row = (0, 0)
    bins: dict[int, Row] = {}
    span: tuple[int, int] | None = None
    blocks: dict[int, Row] = {}

    def merged(self, other: Predicted) -> Predicted:
        if self.kind != other.kind:
            return max(self, other, key=lambda counts: (counts.rows, counts.kind))
        return Predicted(
            self.kind,
            self.rows + other.rows,
            _plus(self.called, other.called),
            added(self.bins, other.bins),
            spanned(self.span, other.span),
            added(self.blocks, other.blocks),
        )


class Labelled(msgspec.Struct, frozen=True, array_like=True):
    """Records whose labels came. `rejected` labels were none of the model's classes, or no number.

    `decisions`: positive labels, positive predictions, and both; `right` predictions of a class. `loss` and
    `second` are log loss and Brier score, or squared and absolute error. `errors`: of predictions minus
    labels their sum, that of each times its size, and how many were not below 0.

    `bins` and `curve` have (records, positive labels, sum of the score), by the score's fine bin and by 15 of
    equal width. `classes` have (labels, right, predicted) by class; `slots` labels by class in each 60th of
    the window; `delays` records by the bin of the ms that a label took; `blocks` (records, loss, second,
    right) by slot, then `decisions`, or of regressions (sum of errors, not below 0); `ranks` those of `bins`
    but for the score, by slot and a few bins of it, or of regressions all; and `votes` those of `classes` by
    slot.
    """

    kind: str
    rows: int = 0
    rejected: int = 0
    decisions: Row = (0, 0, 0)
    right: int = 0
    loss: LossSum = LossSum()
    second: LossSum = LossSum()
    errors: Row = (0, 0, 0)
    bins: dict[int, Row] = {}
    curve: dict[int, Row] = {}
    classes: dict[str, Row] = {}
    slots: dict[int, dict[str, int]] = {}
    delays: dict[int, int] = {}
    blocks: dict[int, Row] = {}
    ranks: dict[int, dict[int, Row]] = {}
    votes: dict[int, dict[str, Row]] = {}

    def merged(self, other: Labelled) -> Labelled:
        if self.kind != other.kind:
            return max(self, other, key=lambda counts: (counts.rows, counts.kind))
        return Labelled(
            self.kind,
            self.rows + other.rows,
            self.rejected + other.rejected,
            _plus(self.decisions, other.decisions),
            self.right + other.right,
            self.loss.merged(other.loss),
            self.second.merged(other.second),
            _plus(self.errors, other.errors),
            added(self.bins, other.bins),
            added(self.curve, other.curve),
            added(self.classes, other.classes),
            _by_slot(self.slots, other.slots, _counts, {}),
            _counts(self.delays, other.delays),
            _by_slot(self.blocks, other.blocks, _longer, ()),
            _by_slot(self.ranks, other.ranks, added, {}),
            _by_slot(self.votes, other.votes, added, {}),
        )


class LabelsKey(NamedTuple):
    """Labels that came before `until`, about the records of `key`."""

    until: int
    key: Key


@dataclass
class QualityReport:
    """Predicted records by key, and labelled ones by when they are to be published.

    `partial`: of a window in which the input began or ended.
    """

    predicted: dict[Key, Predicted] = field(default_factory=dict)
    labelled: dict[LabelsKey, Labelled] = field(default_factory=dict)
    partial: bool = False

    def add_predicted(self, key: Key, counts: Predicted) -> None:
        known = self.predicted.get(key)
        self.predicted[key] = known.merged(counts) if known else counts

    def add_labelled(self, key: LabelsKey, counts: Labelled) -> None:
        known = self.labelled.get(key)
        self.labelled[key] = known.merged(counts) if known else counts

    def add(self, other: QualityReport) -> None:
        for key, predicted in other.predicted.items():
            self.add_predicted(key, predicted)
        for labels, labelled in other.labelled.items():
            self.add_labelled(labels, labelled)
        self.partial = self.partial or other.partial


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    predicted: list[tuple[Key, Predicted]]
    labelled: list[tuple[int, Key, Labelled]]
    partial: bool = False


_WIRE = msgspec.json.Decoder(_Wire)


def encode_report(report: QualityReport) -> bytes:
    """The same bytes for the same counts. JSON, as its integers have no end."""
    predicted = sorted(report.predicted.items(), key=lambda item: _order(item[0]))
    labelled = sorted(report.labelled.items(), key=lambda item: (item[0].until, _order(item[0].key)))
    pieces = [(at.until, at.key, counts) for at, counts in labelled]
    return msgspec.json.encode(_Wire(predicted, pieces, report.partial))


def decode_report(data: bytes) -> QualityReport:
    """What `encode_report` was given."""
    wire = _WIRE.decode(data)
    labelled = {LabelsKey(until, key): counts for until, key, counts in wire.labelled}
    return QualityReport(dict(wire.predicted), labelled, wire.partial)


def _order(key: Key) -> tuple[int, int, str, str]:
    start, version, column, value = key
    return start, version, column or "", value or ""


def _plus(one: Row, other: Row) -> Row:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def added(one: Mapping[Name, Row], other: Mapping[Name, Row]) -> dict[Name, Row]:
    """Rows added up by name, the names in order."""
    total = dict(one)
    for name, row in other.items():
        total[name] = _plus(total[name], row) if name in total else row
    return {name: total[name] for name in sorted(total)}


def _counts(one: Mapping[Name, int], other: Mapping[Name, int]) -> dict[Name, int]:
    total = dict(one)
    for name, count in other.items():
        total[name] = total.get(name, 0) + count
    return {name: total[name] for name in sorted(total)}


def _by_slot(
    one: Mapping[int, Inner],
    other: Mapping[int, Inner],
    merge: Callable[[Inner, Inner], Inner],
    empty: Inner,
) -> dict[int, Inner]:
    total = dict(one)
    for slot, inner in other.items():
        total[slot] = merge(total.get(slot, empty), inner)
    return dict(sorted(total.items()))


def _longer(one: Row, other: Row) -> Row:
    """Rows of an older release are shorter."""
    return tuple(map(sum, zip_longest(one, other, fillvalue=0)))
