"""The short form of `scripts/prove`: one job, and faults that no other test brings about.

`test_alive.py` loses the JobManager, `test_edited_jobs.py` rescales, and `test_accounts.py` deletes what
nobody has read; what takes minutes or a file system of its own, only `scripts/prove` does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proof import faults
from tests.proof.ledger import FIRST_LATE
from tests.proof.proof import prove

FAULTS = ["clock", "replicas", "paused-worker", "worker", "broker", "uncommitted"]


@pytest.mark.timeout(900)
def test_each_record_has_its_one_outcome_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORT_S", "PAUSE_S"):
        monkeypatch.setattr(faults, name, 2.0)
    proof = prove(tmp_path, FAULTS, seed=9, apart_s=1)
    assert proof.holds(), proof
    assert proof.records > 2 * FIRST_LATE  # so that some were late by design
    assert proof.windows > 5
