"""Windows against plain Python, row by row: any batches, restarts, nulls, peers, keys of all kinds.

The adversary is a stream that is cut elsewhere, or a worker that starts anew, and expects the same bits.
"""

from __future__ import annotations

import itertools
import random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples, sized
from tests.helpers.windows_by_hand import Rows, aggregates, by_engine, by_hand, table, where, windows_of
from udfs.types import ARROW, ColumnType
from udfs.windows import store
from udfs.windows.engine import Engine
from udfs.windows.params import AggregateParams, WindowParams

TYPES: dict[str, ColumnType] = {
    "x": "double",
    "n": "long",
    "s": "string",
    "b": "boolean",
    "t": "timestamp",
}
KEYS: dict[str, ColumnType] = {"key": "string", "place": "long"}
LARGEST = 2**63 - 1
DOUBLES = [
    None, 0.0, -0.0, 1.0, -1.0, 0.1, 1e17, -1e17, 1e-17, 2.0**53, 1 + 2.0**-52, 2.0**-53, 2.0**-54, 5e-324,
    -5e-324, 2.2250738585072014e-308, 1e308, -1e308, 1e160, 1e-170, 3.5, 2.5,
]  # fmt: skip
LONGS = [None, 0, 1, -1, 7, LARGEST, LARGEST - 1, -LARGEST - 1, 2**53 + 1, -(2**53) - 1, 2**62]
WORDS = [None, "", "a", "b", "é", "\U0001f600", "ﬀ"]


def rows_of(
    random_: random.Random, count: int, *, keys: int = 3, steps: tuple[int, ...] = (0, 0, 1, 3, 40)
) -> Rows:
    time = -50
    rows = []
    tame = random_.random() < 0.5
    for _ in range(count):
        time += random_.choice(steps)
        rows.append(
            {
                "time": time,
                "key": random_.choice([None, *(f"k{i}" for i in range(keys))]),
                "place": random_.choice([None, 0, LARGEST]),
                "x": random_.choice([None, random_.gauss(10, 3)]) if tame else random_.choice(DOUBLES),
                "n": random_.choice([None, random_.randrange(100)]) if tame else random_.choice(LONGS),
                "s": random_.choice(WORDS),
                "b": random_.choice([None, True, False]),
                "t": random_.choice([None, 0, -5, 1_700_000_000_000]),
            }
        )
    return rows


def bits(found: dict[str, list[Any]]) -> dict[str, list[str]]:
    """Texts that differ where bits do: 0.0 and -0.0 are equal, but not alike."""
    return {name: [repr(value) for value in values] for name, values in found.items()}


@pytest.mark.parametrize("seed", range(6))
def test_results_are_those_of_plain_python_for_any_batches_and_restarts(seed: int) -> None:
    random_ = random.Random(seed)
    rows = rows_of(random_, sized(60, 35))
    by = ["key", "place"] if seed % 3 == 2 else ["key"]
    select = aggregates(TYPES) if seed % 2 else where(aggregates(TYPES), "b")
    windows = windows_of(select, over=random_.choice([1, 5, 60]), rows=random_.choice([1, 2, 4, 30]))
    types = TYPES | KEYS
    expected, beyond = by_hand(rows, by, windows)
    drawn = random.Random(seed + 100)
    whole, overflow = by_engine(rows, by, windows, types, itertools.repeat(len(rows)))
    for name, values in expected.items():
        assert whole[name] == values, name
    assert {row for row, _ in overflow} == {row for row, _ in beyond}
    assert overflow <= beyond
    sizes = (drawn.randrange(1, 20) for _ in itertools.count())
    with patch.object(store, "FEW", 3):  # So that few rows are worth a compaction.
        cut = by_engine(rows, by, windows, types, sizes, forget=True)
    restarted = by_engine(rows, by, windows, types, itertools.repeat(15), restart=True)
    for found, other in (cut, restarted):
        assert bits(found) == bits(whole)
        assert other == overflow


SMALL = {
    "x": st.none() | st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e17, -1e17]),
    "s": st.sampled_from(WORDS),
    "b": st.booleans(),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {"gap": st.sampled_from([0, 1, 2, 9]), "key": st.sampled_from([None, "a", "b"]), **SMALL}
    ),
    min_size=1,
    max_size=25,
)
SELECT = aggregates({"x": "double", "s": "string"})
SELECT |= where(
    {name: SELECT[name] for name in ("lag(s, 3)", "time_since_last()", "first(s)", "rate(x)")}, "b"
)


@settings(max_examples=examples(15))
@given(ROWS, st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 12), st.integers(1, 6))
def test_any_cut_and_any_restart(drawn: list[dict[str, Any]], sizes: list[int], over: int, last: int) -> None:
    rows = [
        {**row, "time": time}
        for row, time in zip(drawn, itertools.accumulate(r["gap"] for r in drawn), strict=True)
    ]
    windows = windows_of(SELECT, over=over, rows=last)
    types: dict[str, ColumnType] = {"key": "string", "x": "double", "s": "string", "b": "boolean"}
    expected, _ = by_hand(rows, ["key"], windows)
    with patch.object(store, "FEW", 3):
        found, _ = by_engine(rows, ["key"], windows, types, itertools.cycle(sizes), forget=True)
    again, _ = by_engine(rows, ["key"], windows, types, itertools.cycle(sizes), restart=True)
    assert found == expected
    assert bits(again) == bits(found)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("double", [0.0, -0.0, None, 5e-324, 1e300]),
        ("long", [0, None, LARGEST, LARGEST - 1, -LARGEST - 1]),
        ("boolean", [True, False, None]),
        ("timestamp", [0, -1, None, 1_700_000_000_000]),
        ("string", ["", "a", None, "None", "é", "e\u0301"]),
    ],
)
def test_keys_are_compared_exactly(kind: ColumnType, keys: list[Any]) -> None:
    """Longs that are one double, text that says None, accents that look alike."""
    random_ = random.Random(3)
    rows = [{"time": time // 2, "key": random_.choice(keys), "x": float(time)} for time in range(60)]
    windows = windows_of(aggregates({"x": "double"}), over=20, rows=3)
    types: dict[str, ColumnType] = {"key": kind, "x": "double"}
    expected, _ = by_hand(rows, ["key"], windows)
    for found, _ in (
        by_engine(rows, ["key"], windows, types, itertools.repeat(11)),
        by_engine(rows, ["key"], windows, types, itertools.repeat(25), restart=True),
    ):
        assert found == expected


def test_overflow_says_which_result_of_which_row() -> None:
    rows = [{"time": i, "key": 0, "n": n, "x": 1e308} for i, n in enumerate([LARGEST, 1, 0, -5])]
    types: dict[str, ColumnType] = {"key": "long", "n": "long", "x": "double"}
    engine = Engine(["key"], [WindowParams(rows=2, select={"of_n": AggregateParams("sum", "n")})], types)
    results = engine.add(*table(rows, types))
    assert results.columns["of_n"].to_pylist() == [LARGEST, None, 1, -5]
    assert results.overflow == {1: "of_n"}
    select = {"mean": AggregateParams("avg", "x"), "of_x": AggregateParams("sum", "x")}
    results = Engine(["key"], [WindowParams(rows=2, select=select)], types).add(*table(rows, types))
    assert results.columns["mean"].to_pylist() == [1e308, None, None, None]
    assert results.overflow == dict.fromkeys([1, 2, 3], "mean")


def test_no_rows_and_no_results() -> None:
    types = TYPES | KEYS
    windows = windows_of(aggregates(TYPES), over=5, rows=2)
    engine = Engine(["key", "place"], windows, types)
    assert engine.columns == ("key", "place", "x", "n", "s", "b", "t")
    engine.load(*table([], types))
    engine.forget(0)
    empty = engine.add(*table([], types))
    full = engine.add(*table(rows_of(random.Random(1), 5), types))
    assert {name: column.type for name, column in empty.columns.items()} == {
        name: column.type for name, column in full.columns.items()
    }
    of_longs = {name: str(full.columns[f"over {name}(n)"].type) for name in ("sum", "min", "first", "delta")}
    assert of_longs == dict.fromkeys(of_longs, "int64")
    means = {name: str(full.columns[f"over {name}(n)"].type) for name in ("avg", "stddev", "rate")}
    assert means == dict.fromkeys(means, "double")
    assert full.columns["over min(t)"].type == ARROW["timestamp"]
    assert full.columns["rows max(s)"].type == ARROW["string"]
    assert full.columns["rows last(b)"].type == ARROW["boolean"]
