"""A promote and a rollback while records pour in, on four workers, and on two of which the first die."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from flink_jobs.testing import Broker
from tests.bench.promote import Load, Outcome, problems, run, with_cluster

RATE = 2_000


def check(outcome: Outcome) -> None:
    assert outcome.sent > 10 * RATE
    assert problems(outcome) == []
    assert set(outcome.live.version.tolist()) == {1, 2}


@pytest.mark.timeout(300)
def test_a_promote_under_load(broker: Broker, tmp_path: Path) -> None:
    load = Load(RATE, parallelism=4, settle=0, baseline=1.0)
    outcome = run(broker.bootstrap, tmp_path, f"promote-{uuid4().hex[:8]}", load)
    check(outcome)
    assert len(set(outcome.live.partition.tolist())) == 4


@pytest.mark.timeout(400)
def test_a_promote_whose_workers_are_killed(broker: Broker, tmp_path: Path) -> None:
    load = Load(RATE, parallelism=2, settle=0, baseline=1.0)
    check(with_cluster(tmp_path, broker.bootstrap, f"promote-{uuid4().hex[:8]}", load))
