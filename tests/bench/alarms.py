"""How often windows without drift are called drift, and how often drift is found: Markdown tables.

    python -m tests.bench.alarms

Each run draws a reference of 10,000 rows and windows of ten independent columns.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.drift.collect import Collector
from udfs.drift.counts import WindowCounts
from udfs.drift.judge import Judged, WindowKey, judge_window
from udfs.drift.params import CollectParams, JudgeSettings
from udfs.drift.reference import ColumnReference, Reference, parse_reference
from udfs.profile import encode_profile, reference_profile

Values = npt.NDArray[np.generic]
Draw = Callable[[np.random.Generator, int], Values]

RUNS = 400
ROWS = 10_000
COLUMNS = 10
SIZES = (100, 200, 500, 5_000)
SHIFTS = (0.1, 0.25, 0.5)
SWAP = 0.05
CUT = 0.1
KEY: WindowKey = (None, None, 1)
NAMES = [f"column_{i}" for i in range(COLUMNS)]
CATEGORIES = np.array([f"value_{i:02}" for i in range(30)])

KINDS: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(size=n),
    "Student t, 2 df": lambda random, n: random.standard_t(2, size=n),
    "30 categories": lambda random, n: random.choice(CATEGORIES, size=n),
}
CUT_OFFS = ("wasserstein", "psi", "jensen_shannon")
TITLES = {"wasserstein": "W1 ≥ 0.1", "psi": "PSI ≥ 0.1", "jensen_shannon": "JS ≥ 0.1"}


def reference_of(columns: Sequence[Values]) -> Reference:
    """Column by column, so that no joint law is drawn: it has its own tests."""
    found: dict[str, ColumnReference] = {}
    for name, values in zip(NAMES, columns, strict=False):
        profile = reference_profile(pa.table({name: pa.array(values)}))
        found |= parse_reference(encode_profile(profile)).columns
    return Reference(len(columns[0]), found, {}, None)


def counts_of(collector: Collector, columns: Sequence[Values]) -> WindowCounts:
    """One window of all rows."""
    arrays = {name: pa.array(values) for name, values in zip(NAMES, columns, strict=True)}
    (part,) = collector.collect(arrays, np.ones(len(columns[0]), dtype=np.int64))
    return part.counts


def collector_of(reference: Reference) -> Collector:
    """Counts all columns, in windows of an hour."""
    return Collector(CollectParams(3_600_000, tuple((name, name) for name in NAMES)), reference, 1)


def changed(kind: str, values: Values, change: float) -> Values:
    """Numbers moved up by `change` scales; or that share of the rows given the first category."""
    if kind != "30 categories":
        return values + change  # type: ignore[operator,no-any-return]
    return np.where(np.arange(len(values)) < change * len(values), CATEGORIES[0], values)


def count_run(
    kind: str, sizes: Sequence[int], random: np.random.Generator, changes: Sequence[float]
) -> Counter[str]:
    """What happened in the windows of one run, by size: see the titles of the tables."""
    draw = KINDS[kind]
    found: Counter[str] = Counter()
    reference = reference_of([draw(random, ROWS) for _ in NAMES])
    collector = collector_of(reference)
    for n in sizes:
        columns = [draw(random, n) for _ in NAMES]
        earlier = counts_of(collector, [draw(random, n) for _ in NAMES])
        quiet = _judge(reference, counts_of(collector, columns), earlier)
        found[f"{n} drift"] += quiet.verdict == "drift"
        found[f"{n} previous"] += any(c.previous and c.previous.verdict == "drift" for c in quiet.columns)
        found.update(_exceeded(n, quiet))
        for change in changes:
            moved = [changed(kind, columns[0], change), *columns[1:]]
            loud = _judge(reference, counts_of(collector, moved), None)
            found[f"{n} found {change}"] += NAMES[0] in loud.drifted
    return found


def main() -> None:
    """Prints the tables; takes some minutes on one core."""
    totals: dict[str, Counter[str]] = {}
    for seed, kind in enumerate(KINDS):
        changes = (SWAP,) if kind == "30 categories" else SHIFTS
        totals[kind] = Counter()
        for run in range(RUNS):
            totals[kind] += count_run(kind, SIZES, np.random.default_rng([seed, run]), changes)
        print(f"{kind}: {RUNS} runs", file=sys.stderr, flush=True)
    print("\n\n".join((false_alarms(totals), power(totals), single(totals))))


def false_alarms(totals: dict[str, Counter[str]]) -> str:
    """The rate per window of ten columns; for the cut-offs also of a single column."""
    head = ["data", "window", "Tailrace", "against the previous window"]
    rows = [[*head, *(f"{TITLES[name]}: ten columns (one)" for name in CUT_OFFS)]]
    for kind, total in totals.items():
        for n in SIZES:
            cuts = [
                f"{_rate(total[f'{n} any {name}'], RUNS)} ({_single(total, n, 'each', name)})"
                for name in CUT_OFFS
            ]
            rows.append(
                [kind, f"{n:,}", _rate(total[f"{n} drift"], RUNS), _rate(total[f"{n} previous"], RUNS), *cuts]
            )
    return _table("False alarms: windows without drift that are called drift", rows)


def power(totals: dict[str, Counter[str]]) -> str:
    """How often the one column of ten that changed is named."""
    labels = {**{shift: f"shift of {shift} σ" for shift in SHIFTS}, SWAP: "5% of the rows swapped"}
    rows = [["data", "change", *(f"{n:,}" for n in SIZES)]]
    for kind, total in totals.items():
        for change in (SWAP,) if kind == "30 categories" else SHIFTS:
            rates = [_rate(total[f"{n} found {change}"], RUNS) for n in SIZES]
            rows.append([kind, labels[change], *rates])
    return _table("Power: one column of ten changed, and it was named", rows)


def single(totals: dict[str, Counter[str]]) -> str:
    """How well each statistic's own threshold at 1% holds for a single column without drift."""
    names = ("psi", "jensen_shannon", "hellinger", "chi2", "ks", "wasserstein", "mean", "l_infinity")
    rows = [["data", "window", *names]]
    for kind, total in totals.items():
        for n in SIZES:
            rates = [_single(total, n, "above", name) for name in names]
            rows.append([kind, f"{n:,}", *rates])
    return _table("Single columns without drift above the statistic's threshold at 1%", rows)


def _judge(reference: Reference, counts: WindowCounts, earlier: WindowCounts | None) -> Judged:
    previous = {KEY: earlier} if earlier else {}
    return judge_window({KEY: reference}, {}, {KEY: counts}, previous, JudgeSettings())[KEY]


def _exceeded(n: int, judged: Judged) -> Counter[str]:
    found: Counter[str] = Counter()
    for column in judged.columns:
        for name, statistic in column.statistics.items():
            found[f"{n} has {name}"] += 1
            found[f"{n} above {name}"] += statistic.value >= statistic.threshold
            found[f"{n} each {name}"] += statistic.value >= CUT
    for name in CUT_OFFS:
        found[f"{n} any {name}"] += found[f"{n} each {name}"] > 0
    return found


def _single(total: Counter[str], n: int, what: str, name: str) -> str:
    return _rate(total[f"{n} {what} {name}"], RUNS * COLUMNS) if total[f"{n} has {name}"] else "-"


def _rate(count: int, of: int) -> str:
    return f"{100 * count / of:.3g}%"


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([f"**{title}**", "", head, "|" + "---|" * len(rows[0]), *body])


if __name__ == "__main__":
    main()
