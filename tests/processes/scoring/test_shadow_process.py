"""A shadow in a real process beside a worker that follows releases: it can neither change nor stop it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Releases
from tests.helpers.following import INPUTS, NOW, add, batch, later, report, scorer, two_versions
from tests.helpers.traps import Trap
from udfs.model.manifest import Input, Output, Signature
from udfs.quality.expected import Expected, Losses
from udfs.rollout.labels import count_labels, decode_labels
from udfs.rollout.losses import FINE, ScoredRow, UsualError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_versions(tmp_path)


def test_a_shadow_scores_the_same_rows(root: Path) -> None:
    Releases(Registry(root), "fraud").shadow((2,), later(-60))
    with scorer(root, timeout_ms=5000) as running:
        found = running.score(batch([1.0, 3.0, 6.0]))
    said = [json.loads(line) for line in found.shadow]
    assert [row["prediction"] for row in said] == [False, True, True]
    assert [[s["version"] for s in row["shadows"]] for row in said] == [[2]] * 3
    assert [row["shadows"][0]["prediction"] for row in said] == [False, False, True]
    assert [row["offset"] for row in said] == [0, 1, 2]
    counts = {(key[1], key[2]): c for key, c in report(found).counts.items()}
    assert (counts[2, "shadow"].paired, counts[2, "shadow"].agreed) == (3, 2)


def regression(root: Path, expected: Expected | None = None) -> None:
    amounts = INPUTS["amount"].to_numpy()
    Registry(root).write_version(
        "fraud",
        model=LinearRegression().fit(INPUTS.to_pandas(), 2 * amounts),
        signature=Signature(inputs=(Input(name="amount", type="double"),), output=Output(kind="regression")),
        golden_inputs=INPUTS,
        profile={},
        metrics={},
        training={},
        expected=msgspec.json.encode(expected) if expected else None,
    )


def test_a_shadow_tells_beside_its_label_how_far_off_it_was_and_nowhere_else(tmp_path: Path) -> None:
    """Up to 2.5 by 1 ± .5 on average, beyond by 8 ± 6; the champion has no such file."""
    losses = Losses(
        ["amount"], [0, -1, -1], [2.5, 0, 0], [1, -1, -1], [2, -1, -1], [False] * 3,
        [4.0, 1.0, 8.0], [50.0, 1.25, 100.0], [5e4, 2.0, 2e4],
    )  # fmt: skip
    regression(tmp_path)
    Registry(tmp_path).promote("fraud", 1)
    regression(tmp_path, Expected(rows=700, losses=losses))
    Releases(Registry(tmp_path), "fraud").shadow((2,), later(-60))
    with scorer(tmp_path, timeout_ms=5000, label_key="customer") as running:
        found = running.score(batch([1.0, 3.0, 2.5]))
    assert found.told is not None
    told = [msgspec.json.decode(line, type=list[ScoredRow]) for line in found.told]
    assert [(row.role, row.usual) for row, _ in told] == [("champion", None)] * 3
    near, far = UsualError(1.0, 0.25, 700), UsualError(8.0, 36.0, 700)
    assert [(row.role, row.usual) for _, row in told] == [("shadow", each) for each in (near, far, near)]
    assert not any(b"usual" in bytes(line) for line in [*found.shadow, *found.prediction])
    counted = decode_labels(
        count_labels(found.told.tolist(), [b"4.0"] * 3, np.ones(3, np.bool_), np.full(3, NOW), 60_000) or b""
    )
    of_role = {key[2]: quality for key, quality in counted.qualities.items()}
    assert of_role["champion"].usual == (0, 0, 0, 0, 0)
    # 2 for 4, 6 for 4, and 5 for 4.
    assert of_role["shadow"].usual == (3, 5 * FINE, 10 * FINE, 365 * FINE // 10, 2_100)


@pytest.mark.parametrize("how", ["raise", "hang", "slow", "crash"])
def test_a_shadow_that_misbehaves_changes_nothing_and_is_switched_off(tmp_path: Path, how: str) -> None:
    add(tmp_path)
    with scorer(tmp_path) as running:
        alone = [bytes(line) for line in running.score(batch([3.0, 200.0, 5.0])).prediction]
    add(tmp_path, Trap(how))
    Releases(Registry(tmp_path), "fraud").shadow((2,), later(-60))
    events, missed = [], 0
    with scorer(tmp_path, timeout_ms=100) as running:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            found = running.score(batch([200.0] * 3 if how == "raise" else [3.0, 200.0, 5.0]))
            if how != "raise":
                expected = [line.replace(b'"release":1', b'"release":2') for line in alone]
                assert [bytes(line) for line in found.prediction] == expected
            events += report(found).events
            missed += sum(counts.missed for counts in report(found).counts.values())
            if events:
                break
            time.sleep(0.1)
    assert [(event.kind, event.version) for event in events] == [("shadow_off", 2)]
    reasons = {
        "raise": "ValueError: too much",
        "hang": "no answer",
        "slow": "no answer",
        "crash": "has ended",
    }
    assert reasons[how] in events[0].message
    assert how == "raise" or missed > 0
