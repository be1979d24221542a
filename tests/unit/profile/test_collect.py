"""Counting on the reference's bins: what a plain loop would count, however the rows fall into batches."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from udfs.drift.monitor import Kept, merge, pack, unpack
from udfs.errors import ModelError
from udfs.profile.batch_profiler import BatchProfiler
from udfs.profile.collect import OTHER, Collector, PartialProfile
from udfs.profile.counts import CategoricalCounts, NumericCounts
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.wire import decode_partial_profiles, encode_partial_profiles
from udfs.records.problems import Problem

WINDOW = 1_000
EDGE_VALUES = [None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e300, 5e-324]


def reference(rows: int = 500) -> Reference:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "amount": random.normal(size=rows),
            "items": pa.array(random.integers(0, 5, rows)),
            "constant": np.full(rows, 7.0),
            "nothing": pa.array([None] * rows, pa.float64()),
            "country": pa.array(random.choice(["DE", "FR", "IT"], rows)),
        }
    )
    return parse_reference(encode_profile(reference_profile(table, top=2)))


REFERENCE = reference()
ORDER = ("amount", "items", "constant", "nothing", "country")
NAMES = tuple((name, name) for name in REFERENCE.columns)
SEGMENTS = (SegmentParams("country", ("DE", "FR")),)
COLLECTOR = Collector(CollectParams(WINDOW, NAMES, SEGMENTS), REFERENCE, 3)

numbers = st.sampled_from(EDGE_VALUES) | st.floats(-5, 5)
rows_strategy = st.lists(
    st.tuples(
        st.integers(1, 4 * WINDOW),
        numbers,
        st.none() | st.integers(-3, 9),
        numbers,
        numbers,
        st.sampled_from([None, "DE", "FR", "IT", "XX", "", "it's"]),
    ),
    max_size=60,
)
Row = tuple[int, float | None, int | None, float | None, float | None, str | None]


def collected(rows: list[Row]) -> list[PartialProfile]:
    times, *columns = zip(*rows, strict=True) if rows else ((), (), (), (), (), ())
    kinds = [pa.float64(), pa.int64(), pa.float64(), pa.float64(), pa.string()]
    arrays = {
        name: pa.array(list(values), kind) for name, values, kind in zip(ORDER, columns, kinds, strict=True)
    }
    return COLLECTOR.collect(arrays, np.array(times, dtype=np.int64))


def by_window(parts: list[PartialProfile]) -> dict[int | None, bytes]:
    return {start: pack(merge(p for p in parts if p.start == start)) for start in {p.start for p in parts}}


@settings(max_examples=examples(200))
@given(rows_strategy, st.integers(1, 60), st.randoms())
def test_batches_and_their_order_do_not_matter(rows: list[Row], size: int, random: object) -> None:
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    random.shuffle(batches)  # type: ignore[attr-defined]
    parts = [part for batch in batches for part in collected(batch)]
    assert by_window(parts) == by_window(collected(rows))


@settings(max_examples=examples(200))
@given(rows_strategy)
def test_counts_are_those_of_a_plain_loop(rows: list[Row]) -> None:
    parts = {(p.start, p.column, p.value): p.counts for p in collected(rows)}
    keys: Counter[tuple[int | None, str | None, str | None]] = Counter(
        (r[0] - r[0] % WINDOW, None, None) for r in rows
    )
    keys += Counter((r[0] - r[0] % WINDOW, "country", r[5] if r[5] in ("DE", "FR") else OTHER) for r in rows)
    assert {key: counts.predicted for key, counts in parts.items()} == keys
    for (start, column, value), counts in parts.items():
        mine = [
            r
            for r in rows
            if r[0] - r[0] % WINDOW == start
            and (column is None or (r[5] if r[5] in ("DE", "FR") else OTHER) == value)
        ]
        for i, name in enumerate(("amount", "items", "constant", "nothing"), start=1):
            check_numeric(name, [r[i] for r in mine], counts.columns[name])  # type: ignore[misc,arg-type]
        check_country([r[5] for r in mine], counts.columns["country"])  # type: ignore[arg-type]


def check_numeric(name: str, values: list[float | None], counts: NumericCounts) -> None:
    column = REFERENCE.columns[name]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    assert counts.null == sum(v is None for v in values)
    assert counts.invalid == len(values) - counts.null - len(finite)
    assert counts.n == len(finite)
    assert (counts.low, counts.high) == ((min(finite), max(finite)) if finite else (None, None))
    edges = column.edges  # type: ignore[union-attr]
    if not edges:
        return
    assert counts.counts[0] == sum(v < edges[0] for v in finite)
    assert counts.counts[-1] == sum(v > edges[-1] for v in finite)
    inside = [sum(low <= v < high for v in finite) for low, high in pairwise(edges)] or [0]
    inside[-1] += sum(v == edges[-1] for v in finite)
    assert counts.counts[1:-1].tolist() == inside
    scale = 2.0**column.fixed_point.exponent  # type: ignore[union-attr]
    fixed = [round(max(-(2.0**40), min(2.0**40, v * scale))) for v in finite]
    assert int(counts.sums.sum()) == sum(fixed)
    assert counts.squares == sum(v * v for v in fixed)


def check_country(values: list[str | None], counts: CategoricalCounts) -> None:
    column = REFERENCE.columns["country"]
    assert counts.counts.tolist() == [values.count(known) for known in column.values]  # type: ignore[union-attr]
    assert counts.other == sum(v in column.rare for v in values)  # type: ignore[union-attr, operator]
    strange = {v for v in values if v in ("XX", "", "it's")}
    assert counts.unseen == sum(v in strange for v in values)
    assert counts.examples == tuple(sorted(strange))
    assert counts.null == values.count(None)


@settings(max_examples=examples(100))
@given(rows_strategy)
def test_parts_survive_the_wire(rows: list[Row]) -> None:
    parts = collected(rows)
    again = decode_partial_profiles(encode_partial_profiles(parts))
    assert [(p.start, p.column, p.value, p.version) for p in again] == [
        (p.start, p.column, p.value, p.version) for p in parts
    ]
    assert encode_partial_profiles(again) == encode_partial_profiles(parts)
    assert pack(unpack(pack(merge(parts)))) == pack(merge(parts))


def test_bytes_of_another_version_are_refused() -> None:
    other = encode_partial_profiles([]).replace(b"\x94\x01", b"\x94\x02", 1)
    with pytest.raises(ValueError, match="must be of version 1; got 2"):
        decode_partial_profiles(other)


def test_dead_and_late_records_are_counted_by_window_reason_and_field() -> None:
    watch = BatchProfiler(CollectParams(WINDOW, NAMES), None, 3)
    watch.dead(Problem("contract", "missing", "$.origin: required string is missing"), 2_500)
    watch.dead(Problem("contract", "missing", "$.origin: required string is missing"), 2_999)
    watch.dead(Problem("decode", "not_json", "unterminated string: at 3"), 0)
    watch.late(np.array([100, 900, 1_100]))
    parts = {p.start: p.counts for p in decode_partial_profiles(watch.take() or b"")}
    assert parts[2_000].dead == 2
    assert parts[2_000].problems == {("contract", "missing", "$.origin"): 2}
    assert parts[None].problems == {("decode", "not_json", None): 1}
    assert {start: counts.late for start, counts in parts.items()} == {0: 2, 1_000: 1, 2_000: 0, None: 0}
    assert watch.take() is None


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `schema`"),
        (b"\xff", "invalid|malformed"),
        (
            encode_profile(reference_profile(pa.table({"a": [1.0, 2.0]}))).replace(
                b"[1.0,2.0]", b"[2.0,1.0]"
            ),
            "edges",
        ),
        (
            encode_profile(reference_profile(pa.table({"a": [1.0, 2.0]}))).replace(
                b'"counts":[2]', b'"counts":[-2]'
            ),
            "negative",
        ),
        (
            encode_profile(reference_profile(pa.table({"a": ["x"]}))).replace(
                b'"counts":[1]', b'"counts":[]'
            ),
            "one count",
        ),
    ],
)
def test_a_broken_profile_is_a_clear_error(profile: bytes, message: str) -> None:
    with pytest.raises(
        ModelError, match=f"the reference profile must be of tailrace.profile/1 or 2: .*({message})"
    ):
        parse_reference(profile)


def test_counts_in_the_state_are_bytes_only_when_they_are_written() -> None:
    rows: list[Row] = [(i * 100 + 1, float(i), i % 5, 7.0, None, "DE") for i in range(30)]
    whole = merge(collected(rows))
    assert pack(pickle.loads(pickle.dumps(Kept(whole))).windows) == pack(whole)
