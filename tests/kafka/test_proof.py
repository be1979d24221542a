"""The short form of `scripts/prove`: one job, and faults that no other test brings about.

`test_alive.py` loses the JobManager, `test_edited_jobs.py` rescales.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof.ledger import FIRST_LATE
from tests.proof.proof import prove

FAULTS = ["worker", "broker", "taskmanager"]


@pytest.mark.timeout(900)
def test_each_record_has_its_one_outcome_whatever_happens(tmp_path: Path) -> None:
    proof = prove(tmp_path, FAULTS, seed=9)
    assert proof.holds(), proof
    assert proof.records > 2 * FIRST_LATE  # so that some were late by design
    assert proof.windows > 5
