"""Counts predicted records in the workers that score, per window and segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.quality.bins import Floats, Ints, number_bins, probability_bins
from udfs.quality.counts import PARTS, Key, Predicted, QualityReport, Row
from udfs.quality.params import QualityCount, slot_of
from udfs.times import window_start

OTHER = "OTHER"
# The leaf of a regression's losses that a record is in, beside its scores.
CELL = "cell"
# A sum of so large numbers in units still fits in 64 bits for a batch.
_LARGEST = 100.0


class QualityCounter:
    """Gathers one batch after the other."""

    def __init__(self, params: QualityCount) -> None:
        self._params = params
        self._values = {s.column: pa.array(s.values, pa.string()) for s in params.slices}
        self._report = QualityReport()

    @property
    def columns(self) -> tuple[str, ...]:
        """The job's columns that rows are told apart by."""
        return tuple(self._values)

    def slices_of(self, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """Each slice's value per row as text: one that is known, or OTHER."""
        return {name: _known(columns[name], values) for name, values in self._values.items()}

    def predicted(
        self,
        version: int,
        output: tuple[str, Sequence[object]],
        scores: Mapping[str, pa.Array],
        slices: Mapping[str, pa.Array],
        event_time: Ints,
    ) -> None:
        """Counts n rows of a version whose output is of this kind, with these classes.

        `scores` has `CELL` where it is known how far off the version is of such records.
        """
        kind, classes = output
        values, called = score_of(kind, classes, scores)
        bins = bins_of(kind, values)
        cells = scores[CELL].to_numpy() if CELL in scores else None
        units = np.rint(np.clip(values, -_LARGEST, _LARGEST) * PARTS).astype(np.int64)
        starts = window_start(event_time, self._params.window_ms)
        for start in np.unique(starts).tolist():
            of_window = starts == start
            for column, value, chosen in _parts(slices, of_window):
                key: Key = (start, version, column, value)
                counts = _counted(kind, bins[chosen], units[chosen], called[chosen])
                if kind in ("binary", "anomaly"):
                    slots = slot_of(event_time[chosen], int(start), self._params)
                    counts = msgspec.structs.replace(counts, blocks=_blocks(slots, called[chosen]))
                if column is None:
                    counts = _spanned(counts, event_time[chosen])
                if cells is not None:
                    counts = msgspec.structs.replace(counts, bins=_by_cell(cells[chosen]))
                self._report.add_predicted(key, counts)

    def take_report(self) -> QualityReport:
        """All since the last call."""
        report, self._report = self._report, QualityReport()
        return report


def _known(column: pa.Array, values: pa.Array) -> pa.Array:
    text = column.cast(pa.string())
    return pc.if_else(pc.is_in(text, value_set=values), text, pa.scalar(OTHER))


def _parts(
    slices: Mapping[str, pa.Array], of_window: npt.NDArray[np.bool_]
) -> Iterator[tuple[str | None, str | None, npt.NDArray[np.intp]]]:
    """All rows of a window, then those of each value."""
    yield None, None, np.flatnonzero(of_window)
    for column, texts in slices.items():
        coded = texts.dictionary_encode()
        codes = np.where(of_window, coded.indices.to_numpy(zero_copy_only=False), -1)
        for code, value in enumerate(coded.dictionary.to_pylist()):
            rows = np.flatnonzero(codes == code)
            if len(rows):
                yield column, value, rows


def score_of(
    kind: str, classes: Sequence[object], scores: Mapping[str, pa.Array]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """One number a row, and which rows were predicted positive."""
    prediction = scores["prediction"]
    nobody = np.zeros(len(prediction), dtype=np.bool_)
    if kind == "multiclass":
        columns = [c.to_numpy(zero_copy_only=False) for c in scores["probabilities"].flatten()]
        return np.max(columns, axis=0), nobody
    if kind == "regression":
        return _floats(prediction), nobody
    positive = pa.scalar(True if kind == "anomaly" else classes[1])
    called = pc.equal(prediction, positive.cast(prediction.type)).to_numpy(zero_copy_only=False)
    return _floats(scores["score"]), called


def _floats(column: pa.Array) -> Floats:
    found: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.nan_to_num(found)


def bins_of(kind: str, values: Floats) -> Ints:
    """Fine bins, by what the numbers are."""
    return probability_bins(values) if kind in ("binary", "multiclass") else number_bins(values)


def _counted(kind: str, bins: Ints, units: Ints, called: npt.NDArray[np.bool_]) -> Predicted:
    by_bin = {} if kind == "regression" else binned(bins, np.ones_like(units), units)
    return Predicted(kind, len(bins), (int(called.sum()), int(units[called].sum())), by_bin)


def _by_cell(cells: Ints) -> dict[int, Row]:
    return binned(cells, np.ones_like(cells), np.zeros_like(cells))


def _blocks(slots: Ints, called: npt.NDArray[np.bool_]) -> dict[int, Row]:
    return binned(slots, np.ones_like(slots), called.astype(np.int64))


def _spanned(counts: Predicted, times: Ints) -> Predicted:
    return msgspec.structs.replace(counts, span=(int(times.min()), int(times.max())))


def binned(bins: Ints, *columns: Ints) -> dict[int, Row]:
    """The sums of each column by bin, the bins in order."""
    present, places = np.unique(bins, return_inverse=True)
    sums = np.zeros((len(columns), len(present)), dtype=np.int64)
    for total, column in zip(sums, columns, strict=True):
        np.add.at(total, places, column)
    return {int(b): tuple(row) for b, row in zip(present, sums.T.tolist(), strict=True)}
