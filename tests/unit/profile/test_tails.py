"""Columns with a tail: what the reference expects of values that it does not know."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tests.helpers.examples import sized
from udfs.profile.collect import Collector
from udfs.profile.counts import CategoricalCounts
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import CategoricalReference, Reference, parse_reference
from udfs.profile.references import ReferenceParts

SHARES = 1 / np.arange(1, 2_001)
SHARES /= SHARES.sum()
NAMES = np.array([f"v{i:04}" for i in range(2_000)])


def zipf(random: np.random.Generator, n: int) -> NDArray[np.str_]:
    return np.asarray(NAMES[random.choice(2_000, size=n, p=SHARES)])


def profiled(values: NDArray[np.str_], **more: object) -> Reference:
    table = pa.table({"shop": values, "place": np.where(np.arange(len(values)) % 2, "a", "b")})
    return parse_reference(encode_profile(reference_profile(table, segments=["place"], **more)))  # type: ignore[arg-type]


def shop(reference: Reference) -> CategoricalReference:
    found = reference.columns["shop"]
    assert isinstance(found, CategoricalReference)
    return found


def test_the_expected_share_of_new_values_is_that_of_new_rows() -> None:
    """Over references: what is said beforehand is what rows that come later turn out to be."""
    random = np.random.default_rng(3)
    said, came = [], []
    for _ in range(sized(60, 30)):
        values = zipf(random, 1_000)
        counts = shop(profiled(values)).as_counts()
        said.append(counts.unseen / counts.n)
        came.append(np.isin(zipf(random, 2_000), values, invert=True).mean())
    assert np.mean(said) == pytest.approx(np.mean(came), abs=0.01)
    assert 0.1 < np.mean(came) < 0.4


def test_frequent_values_look_as_frequent_as_they_are() -> None:
    """Chosen and counted on the same rows, the last of the hundred would look a third too frequent."""
    random = np.random.default_rng(4)
    excess = []
    for _ in range(sized(60, 30)):
        reference = shop(profiled(zipf(random, 1_000)))
        counts = reference.as_counts()
        true = np.array([SHARES[int(value[1:])] for value in reference.values])
        excess.append((counts.counts[50:].sum() / counts.n) / true[50:].sum())
    assert np.mean(excess) == pytest.approx(1.0, abs=0.06)


def test_columns_without_a_tail_keep_all_their_rows() -> None:
    values = np.random.default_rng(5).choice(NAMES[:30], size=10_000)
    profile = reference_profile(pa.table({"shop": values}))
    assert profile["schema"] == "tailrace.profile/1"
    assert "tested" not in profile["columns"]["shop"]
    few = reference_profile(pa.table({"shop": [f"shop {i}" for i in range(50)]}))
    assert "tested" not in few["columns"]["shop"]


def test_columns_that_tell_rows_apart_are_named() -> None:
    table = pa.table({"id": [f"{i}" for i in range(500)], "shop": zipf(np.random.default_rng(6), 500)})
    profile = reference_profile(table)
    assert (profile["ids"], profile["schema"]) == (["id"], "tailrace.profile/2")
    assert parse_reference(encode_profile(profile)).ids == ("id",)


def test_parts_of_a_reference_expect_new_values_too() -> None:
    """A part's own rows all have values that the whole knows: it must be told that others will not."""
    random = np.random.default_rng(7)
    reference = profiled(zipf(random, 4_000))
    parts = ReferenceParts(reference, (SegmentParams("place", ("a",)),))
    for value in ("a", "OTHER"):
        picked, name = parts.pick("place", value, 0, 1, seasonal=False)
        assert name == "segment"
        counts = shop(picked).as_counts()
        assert 0.05 < counts.unseen / counts.n < 0.25
        assert counts.n == pytest.approx(1_000, abs=80)


def test_a_window_is_counted_as_before() -> None:
    reference = profiled(zipf(np.random.default_rng(8), 1_000))
    known = shop(reference)
    collector = Collector(CollectParams(1, (("shop", "shop"),)), reference, 1)
    values = [known.values[0], (known.rare or [""])[0], "never seen", None]
    (part,) = collector.collect({"shop": pa.array(values)}, np.ones(4, dtype=np.int64))
    counts = part.counts.columns["shop"]
    assert isinstance(counts, CategoricalCounts)
    assert (counts.counts[0], counts.other, counts.unseen, counts.null) == (1, 1, 1, 1)


def test_profiles_of_version_1_are_read() -> None:
    column = {"kind": "categorical", "values": ["a"], "counts": [4], "rare": ["b"], "other": 1, "null": 0}
    old = {"schema": "tailrace.profile/1", "rows": 5, "columns": {"shop": column}}
    reference = parse_reference(msgspec.json.encode(old))
    counts = shop(reference).as_counts()
    assert (counts.counts.tolist(), counts.other, counts.unseen, reference.ids) == ([4], 1, 0, ())
