"""How often tables of pairs call drift where there is none, and find a change that no column shows."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tests.bench.together import STREAMS, Kept, drifted

LEVEL = 0.01
SAME, CHANGED = STREAMS[:3], STREAMS[4:]


@pytest.mark.parametrize("runs", [8, pytest.param(300, marks=pytest.mark.long)])
@pytest.mark.parametrize("stream", SAME, ids=lambda stream: stream.title)
def test_false_alarms_are_no_more_than_the_level_says(stream: Kept, runs: int) -> None:
    """Of independent rows, and of rows that are like their neighbours: ten pairs of five columns at once."""
    found = drifted(stream.before, stream.after, (300, 3_000), runs, timed=stream.timed)
    # One in 1,000 by chance.
    assert max(found) <= binom.isf(1e-3, runs, LEVEL)


@pytest.mark.parametrize("runs", [4, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("stream", CHANGED, ids=lambda stream: stream.title)
def test_a_change_that_no_single_column_shows_is_found(stream: Kept, runs: int) -> None:
    (found,) = drifted(stream.before, stream.after, (5_000,), runs, timed=stream.timed)
    assert found >= 0.9 * runs
