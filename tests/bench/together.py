"""Streams of columns that go together, texts and numbers, and how often their windows are called drift.

reference = reference_of(mixed(random, 10_000))
counted(reference, mixed(random, 500, 0.2))
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter

from udfs.drift.dependence import judge_pairs
from udfs.drift.judge import WindowKey
from udfs.profile.collect import Collector, PartialProfile
from udfs.profile.params import CollectParams
from udfs.profile.profile import encode_profile, pairs_of, reference_profile
from udfs.profile.reference import Reference, parse_reference

Columns = Mapping[str, NDArray[Any]]
Draw = Callable[[np.random.Generator, int], Columns]
KEY: WindowKey = (None, None, 1)
MINUTE = 60_000


def reference_of(columns: Columns, *, timed: bool = False) -> Reference:
    """With `timed` a row a minute."""
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    times = pa.chunked_array([pa.array(np.arange(len(table)) * MINUTE, pa.timestamp("ms"))])
    return parse_reference(encode_profile(reference_profile(table, event_time=times if timed else None)))


def counted(reference: Reference, columns: Mapping[str, Any]) -> PartialProfile:
    """The rows as one window."""
    arrays = {
        name: pa.array(values, pa.string() if name in "ab" else None, from_pandas=True)
        for name, values in columns.items()
    }
    collector = Collector(CollectParams(1, tuple((name, name) for name in arrays)), reference, 1)
    (part,) = collector.collect(arrays, np.ones(len(next(iter(arrays.values()))), dtype=np.int64))
    return part


def linked(random: np.random.Generator, n: int, share: float) -> dict[str, NDArray[Any]]:
    """Two texts, of which so many rows have the same place; each is as frequent whatever that share is."""
    one, other = random.integers(0, 4, n), random.integers(0, 4, n)
    other = np.where(random.random(n) < share, one, other)
    return {"a": np.char.add("a", one.astype(str)), "b": np.char.add("b", other.astype(str))}


def copied(random: np.random.Generator, n: int, share: float) -> dict[str, NDArray[Any]]:
    """The one is the other, but for so many rows."""
    return linked(random, n, 1 - share)


def waves(random: np.random.Generator, n: int, phi: float) -> NDArray[np.float64]:
    """Normal, and neighbours correlate."""
    noise = random.normal(size=n + 500) * np.sqrt(1 - phi**2)
    found: NDArray[np.float64] = lfilter([1], [1, -phi], noise)[500:]
    return found


def mixed(
    random: np.random.Generator, n: int, share: float = 0.0, phi: float = 0.0
) -> dict[str, NDArray[Any]]:
    """Two numbers that correlate, two texts, and a rare flag; so many rows of `b` follow `a`."""
    x, y = waves(random, n, phi), waves(random, n, phi)
    one = np.digitize(waves(random, n, phi), [-0.5, 0.5])
    other = np.digitize(waves(random, n, phi), [-1.0, -0.3, 0.2, 0.9])
    other = np.where(random.random(n) < share, one + 1, other)
    return {
        "x": x,
        "z": 0.8 * x + 0.6 * y,
        "a": np.char.add("a", one.astype(str)),
        "b": np.char.add("b", other.astype(str)),
        "rare": (random.random(n) < 0.01).astype(np.float64),
    }


def pairs_alone(columns: Columns, *, timed: bool = False) -> Reference:
    """As `reference_of`, in less time: without the law of the correlations, and blocks of single columns."""
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    made: dict[str, Any] = {}
    for name in table.column_names:
        made |= reference_profile(table.select([name]))["columns"]
    times = np.arange(len(table)) * MINUTE if timed else None
    profile = {
        "schema": "tailrace.profile/1",
        "rows": len(table),
        "columns": made,
        "pairs": pairs_of(table, made, dict.fromkeys(made, 1.0), times),
    }
    return parse_reference(encode_profile(profile))


def drifted(
    before: Draw, after: Draw, sizes: Sequence[int], runs: int, *, rows: int = 10_000, timed: bool = False
) -> list[int]:
    """In how many runs, each with a reference of its own, tables of a window of so many rows are drift."""
    found = [0] * len(sizes)
    for run in range(runs):
        random = np.random.default_rng([run, 16])
        reference = pairs_alone(before(random, rows), timed=timed)
        for place, n in enumerate(sizes):
            counts = counted(reference, after(random, n)).counts.pairs
            assert counts is not None
            report = judge_pairs(reference, counts, 0.01, n * MINUTE if timed else 0)
            found[place] += report is not None and report.verdict == "drift"
    return found


@dataclass(frozen=True)
class Kept:
    """A stream with a reference of 10,000 rows; with `timed` by its times."""

    title: str
    before: Draw
    after: Draw
    timed: bool = False


def _mixed(share: float = 0.0, phi: float = 0.0) -> Draw:
    return lambda random, n: mixed(random, n, share, phi)


def _wider(value: str) -> Draw:
    def draw(random: np.random.Generator, n: int) -> Columns:
        text = random.choice(["a0", "a1"], n)
        return {"a": text, "x": random.normal(size=n) * np.where(text == value, 2.0, 1.0)}

    return draw


STREAMS = (
    Kept("no change", _mixed(), _mixed()),
    Kept("no change, AR(1) .5, reference with times", _mixed(phi=0.5), _mixed(phi=0.5), timed=True),
    Kept("no change, AR(1) .9, reference with times", _mixed(phi=0.9), _mixed(phi=0.9), timed=True),
    Kept("a text follows another one in 5% of the rows", _mixed(), _mixed(0.05)),
    Kept("a text follows another one in 20% of the rows", _mixed(), _mixed(0.2)),
    Kept("the same, AR(1) .9, reference with times", _mixed(phi=0.9), _mixed(0.2, 0.9), timed=True),
    Kept("a number spreads twice as far for the other value", _wider("a0"), _wider("a1")),
)


def table(sizes: Sequence[int], runs: int) -> str:
    """How often all pairs of five columns together are drift."""
    lines = [
        f"**Windows in which columns go together otherwise: {runs} of each**",
        "",
        "| two numbers, two texts and a rare flag | " + " | ".join(f"{n:,}" for n in sizes) + " |",
        "|" + "---|" * (len(sizes) + 1),
    ]
    for each in STREAMS:
        counts = drifted(each.before, each.after, sizes, runs, timed=each.timed)
        lines.append(f"| {each.title} | " + " | ".join(f"{100 * c / runs:.3g}%" for c in counts) + " |")
        print(each.title, file=sys.stderr, flush=True)
    return "\n".join(lines)
