"""The histogram of latency is what counting each event by itself gives, whatever its clock."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from udfs.features import FeatureParams
from udfs.records.contract import Contract, Field
from udfs.scoring.batch import Batch
from udfs.scoring.latency import BUCKETS, LatencyHistogram
from udfs.scoring.params import OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import Scorer

NOW = 1_767_225_600_000
# On, just before and just after bounds, ahead of the clock, and without a time at all.
AGES = st.one_of(st.integers(-(10**9), 10**9), st.sampled_from([99, 100, 101, 3_600_000, 3_600_001, NOW]))


@settings(max_examples=examples(100))
@given(st.lists(st.lists(AGES, max_size=20), max_size=4))
def test_a_bucket_holds_what_is_at_most_so_old(batches: list[list[int]]) -> None:
    counts: dict[str, int] = {}
    histogram = LatencyHistogram(counts, clock=lambda: NOW)
    histogram.add(np.array([], dtype=np.int64))
    for ages in batches:
        histogram.add(NOW - np.array(ages, dtype=np.int64))
    every = [age for ages in batches for age in ages]
    for name, bound in BUCKETS.items():
        assert counts[name] == sum(age / 1000 <= float(bound) for age in every)


def test_only_predictions_have_a_latency() -> None:
    source = SourceParams("homes", Contract((Field("size", "double"),)))
    params = ScoreParams(source, FeatureParams((), ()), None, OutputParams(("size",)))
    scorer = Scorer(params, wall_clock=lambda: NOW)
    raws = [b'{"size":1}', b"{", b'{"size":2}', b'{"size":3}']
    numbers, late = np.arange(4), np.array([False, False, False, True])
    times = NOW - np.array([200, 10, 4_000_000, 10])
    for expected in ((1, 2), (2, 4)):
        scorer.score(Batch(raws, times, late, numbers, numbers, times))
        found = tuple(scorer.counts[name] for name in ("latency_le_0.25", "latency_le_+Inf"))
        assert (scorer.counts["latency_le_0.1"], *found) == (0, *expected)
