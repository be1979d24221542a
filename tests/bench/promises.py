"""Streams on which tests of drift are known to break, and how often their windows are called drift: a table.

    python -m tests.bench.alarms --promises

One column each, so that no other column's test lends it some of the level.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter

from tests.bench import together
from udfs.drift.compare import Alike, compare
from udfs.drift.judge import SegmentVerdict, WindowKey, judge_window
from udfs.drift.params import JudgeSettings
from udfs.profile.blocks import correlation_in, correlation_of_all
from udfs.profile.collect import Collector
from udfs.profile.counts import WindowCounts
from udfs.profile.params import CollectParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference

Floats = NDArray[np.float64]
Values = NDArray[np.generic]
Draw = Callable[[np.random.Generator, int], Values]
KEY: WindowKey = (None, None, 1)
MINUTE = 60_000
SIZES = (200, 500, 5_000, 20_000)


def known(values: Values, *, timed: bool = False) -> Reference:
    table = pa.table({"x": pa.array(values, from_pandas=True)})
    times = pa.chunked_array([pa.array(np.arange(len(values)) * MINUTE, pa.timestamp("ms"))])
    profile = reference_profile(table, event_time=times if timed else None)
    return parse_reference(encode_profile(profile))


def judged(
    reference: Reference, values: Values, settings: JudgeSettings | None = None, window_ms: int = 0
) -> SegmentVerdict:
    windows = {KEY: _counts(reference, values)}
    return judge_window({KEY: reference}, {}, windows, {}, settings or JudgeSettings(), window_ms)[KEY]


def is_drift(reference: Reference, values: Values, window_ms: int = 0) -> bool:
    """The verdict of `judged` by its tests alone, as what it reports takes ten times as long."""
    column, settings = reference.columns["x"], JudgeSettings()
    alike = Alike(correlation_of_all(column.blocks), correlation_in(column.blocks, window_ms))
    tests = compare([column.as_counts()], [_counts(reference, values).columns["x"]], alike)
    return bool(tests.p[0] <= settings.level and tests.matters(settings)[0])


def _counts(reference: Reference, values: Values) -> WindowCounts:
    collector = Collector(CollectParams(1, (("x", "x"),)), reference, 1)
    column = pa.array(values, from_pandas=True)
    (part,) = collector.collect({"x": column}, np.ones(len(values), dtype=np.int64))
    return part.counts


def drifted(before: Draw, after: Draw, n: int, runs: int, rows: int = 10_000, *, timed: bool = False) -> int:
    """In how many runs, each with a reference of its own, a window of n rows is drift; a row a minute."""
    found = 0
    for run in range(runs):
        random = np.random.default_rng([run, n])
        reference = known(before(random, rows), timed=timed)
        found += is_drift(reference, after(random, n), n * MINUTE if timed else 0)
    return found


def zipf(size: int) -> Draw:
    shares = 1 / np.arange(1, size + 1)
    names = np.array([f"v{i * 7919 % size:04}" for i in range(size)])
    return lambda random, n: names[random.choice(size, size=n, p=shares / shares.sum())]


def ids(random: np.random.Generator, n: int) -> Values:
    return np.char.add("id", random.integers(0, 1 << 60, size=n).astype(str))


def normal(random: np.random.Generator, n: int) -> Values:
    return random.normal(size=n)


def flag(rate: float) -> Draw:
    return lambda random, n: (random.random(n) < rate).astype(np.float64)


def missing(rate: float) -> Draw:
    return lambda random, n: np.where(random.random(n) < rate, np.nan, random.normal(size=n))


def wide_tail(random: np.random.Generator, n: int) -> Values:
    """A row of 20 spreads three times as far."""
    spread: Floats = np.where(random.random(n) < 0.05, 3.0, 1.0)
    return random.normal(size=n) * spread


def spike(random: np.random.Generator, n: int) -> Values:
    return random.normal(size=n) + 6 * (random.random(n) < 0.01)


def autoregressive(phi: float) -> Draw:
    def draw(random: np.random.Generator, n: int) -> Values:
        noise = random.normal(size=n + 500) * np.sqrt(1 - phi**2)
        found: Floats = lfilter([1], [1, -phi], noise)[500:]
        return found

    return draw


@dataclass(frozen=True)
class Promise:
    """What is drawn for the reference of `rows`, and for windows; with `timed` by the reference's times."""

    title: str
    before: Draw
    after: Draw
    rows: int = 10_000
    timed: bool = False


def shifted(draw: Draw, shift: float) -> Draw:
    return lambda random, n: np.asarray(draw(random, n), dtype=np.float64) + shift


def new_values(draw: Draw, share: float) -> Draw:
    return lambda random, n: np.where(random.random(n) < share, ids(random, n), draw(random, n))


def _same(title: str, draw: Draw, rows: int = 10_000, *, timed: bool = False) -> Promise:
    return Promise(title, draw, draw, rows, timed)


NO_CHANGE = (
    _same("Zipf, 300 values, reference of 300", zipf(300), 300),
    _same("Zipf, 300 values, reference of 1,000", zipf(300), 1_000),
    _same("Zipf, 2,000 values, reference of 1,000", zipf(2_000), 1_000),
    _same("Zipf, 1,000 values, reference of 5,000", zipf(1_000), 5_000),
    _same("a value of its own in each row, reference of 1,000", ids, 1_000),
    _same("flag in .1% of the rows", flag(0.001)),
    _same("missing in 1% of the rows", missing(0.01)),
    _same("AR(1) .5, reference with times", autoregressive(0.5), timed=True),
    _same("AR(1) .9, reference with times", autoregressive(0.9), timed=True),
    _same("AR(1) .98, reference with times", autoregressive(0.98), timed=True),
)
CHANGES = (
    Promise("Zipf, 300 values, of 1,000; 15% new ones", zipf(300), new_values(zipf(300), 0.15), 1_000),
    Promise("5% of the rows spread 3 times as far", normal, wide_tail),
    Promise("1% of the rows at +6 σ", normal, spike),
    Promise("flag from .1% to .5%", flag(0.001), flag(0.005)),
    Promise("missing from 1% to 2%", missing(0.01), missing(0.02)),
    Promise("shift of .1 σ", normal, shifted(normal, 0.1)),
    Promise("shift of .01 σ", normal, shifted(normal, 0.01)),
    Promise("AR(1) .9, shift of 1 σ", autoregressive(0.9), shifted(autoregressive(0.9), 1), timed=True),
)


def tables(runs: int) -> str:
    """Of single columns without a change, and with one; then of how columns go together."""
    titles = ("Windows without a change that are called drift", "Windows with a change that are called drift")
    single = "\n\n".join(
        _table(f"{title}: one column, {runs} windows each", promises, runs)
        for title, promises in zip(titles, (NO_CHANGE, CHANGES), strict=True)
    )
    return f"{single}\n\n{together.table(SIZES, runs)}"


def _table(title: str, promises: Sequence[Promise], runs: int) -> str:
    lines = [f"**{title}**", "", "| data | " + " | ".join(f"{n:,}" for n in SIZES) + " |"]
    lines.append("|" + "---|" * (len(SIZES) + 1))
    for each in promises:
        found = [drifted(each.before, each.after, n, runs, each.rows, timed=each.timed) for n in SIZES]
        lines.append(
            "| " + " | ".join([each.title, *(f"{100 * count / runs:.3g}%" for count in found)]) + " |"
        )
        print(each.title, file=sys.stderr, flush=True)
    return "\n".join(lines)
