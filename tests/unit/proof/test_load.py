"""A leak in what was sampled is seen, in its own units, and noise is not; waiting at the end is no work."""

from __future__ import annotations

import random

import pytest

from flink_jobs.errors import WorkError
from tests.proof.load import drained_rate, slope


def test_a_leak_is_seen_through_noise_and_noise_is_none() -> None:
    draw = random.Random(4)
    flat = [(7 + 5.0 * n, 500 + draw.gauss(0, 3)) for n in range(360)]
    assert slope(flat) == pytest.approx(0, abs=0.1)
    leaking = [(at, value + at * 2 / 60) for at, value in flat]
    assert slope(leaking) - slope(flat) == pytest.approx(2)


def test_what_a_job_waits_for_its_last_checkpoint_is_no_part_of_its_rate() -> None:
    seen = [(3.0, 7_000), (13.0, 4_000), (23.0, 1_000), (33.0, 0)]
    assert drained_rate(seen) == 300
    apart = [(3.0, 9_000), (3.4, 7_000), (13.0, 6_000), (13.2, 4_000), (23.0, 500), (23.4, 0)]
    assert drained_rate(apart) == 300
    for few in (seen[2:], apart[2:]):
        with pytest.raises(WorkError, match="within two checkpoints"):
            drained_rate(few)
