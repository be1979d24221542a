"""How often drift is called where there is none: too slow for the unit tests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.bench.alarms import count_run
from tests.bench.streams import STREAMS


@pytest.mark.parametrize("kind", STREAMS)
def test_false_alarms_are_as_rare_as_set(kind: str) -> None:
    """At a level of 1% at most four of 100 windows have a probability of 99.7%."""
    total: Counter[str] = Counter()
    for run in range(100):
        total += count_run(STREAMS[kind], (200,), np.random.default_rng([77, run]))
    assert total["200 drift"] <= 4
