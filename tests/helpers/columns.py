"""One numeric column: its reference profile, and the counts of other values on the same bins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.profile.collect import Collector
from udfs.profile.counts import NumericCounts
from udfs.profile.params import CollectParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import NumericReference, Reference, parse_reference

CASES = 10_000
Floats = npt.NDArray[np.float64]


def profile_of(values: Floats, bins: int = 8) -> tuple[Reference, NumericReference]:
    profile = reference_profile(pa.table({"x": values}), bins=bins)
    reference = parse_reference(encode_profile(profile))
    column = reference.columns["x"]
    assert isinstance(column, NumericReference)
    return reference, column


def counts_of(reference: Reference, values: Floats) -> NumericCounts:
    collector = Collector(CollectParams(1000, (("x", "x"),)), reference, 1)
    (part,) = collector.collect({"x": pa.array(values)}, np.ones(len(values), dtype=np.int64))
    counts = part.counts.columns["x"]
    assert isinstance(counts, NumericCounts)
    return counts


def draw(random: np.random.Generator, case: int, n: int) -> Floats:
    """Continuous, heavy-tailed and tied values in turn."""
    kinds = (random.normal(size=n), random.standard_t(2, size=n), random.integers(-3, 4, size=n) * 1.0)
    return kinds[case % 3]
