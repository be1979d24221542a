"""What an engine keeps: as many rows as windows can need, of keys that come and go, whatever their times.

The adversaries are a stream without end, a key that is silent for long, and a record from another age.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tests.helpers.windows_by_hand import table
from udfs.types import ColumnType
from udfs.windows.engine import Engine, needed
from udfs.windows.params import AggregateParams, WindowParams

TYPES: dict[str, ColumnType] = {"key": "string", "x": "double"}
SELECT = {
    "count": AggregateParams("count", "x"),
    "most": AggregateParams("max", "x"),
    "sum": AggregateParams("sum", "x"),
}


def batch(keys: list[str], times: list[int], values: list[float]) -> tuple[pa.Table, NDArray[np.int64]]:
    return pa.table({"key": keys, "x": values}), np.array(times, dtype=np.int64)


def test_a_stream_without_end_keeps_what_its_windows_need() -> None:
    """Keys have paces of their own, new ones come, old ones go."""
    random_ = random.Random(1)
    over = 1_000
    engine = Engine(["key"], [WindowParams(over_ms=over, select=SELECT)], TYPES)
    kept: dict[str, deque[tuple[int, float]]] = defaultdict(deque)
    time, most = 0, 0
    for turn in range(120):
        keys, times, values = [], [], []
        for _ in range(100):
            time += random_.randrange(1, 10)
            keys.append(f"{turn // 10}/{int(random_.paretovariate(0.7)) % 50}")
            times.append(time)
            values.append(random_.choice([0.1, 0.3, 1e17, -1e17]))
        found = engine.add(*batch(keys, times, values)).columns
        for row, (key, at, value) in enumerate(zip(keys, times, values, strict=True)):
            rows = kept[key]
            rows.append((at, value))
            while rows[0][0] < at - over:
                rows.popleft()
            inside = [x for _, x in rows]
            assert found["count"][row].as_py() == len(inside)
            assert found["most"][row].as_py() == max(inside)
            assert found["sum"][row].as_py() == math.fsum(inside)
        engine.forget(time)
        most = max(most, len(engine))
    alive = over // 5
    assert most < 2 * alive + 2_000
    assert engine.keys < 2 * alive + 2_000


def test_a_silent_key_keeps_its_last_rows() -> None:
    """Those that windows of rows and lags need, however old, and no more."""
    select = {"lag": AggregateParams("lag", "x", offset=3), "first": AggregateParams("first", "x")}
    windows = [WindowParams(over_ms=10, select=SELECT), WindowParams(rows=2, select=select)]
    engine = Engine(["key"], windows, TYPES)
    engine.add(*batch(["old"] * 9, list(range(9)), [float(i) for i in range(9)]))
    for turn in range(150):
        times = [100 + 20 * turn + i for i in range(20)]
        engine.add(*batch([f"{i % 4}" for i in range(20)], times, [1.0] * 20))
        engine.forget(times[-1])
    assert len(engine) < 2_100
    found = engine.add(*batch(["old"], [4_000], [9.0])).columns
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "count": [1],
        "most": [9.0],
        "sum": [9.0],
        "lag": [6.0],
        "first": [8.0],
    }


def test_a_burst_is_forgotten_though_few_rows_follow() -> None:
    engine = Engine(["key"], [WindowParams(over_ms=1_000, select=SELECT)], TYPES)
    engine.add(*batch([f"{i}" for i in range(20_000)], [i // 40 for i in range(20_000)], [1.0] * 20_000))
    assert len(engine) == engine.keys == 20_000
    for time in range(500, 4_000, 100):
        engine.add(*batch(["one"], [time], [1.0]))
        engine.forget(time)
    assert len(engine) < 20
    assert engine.keys < 1_200


@pytest.mark.parametrize("watermark", [-(2**63), 2**63 - 1])
def test_the_first_and_the_last_watermark(watermark: int) -> None:
    """Before the first record, and after the end of a bounded input."""
    engine = Engine(
        ["key"], [WindowParams(over_ms=1_000, select=SELECT), WindowParams(rows=2, select={})], TYPES
    )
    for turn in range(8):
        engine.add(*batch([f"{i}" for i in range(2_000)], [turn] * 2_000, [1.0] * 2_000))
        engine.forget(watermark)
    rows, time = batch(["a", "a", "a", "b"], [0, 1, 2, 3], [1.0] * 4)
    kept = needed(rows, time, watermark, [WindowParams(over_ms=1_000), WindowParams(rows=2)], ["key"])
    assert kept.tolist() == [watermark < 0, True, True, True]
    assert len(engine) == 16_000 if watermark < 0 else len(engine) <= 8_000


def test_keys_that_never_return_leave() -> None:
    engine = Engine(["key"], [WindowParams(over_ms=10, select=SELECT)], TYPES)
    for turn in range(60):
        engine.add(*batch([f"{turn}/{i}" for i in range(500)], [20 * turn] * 500, [1.0] * 500))
        engine.forget(20 * turn + 15)
    assert len(engine) <= 500
    assert engine.keys < 3_000


def test_strings_and_distinct_values_are_forgotten_too() -> None:
    types: dict[str, ColumnType] = {"key": "string", "s": "string"}
    select = {
        "least": AggregateParams("min", "s"),
        "most": AggregateParams("max", "s"),
        "distinct": AggregateParams("count", "s", distinct=True),
    }
    engine = Engine(["key"], [WindowParams(over_ms=5, select=select)], types)
    for turn in range(40):
        keys = [f"{turn // 4}-{i}" for i in range(200)]
        rows = pa.table({"key": keys, "s": [f"{turn % 7}"] * 200})
        found = engine.add(rows, np.full(200, 3 * turn)).columns
        expected = {f"{t % 7}" for t in (turn - 1, turn) if t >= 0 and t // 4 == turn // 4}
        assert found["least"].to_pylist() == [min(expected)] * 200
        assert found["most"].to_pylist() == [max(expected)] * 200
        assert found["distinct"].to_pylist() == [len(expected)] * 200
        engine.forget(3 * turn)
    assert engine.keys < 2_000


def test_times_from_other_ages() -> None:
    """Keys and milliseconds of 10,000 years do not fit into 63 bits beside each other."""
    keys = [f"{i}" for i in range(9_000)]
    year_one, year_9999 = -62_135_596_800_000, 253_402_300_799_999
    select = {"before": AggregateParams("first", "x")}
    windows = [WindowParams(over_ms=10, select=SELECT), WindowParams(rows=2, select=select)]
    engine = Engine(["key"], windows, TYPES)
    seen: list[int] = []
    for time in (year_one, year_one + 10, year_one + 11, 0, 5, year_9999 - 7, year_9999):
        times = [time] * len(keys)
        found = engine.add(*batch(keys, times, [float(time)] * len(keys))).columns
        assert found["count"].unique().to_pylist() == [sum(t >= time - 10 for t in (*seen, time))]
        assert found["before"].unique().to_pylist() == [float(seen[-1] if seen else time)]
        seen.append(time)
    mixed = engine.add(*batch(["a"] * 4, [-5, 0, 5, year_9999], [1.0, 2.0, 3.0, 4.0])).columns
    assert mixed["count"].to_pylist() == [1, 2, 3, 1]


@pytest.mark.parametrize("seed", range(3))
def test_needed_rows_are_those_of_the_longest_window_and_the_last_of_each_key(seed: int) -> None:
    random_ = random.Random(seed)
    rows = [{"time": i // 3, "key": random_.choice([None, "a", "b", "c"]), "x": 0.0} for i in range(60)]
    lag = AggregateParams("lag", "x", offset=4)
    windows = [
        WindowParams(over_ms=3, select={"lag": lag}),
        WindowParams(over_ms=5, select=SELECT),
        WindowParams(rows=2, select={"n": AggregateParams("count")}),
    ]
    later = [[row["key"] for row in rows[i + 1 :]].count(rows[i]["key"]) for i in range(60)]
    for watermark in (0, 10, 19, 30):
        expected = [i // 3 >= watermark - 5 or later[i] < 5 for i in range(60)]
        assert needed(*table(rows, TYPES), watermark, windows, ["key"]).tolist() == expected
        expected = [i // 3 >= watermark - 5 for i in range(60)]
        assert needed(*table(rows, TYPES), watermark, windows[1:2], ["key"]).tolist() == expected
    empty = needed(*table([], TYPES), 0, windows, ["key"])
    assert empty.tolist() == []
