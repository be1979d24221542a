"""Who goes to the canary: the same on every worker and in every run."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.releases.route import BUCKETS, in_canary, places, routed

KEYS = pa.array([f"customer-{i}" for i in range(100_000)])


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_kept_within_half_a_point(share: float) -> None:
    assert in_canary(KEYS, share, "fraud/2").mean() == pytest.approx(share, abs=0.005)


def test_a_larger_share_only_adds_keys() -> None:
    before = np.zeros(len(KEYS), dtype=bool)
    for share in (0.01, 0.1, 0.5, 1.0):
        now = in_canary(KEYS, share, "fraud/2")
        assert not (before & ~now).any()
        before = now
    assert before.all()


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=20), st.integers(0, 20))
def test_a_key_does_not_care_about_its_neighbours(keys: list[str | None], cut: int) -> None:
    whole = places(pa.array(keys, pa.string()), "fraud/2")
    parts = [places(pa.array(part, pa.string()), "fraud/2") for part in (keys[:cut], keys[cut:])]
    assert np.array_equal(whole, np.concatenate(parts), equal_nan=True)


def test_places_are_fixed_for_good() -> None:
    """Were they to change, every running canary would change its customers."""
    found = places(pa.array(["a", "b", "", None]), "fraud/2")
    assert found[:3] == pytest.approx(GOLDEN, abs=0)
    assert np.isnan(found[3])


def test_numbers_go_by_their_text_and_null_never_goes() -> None:
    assert np.array_equal(places(pa.array([1, 25]), "m/1"), places(pa.array(["1", "25"]), "m/1"))
    assert in_canary(pa.array([None, "a"]), 1.0, "m/1").tolist() == [False, True]


def test_each_version_has_customers_of_its_own() -> None:
    first, second = in_canary(KEYS, 0.1, "fraud/2"), in_canary(KEYS, 0.1, "fraud/3")
    assert (first & second).mean() == pytest.approx(0.01, abs=0.002)


def test_buckets_are_as_many_on_either_side_and_fixed_for_good() -> None:
    """Were they to follow from the place, a canary of one key in a hundred would have but a few of them."""
    chosen, buckets = routed(KEYS, 0.05, "fraud/2")
    assert len(np.unique(buckets[chosen])) == BUCKETS
    counts = np.bincount(buckets, minlength=BUCKETS)
    assert (counts.min(), counts.max()) == (pytest.approx(390, abs=90), pytest.approx(390, abs=90))
    assert routed(pa.array(["a", "b", None]), 0.5, "fraud/2")[1].tolist() == GOLDEN_BUCKETS


GOLDEN = [0.07750994944094891, 0.8517070382412079, 0.9119714482971062]
GOLDEN_BUCKETS = [19, 183, -1]
