"""How often windows without drift are called drift, and how often drift is found: Markdown tables.

    python -m tests.bench.alarms --page docs/drift.md
    python -m tests.bench.alarms --json FILE --minutes 20      # some of it; again, and it goes on
    python -m tests.bench.alarms --promises --page docs/drift.md

Each run draws a reference of 10,000 rows, and windows. In most runs only the verdicts are looked at, by the
judge's tests without its reports; in the others it is checked that they are the judge's verdicts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from tests.bench.promises import tables
from tests.bench.streams import KEY, NAMES, STREAMS, SWAP, WEEK, WINDOW_MS, Known, Stream
from udfs.drift.judge import SegmentVerdict

RUNS = 2_000
MORE_RUNS = 400
FULL_RUNS = 200
PARTS_FULL_RUNS = 10
_PART = 50
# A stream, and the number of the first of `_PART` runs.
Task = tuple[str, int]
ROWS = 10_000
SIZES = (100, 200, 500, 5_000)
CUT = 0.1
CUT_OFFS = ("wasserstein", "psi", "jensen_shannon")
TITLES = {"wasserstein": "W1 ≥ 0.1", "psi": "PSI ≥ 0.1", "jensen_shannon": "JS ≥ 0.1"}


def count_run(
    stream: Stream,
    sizes: Sequence[int],
    random: np.random.Generator,
    *,
    more: bool = False,
    full: bool = False,
) -> Counter[str]:
    """What happened in the windows of one run, by size: see the titles of the tables.

    `more`: also against the previous window, and with changes; `full`: also what the judge reports.
    """
    found: Counter[str] = Counter(runs=1, more=more, full=full)
    known = Known(stream, stream.draw(random, ROWS, WEEK))
    for n in sizes:
        start = int(random.integers(0, WEEK[1] // WINDOW_MS)) * WINDOW_MS
        span = (start, start + WINDOW_MS)
        rows = stream.draw(random, n, span)
        counts = known.counts(rows)
        drifted = known.drifted(counts, span)
        found[f"{n} drift"] += bool(drifted)
        earlier = known.counts(stream.draw(random, n, span)) if more else {}
        if more:
            found[f"{n} previous"] += bool(known.drifted(counts, span, earlier))
            for change in stream.changes:
                moved = known.drifted(known.counts(stream.changed(rows, change)), span)
                found[f"{n} found {change}"] += any(name == NAMES[0] for _, name in moved)
        if full:
            judged = known.judged(counts, earlier, span)
            assert drifted == {(key, name) for key, each in judged.items() for name in each.drifted}
            found.update(_exceeded(n, judged[KEY]))
    return found


def main() -> None:
    """Prints the tables; takes most of half an hour on two cores, with `--promises` ten minutes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--promises", action="store_true", help="only the streams that break other tests")
    options.add_argument("--runs", type=int, default=200, help="with `--promises`, windows of each, and size")
    options.add_argument("--json", type=Path, metavar="FILE", help="what was counted, to go on from")
    options.add_argument("--minutes", type=float, default=math.inf, help="no new runs after so long")
    options.add_argument("--page", type=Path, metavar="FILE", help="write it into docs/drift.md")
    chosen = options.parse_args()
    made = (
        {"promises": tables(chosen.runs)} if chosen.promises else _judged_tables(chosen.json, chosen.minutes)
    )
    print("\n\n".join(made.values()))
    if chosen.page:
        page = chosen.page.read_text()
        for name, found in made.items():
            page = within(page, name, found)
        chosen.page.write_text(page)


def within(page: str, name: str, found: str) -> str:
    """The page with these tables in place of those between the marks of that name."""
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.split(first)
    _, after = rest.split(last)
    return f"{before}{first}\n\n{found}\n\n{last}{after}"


def _judged_tables(kept: Path | None, minutes: float) -> dict[str, str]:
    """Of all runs that are known or are counted within the minutes, kind by kind as many."""
    known = json.loads(kept.read_text()) if kept and kept.exists() else {}
    tasks = [(kind, first) for first in range(0, RUNS, _PART) for kind in STREAMS]
    left = [task for task in tasks if _name(task) not in known]
    end = time.monotonic() + 60 * minutes
    with ProcessPoolExecutor(2) as pool:
        for some in _batched(left, len(STREAMS)):
            if time.monotonic() > end:
                break
            known |= dict(zip(map(_name, some), pool.map(_some_runs, some), strict=True))
            print(f"{len(known)} of {len(tasks)} parts", file=sys.stderr, flush=True)
            if kept:
                kept.write_text(json.dumps(known))
    totals = {
        kind: sum((Counter(known[_name(t)]) for t in tasks if t[0] == kind and _name(t) in known), Counter())
        for kind in STREAMS
    }
    made = {"false alarms": false_alarms, "cut-offs": cut_offs, "power": power, "single": single}
    return {name: table(totals) for name, table in made.items()}


def _name(task: Task) -> str:
    return f"{task[0]}, from {task[1]}"


def _batched(tasks: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    return (tasks[first : first + size] for first in range(0, len(tasks), size))


def _some_runs(task: Task) -> Counter[str]:
    kind, first = task
    stream, total = STREAMS[kind], Counter[str]()
    for run in range(first, first + _PART):
        random = np.random.default_rng([list(STREAMS).index(kind), run])
        full = run < (PARTS_FULL_RUNS if stream.segments or stream.seasonal else FULL_RUNS)
        total += count_run(stream, SIZES, random, more=run < MORE_RUNS, full=full)
    return total


def false_alarms(totals: dict[str, Counter[str]]) -> str:
    """The rate per window, with an interval that holds the true one with 95%."""
    rows = [["data", "windows", *(f"of {n:,} records" for n in SIZES), "against the previous window"]]
    for kind, total in totals.items():
        rates = [_interval(total[f"{n} drift"], total["runs"]) for n in SIZES]
        before = [_rate(total[f"{n} previous"], total["more"]) for n in SIZES]
        rows.append([kind, f"{total['runs']:,}", *rates, ", ".join(before)])
    return _table("False alarms: windows without drift that are called drift", rows)


def cut_offs(totals: dict[str, Counter[str]]) -> str:
    """Windows in which a fixed cut-off is passed, by any column, and by a single one."""
    rows = [["data", "window", *(f"{TITLES[name]}: ten columns (one)" for name in CUT_OFFS)]]
    for kind, total in totals.items():
        for n in SIZES:
            cuts = [
                f"{_rate(total[f'{n} any {name}'], total['full'])} ({_single(total, n, 'each', name)})"
                for name in CUT_OFFS
                if total[f"{n} has {name}"]
            ]
            rows.append([kind, f"{n:,}", *["-"] * (len(CUT_OFFS) - len(cuts)), *cuts])
    return _table("The usual fixed cut-offs on the same windows", rows)


def power(totals: dict[str, Counter[str]]) -> str:
    """How often the one column of ten that changed is named."""
    rows = [["data", "change", *(f"{n:,}" for n in SIZES)]]
    for kind, total in totals.items():
        for change in STREAMS[kind].changes:
            label = "5% of the rows swapped" if change == SWAP else f"shift of {change} σ"
            label += " in one segment" if STREAMS[kind].segments else ""
            rates = [_rate(total[f"{n} found {change}"], total["more"]) for n in SIZES]
            rows.append([kind, label, *rates])
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


def _exceeded(n: int, judged: SegmentVerdict) -> Counter[str]:
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
    has = total[f"{n} has {name}"]
    return _rate(total[f"{n} {what} {name}"], has) if has else "-"


def _rate(count: int, of: int) -> str:
    return f"{100 * count / of:.3g}%"


def _interval(count: int, of: int) -> str:
    between = binomtest(count, of).proportion_ci(0.95)
    return f"{_rate(count, of)} ({100 * between.low:.2g} to {100 * between.high:.2g})"


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([f"**{title}**", "", head, "|" + "---|" * len(rows[0]), *body])


if __name__ == "__main__":
    main()
