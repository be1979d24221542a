"""Ten swaps in a row: retired versions leave no trace in a worker's memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from tests.helpers.following import NOW, add, batch, scorer, versions

MEGABYTES = 16


def heavy() -> LogisticRegression:
    """A library's own class, which needs no other process to show that it loads, and takes room."""
    model = LogisticRegression()
    model.room_ = np.ones(MEGABYTES * 2**20, dtype=np.uint8)
    return model


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def test_ten_swaps_leave_the_memory_as_it_was(tmp_path: Path) -> None:
    """Each version holds 16 MB; were they kept, 160 MB would be more than a tenth of a worker."""
    for _ in range(11):
        add(tmp_path, heavy())
    log = Releases(Registry(tmp_path), "fraud")
    with scorer(tmp_path) as running:
        assert versions(running.score(batch([3.0]))) == [1]
        before = resident_mb()
        for version in range(2, 12):
            log.promote(version, Activation(NOW + version, lead_ms=0, past=True))
            deadline = time.monotonic() + 30
            while versions(running.score(batch([3.0], NOW + version))) != [version]:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        deadline = time.monotonic() + 30
        while resident_mb() > before * 1.1 and time.monotonic() < deadline:
            running.score(batch([3.0], NOW + 11))
            time.sleep(0.1)
        after = resident_mb()
    print(f"worker memory: {before:.0f} MB before, {after:.0f} MB after ten swaps")
    assert after <= before * 1.1
