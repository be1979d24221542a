"""A leak in what was sampled is seen, in its own units, and noise is not."""

from __future__ import annotations

import random

import pytest

from tests.proof.load import slope


def test_a_leak_is_seen_through_noise_and_noise_is_none() -> None:
    draw = random.Random(4)
    flat = [(7 + 5.0 * n, 500 + draw.gauss(0, 3)) for n in range(360)]
    assert slope(flat) == pytest.approx(0, abs=0.1)
    leaking = [(at, value + at * 2 / 60) for at, value in flat]
    assert slope(leaking) - slope(flat) == pytest.approx(2)
