"""Windows against plain Python, row by row: any batches, restarts, nulls, peers, keys of all kinds.

The adversary is a stream that is cut elsewhere, or a worker that starts anew, and expects the same bits.
"""

from __future__ import annotations

import itertools
import random

import pytest

from tests.helpers.windows_by_hand import Rows, aggregates, by_engine, by_hand, windows_of
from udfs.types import ColumnType

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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [["key"], ["key", "place"]])
def test_results_are_those_of_plain_python_for_any_batches_and_restarts(seed: int, by: list[str]) -> None:
    random_ = random.Random(seed)
    rows = rows_of(random_, 70)
    windows = windows_of(
        aggregates(TYPES), over=random_.choice([1, 5, 60]), rows=random_.choice([1, 2, 4, 30])
    )
    types = TYPES | KEYS
    expected, beyond = by_hand(rows, by, windows)
    sizes = random.Random(seed + 100)
    for found, overflow in (
        by_engine(rows, by, windows, types, itertools.repeat(1)),
        by_engine(rows, by, windows, types, itertools.repeat(len(rows))),
        by_engine(rows, by, windows, types, (sizes.randrange(1, 12) for _ in itertools.count()), forget=True),
        by_engine(rows, by, windows, types, itertools.repeat(7), restart=True),
    ):
        for name, values in expected.items():
            assert found[name] == values, name
        assert {row for row, _ in overflow} == {row for row, _ in beyond}
        assert overflow <= beyond
