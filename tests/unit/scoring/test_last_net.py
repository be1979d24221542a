"""A record on which Tailrace itself fails becomes a dead letter, wherever it fails, and is counted once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from udfs.errors import ModelError
from udfs.features import FeatureParams, LookupParams
from udfs.features.lookup import LookupTable
from udfs.records.contract import Contract, Field
from udfs.records.decode import decode_batch
from udfs.scoring import checker as checking
from udfs.scoring import scorer as scoring
from udfs.scoring.checker import RecordChecker
from udfs.scoring.params import OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import DEAD, LATE, PREDICTED, Batch, RowBatch, Scorer

SOURCE = SourceParams("payments", Contract((Field("n", "long", required=True),)))
PARAMS = ScoreParams(SOURCE, FeatureParams(), None, OutputParams(("n",)))
NOON = 1_767_268_800_000
ROWS, BAD, LATE_ROW = 50, 13, 20


def batch() -> Batch:
    late = np.arange(ROWS) == LATE_ROW
    times, numbers = np.full(ROWS, NOON), np.arange(ROWS)
    return Batch([b'{"n":%d}' % i for i in range(ROWS)], times, late, numbers, numbers, times)


def failing_context(real: Callable[..., pa.Table]) -> Callable[..., pa.Table]:
    def failing(batch: Batch, decoded: Any) -> pa.Table:
        if BAD in decoded.table["n"].to_pylist():
            raise ZeroDivisionError("secret 13")
        return real(batch, decoded)

    return failing


def check_dead(problem: str) -> None:
    why = json.loads(problem)
    assert why["reason"] == "unexpected"
    assert "ZeroDivisionError at test_last_net.py:" in why["message"]
    assert "secret" not in why["message"]


def test_what_nobody_thought_of_costs_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Scorer(PARAMS).score(batch()).prediction
    monkeypatch.setattr(scoring, "_context_columns", failing_context(scoring._context_columns))
    scorer = Scorer(PARAMS)
    outcomes = scorer.score(batch())
    kinds = {BAD: DEAD, LATE_ROW: LATE}
    assert outcomes.kind.tolist() == [kinds.get(i, PREDICTED) for i in range(ROWS)]
    check_dead(outcomes.problem[BAD])
    assert [outcomes.prediction[i] for i in range(ROWS) if i != BAD] == [
        expected[i] for i in range(ROWS) if i != BAD
    ]
    counts = {
        name: scorer.counts[name] for name in ("predicted", "dead", "late", "unexpected", "dead_inference")
    }
    assert counts == {"predicted": ROWS - 2, "dead": 1, "late": 1, "unexpected": 1, "dead_inference": 1}


def test_a_window_on_which_it_fails_keeps_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RowBatch(
        np.full(3, NOON), {name: pa.array([11, BAD, 15]) for name in ("n", "_partition", "_offset")}
    )
    monkeypatch.setattr(Scorer, "_score_rows", _failing_rows(Scorer._score_rows))
    outcomes = Scorer(PARAMS).score_rows(rows)
    assert outcomes.kind.tolist() == [PREDICTED, DEAD, PREDICTED]
    assert json.loads(outcomes.prediction[1])["n"] == BAD
    check_dead(outcomes.problem[1])


def _failing_rows(real: Callable[..., Any]) -> Callable[..., Any]:
    def failing(scorer: Scorer, rows: RowBatch) -> Any:
        if BAD in rows.columns["n"].to_pylist():
            raise ZeroDivisionError("secret")
        return real(scorer, rows)

    return failing


def test_windows_get_the_columns_of_all_other_records(monkeypatch: pytest.MonkeyPatch) -> None:
    real = decode_batch

    def failing(decoder: Any, raws: list[bytes]) -> Any:
        if b'{"n":13}' in raws:
            raise ZeroDivisionError("secret")
        return real(decoder, raws)

    monkeypatch.setattr(checking, "decode_batch", failing)
    checker = RecordChecker(SOURCE)
    whole = batch()
    outcomes, table = checker.extract(whole.raws, whole.event_time, whole.late)
    expected = [None if i in (BAD, LATE_ROW) else i for i in range(ROWS)]
    assert table["n"].to_pylist() == expected
    assert outcomes.kind[[0, BAD, LATE_ROW]].tolist() == [PREDICTED, DEAD, LATE]
    check_dead(outcomes.problem[BAD])
    assert checker.counts == {"dead_decode": 1, "unexpected": 1, "dead": 1, "late": 1}


def test_a_key_that_cannot_be_joined_costs_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "names.csv"
    path.write_text("n,name\n1,one\n2,two\n")
    real = LookupTable.join

    def failing(table: LookupTable, keys: pa.Array) -> Any:
        if BAD in keys.to_pylist():
            raise ZeroDivisionError("secret")
        return real(table, keys)

    monkeypatch.setattr(LookupTable, "join", failing)
    lookup = LookupParams(str(path), "n", "n", {"name": "name"}, {"name": "string"})
    scorer = Scorer(ScoreParams(SOURCE, FeatureParams((lookup,)), None, OutputParams(("n", "name"))))
    outcomes = scorer.score(batch())
    assert (outcomes.kind == DEAD).nonzero()[0].tolist() == [BAD]
    assert json.loads(outcomes.problem[BAD])["stage"] == "feature"
    assert [json.loads(outcomes.prediction[i])["features"]["name"] for i in range(3)] == [None, "one", "two"]
    assert (scorer.counts["lookup_misses"], scorer.counts["unexpected"]) == (ROWS - 4, 1)


@pytest.mark.parametrize("error", [ModelError("no version"), OSError("disk")])
def test_what_is_no_records_fault_is_raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(scoring, "_context_columns", failing)
    with pytest.raises(type(error)):
        Scorer(PARAMS).score(batch())
