"""A regression's records by the leaves of its losses: in counts and beside labels, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import structlog
from sklearn.linear_model import LinearRegression

from flink_jobs.registry import Registry
from flink_jobs.training.expected import Judged, expected_quality
from tests.helpers.following import INPUTS, batch, scorer
from udfs.model.manifest import EXPECTED_FILE, Input, Output, Signature, digest
from udfs.quality.counts import decode_report
from udfs.quality.expected import ExpectedOf, parse_expected
from udfs.quality.params import QualityCount, QualityParams
from udfs.rollout.losses import ScoredRow

WINDOW = 60_000
AMOUNTS = [0.5, 2.5, 3.5, 30.0]


def expected() -> bytes:
    """Errors as large as the amount."""
    random = np.random.default_rng(1)
    amount = random.uniform(0, 50, 4_000)
    times = np.datetime64("2026-01-01", "ms") + np.arange(4_000) * np.timedelta64(1_000, "ms")
    rows = Judged(amount, amount + random.normal(0, 1 + amount), times, {"amount": amount})
    data = expected_quality(rows, Output(kind="regression"), calibrated=True)
    assert data is not None
    return data


def add(root: Path, data: bytes | None) -> Registry:
    registry = Registry(root)
    registry.write_version(
        "fraud",
        model=LinearRegression().fit(INPUTS.to_pandas(), INPUTS["amount"].to_numpy()),
        signature=Signature(inputs=(Input(name="amount", type="double"),), output=Output(kind="regression")),
        golden_inputs=INPUTS,
        profile={},
        metrics={},
        training={},
        expected=data,
    )
    registry.promote("fraud", 1)
    return registry


def test_records_are_counted_by_leaf_and_nothing_else_is_told_of_it(tmp_path: Path) -> None:
    data = expected()
    add(tmp_path, data)
    with scorer(tmp_path, label_key="customer", quality=QualityCount(WINDOW)) as running:
        outcomes = running.score(batch(AMOUNTS))
    losses = parse_expected(data).losses
    assert losses is not None
    column = np.array(AMOUNTS)
    leaves = losses.leaves({"amount": column, "prediction": column}).tolist()
    assert outcomes.quality is not None
    (counts,) = decode_report(outcomes.quality).predicted.values()
    assert counts.bins == {leaf: (leaves.count(leaf), 0) for leaf in sorted(set(leaves))}
    assert outcomes.told is not None
    told = [msgspec.json.decode(line, type=list[ScoredRow])[0] for line in outcomes.told]
    assert [row.cell for row in told] == leaves
    assert not any("cell" in json.loads(line) for line in outcomes.prediction)


@pytest.mark.parametrize("data", [None, b"{}", b"\xff", b'{"schema":"tailrace.expected/9","rows":1}'])
def test_a_version_without_or_with_a_broken_file_scores_as_ever(tmp_path: Path, data: bytes | None) -> None:
    add(tmp_path, data)
    with scorer(tmp_path, label_key="customer", quality=QualityCount(WINDOW)) as running:
        outcomes = running.score(batch(AMOUNTS))
    assert outcomes.quality is not None
    (counts,) = decode_report(outcomes.quality).predicted.values()
    assert (counts.rows, counts.bins) == (4, {})


def test_a_file_that_was_changed_is_none(tmp_path: Path) -> None:
    """Who can write the registry would have a model that became worse pass unseen."""
    registry = add(tmp_path, expected())
    params = QualityParams(
        "j",
        "fraud",
        QualityCount(WINDOW),
        model_folder=registry.model_location("fraud"),
        digests={1: digest(registry.manifest("fraud", 1))},
    )
    assert ExpectedOf(params)(1) == parse_expected(expected())
    path = registry.folder("fraud", 1) / EXPECTED_FILE
    path.chmod(0o644)
    path.write_bytes(expected().replace(b'"absolute":[', b'"absolute":[9'))
    with structlog.testing.capture_logs() as told:
        assert ExpectedOf(params)(1) is None
        assert ExpectedOf(params)(2) is None
    assert [(each["event"], each["version"]) for each in told] == [
        ("no_expected_quality", 1),
        ("no_expected_quality", 2),
    ]
    assert "was changed" in told[0]["error"]
