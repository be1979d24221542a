"""What the scorer counts for quality: each prediction once, whatever becomes of its neighbours."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from tests.helpers.following import NOW, add, batch, scorer
from udfs.profile.params import SegmentParams
from udfs.quality.counts import Predicted, QualityReport, decode_report
from udfs.quality.params import QualityCount
from udfs.quality.predicted import QualityCounter
from udfs.rollout.losses import ScoredRow
from udfs.scoring.scorer import PREDICTED, Outcomes

WINDOW = 60_000
COUNT = QualityCount(WINDOW, (SegmentParams("customer", ("c0", "c1")),))
START = NOW - NOW % WINDOW


def report_of(outcomes: Outcomes) -> QualityReport:
    assert outcomes.quality is not None
    return decode_report(outcomes.quality)


def test_predictions_are_counted_by_their_score_and_segment(tmp_path: Path) -> None:
    add(tmp_path)
    with scorer(tmp_path, label_key="customer", quality=COUNT) as running:
        outcomes = running.score(batch([1.0, 6.0, 2.0]))
    counts = report_of(outcomes).predicted
    assert {key[2:]: found.rows for key, found in counts.items()} == {
        (None, None): 3,
        ("customer", "c0"): 1,
        ("customer", "c1"): 1,
        ("customer", "OTHER"): 1,
    }
    assert {key[0] for key in counts} == {START}
    scores = [msgspec.json.decode(line)["score"] for line in outcomes.prediction]
    total = sum(row[1] for row in counts[START, 1, None, None].bins.values())
    assert total / 1e9 == pytest.approx(sum(scores), abs=1e-8)
    assert outcomes.told is not None
    told = [msgspec.json.decode(line, type=list[ScoredRow])[0] for line in outcomes.told]
    assert [row.slices for row in told] == [{"customer": c} for c in ("c0", "c1", "OTHER")]


def test_dead_records_are_no_predictions(tmp_path: Path) -> None:
    add(tmp_path)
    broken = batch([1.0, 6.0, 2.0])
    assert isinstance(broken.raws, list)
    broken.raws[1] = b"{"
    with scorer(tmp_path, quality=COUNT) as running:
        outcomes = running.score(broken)
    assert (outcomes.kind == PREDICTED).tolist() == [True, False, True]
    assert report_of(outcomes).predicted[START, 1, None, None].rows == 2
    assert outcomes.told is None


def test_a_batch_that_is_scored_again_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tailrace itself fails on one record: its neighbours are scored a second time."""
    add(tmp_path)
    counted = QualityCounter.predicted

    def fails(self: QualityCounter, *arguments: object) -> None:
        counted(self, *arguments)  # type: ignore[arg-type]
        slices = arguments[3]
        assert isinstance(slices, dict)
        if "c1" in slices["customer"].to_pylist():
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(QualityCounter, "predicted", fails)
    with scorer(tmp_path, quality=COUNT) as running:
        outcomes = running.score(batch([1.0, 6.0, 2.0, 3.0]))
    assert (outcomes.kind == PREDICTED).tolist() == [True, False, True, True]
    assert report_of(outcomes).predicted[START, 1, None, None].rows == 3


def test_a_null_is_among_the_others() -> None:
    counter = QualityCounter(COUNT)
    assert counter.slices_of({"customer": pa.array(["c1", None, "x"])})["customer"].to_pylist() == [
        *("c1", "OTHER", "OTHER")
    ]


def test_another_kind_of_output_is_not_mixed_in() -> None:
    """A version's number that a job of before used for another model: the larger part stays."""
    binary, other = Predicted("binary", 5, bins={1: (5, 9)}), Predicted("multiclass", 3)
    assert binary.merged(other) == other.merged(binary) == binary
