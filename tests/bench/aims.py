"""What Tailrace is to reach, and whether it did in this run: ratios of medians within a round, and waits."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench.latency import OUT_OF_ORDER_MS
from tests.bench.rounds import Runs, ratios

# contender, the one it is compared with, and the least ratio of their records a second.
RATES = (
    ("windowed", "bare", 1.0),
    ("windowed", "stateless", 0.75),
    ("windowed_100", "windowed", 0.9),
    ("windowed_1000", "windowed", 0.9),
    ("windowed_10000", "windowed", 0.9),
    ("skewed", "windowed_100", 0.9),
    ("backlog", "windowed", 0.9),
)
# Milliseconds, of 99 in 100 predictions.
WAITS = {"stateless": 40.0, "windowed": OUT_OF_ORDER_MS + 60.0}


@dataclass(frozen=True)
class Aim:
    """In words, as numbers, and whether it was met."""

    words: str
    aim: str
    measured: str
    met: bool


def aims(runs: Runs, waits: Mapping[str, Mapping[str, float]]) -> Iterator[Aim]:
    """Those of which both sides ran."""
    for name, base, least in RATES:
        if name in runs and base in runs:
            ratio = statistics.median(ratios(runs[name], runs[base], "records_per_s"))
            words = f"records a second of `{name}` to `{base}`"
            yield Aim(words, f"at least {least}", f"{ratio:.2f}", ratio >= least)
    for name, most in WAITS.items():
        if name in waits:
            p99 = waits[name]["p99_ms"]
            words = f"latency of `{name}`, 99 in 100"
            yield Aim(words, f"at most {most:,.0f} ms", f"{p99:,.0f} ms", p99 <= most)
