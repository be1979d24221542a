"""The short form of `scripts/prove`: a job with windows, of which a worker and the TaskManager are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.testing import Broker
from tests.proof.__main__ import prove
from tests.proof.ledger import FIRST_LATE


@pytest.mark.timeout(900)
def test_each_record_has_its_one_outcome_under_kills(broker: Broker, tmp_path: Path) -> None:
    proof = prove(broker.bootstrap, tmp_path, kills=2, seed=9)
    assert sum(proof.kills.values()) == 2
    assert proof.ledger.balanced(), proof.ledger
    assert proof.records > 2 * FIRST_LATE  # so that some were late by design
