"""A worker that follows a release log: real versions, real files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from tests.helpers.following import NOW, batch, later, report, scorer, two_versions, versions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return two_versions(tmp_path)


def test_a_release_made_while_it_runs_is_followed_at_its_moment(root: Path) -> None:
    with scorer(root) as running:
        assert versions(running.score(batch([3.0]))) == [1]
        Releases(Registry(root), "fraud").promote(2, later(60))
        time.sleep(0.5)
        assert versions(running.score(batch([3.0], NOW + 59_999))) == [1]
        found = running.score(batch([3.0], NOW + 60_000))
        assert json.loads(found.prediction[0])["release"] == 2
        assert versions(found) == [2]


def test_a_time_ahead_of_the_kafka_timestamp_counts_as_that(root: Path) -> None:
    Releases(Registry(root), "fraud").promote(2, later(60))
    with scorer(root) as running:
        assert versions(running.score(batch([3.0], NOW + 90_000, timestamp=NOW))) == [1]


def test_a_version_that_cannot_be_used_leaves_the_old_one_and_says_why(root: Path) -> None:
    model = root / "fraud" / "versions" / "2" / "model.joblib"
    Releases(Registry(root), "fraud").promote(2, later(0))
    model.chmod(0o644)
    model.write_bytes(b"half")
    with scorer(root) as running:
        found = running.score(batch([3.0]))
        assert versions(found) == [1]
        (event,) = report(found).events
        assert (event.kind, event.version, event.release) == ("version_refused", 2, 2)
        assert "SHA-256" in event.message
        assert report(running.score(batch([3.0]))).events == []


def test_a_refused_version_has_another_try_from_the_next_release_of_it_on(root: Path) -> None:
    """No release about others brings it back, or makes the alarm ring again."""
    model, log = root / "fraud" / "versions" / "2" / "model.joblib", Releases(Registry(root), "fraud")
    log.promote(2, later(0))
    whole = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(b"half")
    with scorer(root) as running:
        assert [e.kind for e in report(running.score(batch([3.0]))).events] == ["version_refused"]
        log.rollback(later(60))
        time.sleep(0.5)
        found = running.score(batch([3.0]))
        assert (versions(found), report(found).events) == ([1], [])
        model.write_bytes(whole)
        log.promote(2, later(120))
        time.sleep(0.5)
        assert versions(running.score(batch([3.0]))) == [1]
        assert versions(running.score(batch([3.0], NOW + 120_000))) == [2]


def test_a_withdrawn_version_stops_at_the_next_look(root: Path) -> None:
    log = Releases(Registry(root), "fraud")
    log.promote(2, later(-60))
    with scorer(root) as running:
        assert versions(running.score(batch([3.0]))) == [2]
        log.withdraw(2, Activation(reason="wrong data"))
        time.sleep(0.5)
        assert versions(running.score(batch([3.0], NOW - 30_000))) == [1]


def test_a_canary_needs_its_column(root: Path) -> None:
    Releases(Registry(root), "fraud").canary(2, 0.5, "nobody", later(-60))
    with scorer(root) as running:
        found = running.score(batch([3.0] * 20))
        assert versions(found) == [1] * 20
        assert report(found).events[0].kind == "canary_without_key"


def test_a_canary_gets_its_share(root: Path) -> None:
    Releases(Registry(root), "fraud").canary(2, 0.5, "customer", later(-60))
    with scorer(root) as running:
        found = versions(running.score(batch([3.0] * 1000)))
    assert 430 < found.count(2) < 570
