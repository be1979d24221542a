"""A shadow in a real process beside a worker that follows releases: it can neither change nor stop it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Releases
from tests.helpers.following import add, batch, later, report, scorer, two_versions
from tests.helpers.traps import Trap


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
