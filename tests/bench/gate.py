"""How often the gate is wrong about a canary, and how many labels it needs: a Markdown table, or JSON.

    python -m tests.bench.gate --json gate.json
    python -m tests.bench.gate --json gate.json --minutes 7     # some of it; again, and it goes on

Canaries are looked at in 288 windows, a day of five minutes each. Records are drawn from two million of a
logistic model with noise; a worse version has the scores of other records for some of its own, so that the
scores alone do not tell. The decisions are the product's: `labelled`, `judge_gate` and `decide`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from udfs.alerts.records import WindowSpan
from udfs.releases.log import Canary, ReleaseLog, ReleaseRecord
from udfs.releases.route import BUCKETS
from udfs.rollout.compare import compare_window
from udfs.rollout.events import Role
from udfs.rollout.gate import Automatic, Evidence, Gate, decide, judge_gate
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelSums
from udfs.rollout.losses import FINE, FLOOR, LossSum, Quality
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import SCORE_BINS, VersionCounts
from udfs.times import iso

LOOKS = 288
WINDOW_MS = 300_000
POOL = 1 << 20
ERRORS = 0.002
POWER = 0.9
# So many plans have all runs, the others a tenth.
FULL = 2
# Records of one key lie so near each other in likelihood.
ALIKE = POOL // 4
KEYS = (5_000, 1_000, 200, 50)
GATE = Gate(records=1_000, latency=None, quality=0.05)
AUTOMATIC = Automatic()
Floats = npt.NDArray[np.float64]
Key = tuple[int, int, Role, int]


@dataclass(frozen=True)
class Population:
    """`POOL` records that one version scored: loss and bin of the score."""

    losses: Floats
    score_bins: npt.NDArray[np.intp]

    @property
    def mean(self) -> float:
        return float(self.losses.mean())

    @property
    def variance(self) -> float:
        return float(self.losses.var())


class World:
    """What is true of `POOL` records, the likelier ones last, and what versions say of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        random = np.random.default_rng(seed)
        self._log_odds = np.sort(random.normal(-1.2, 1.3, POOL))
        self._truth = random.random(POOL) < 1 / (1 + np.exp(-self._log_odds))

    def version(self, number: int, worse: float = 0.0) -> Population:
        """Each has its own mistakes; its mean log loss is higher than that of others by the part `worse`."""
        random = np.random.default_rng([self._seed, number])
        scores = 1 / (1 + np.exp(-(self._log_odds + random.normal(0, 0.4, POOL))))
        if worse:
            own, strange = self._losses(scores), random.permutation(scores)
            share = worse * own.mean() / (self._losses(strange).mean() - own.mean())
            scores = np.where(random.random(POOL) < share, strange, scores)
        score_bins = np.minimum((scores * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
        return Population(self._losses(scores), score_bins)

    def _losses(self, scores: Floats) -> Floats:
        chance = np.where(self._truth, scores, 1 - scores)
        return np.asarray(-np.log(np.clip(chance, FLOOR, 1 - FLOOR)))


@dataclass
class Side:
    """One version under one release: what was counted of it."""

    counts: VersionCounts = field(default_factory=VersionCounts)
    quality: Quality = field(default_factory=lambda: Quality("binary"))

    def add(self, other: Side) -> None:
        self.counts = self.counts.merged(other.counts)
        self.quality = self.quality.merged(other.quality)


Ints = npt.NDArray[np.intp]
# n records of one side: their places in the pool, and the buckets of their keys.
Draw = Callable[[int], tuple[Ints, Ints]]


def scored(population: Population, n: int, labels: int, draw: Draw, random: np.random.Generator) -> Side:
    """n records, of which so many have labels."""
    chosen, buckets = draw(n)
    score_bins = population.score_bins[chosen]
    losses = np.rint(population.losses[chosen[:labels]] * FINE).astype(np.int64).astype(object)
    failed = random.random(n) < ERRORS
    sums = [np.bincount(buckets, each, BUCKETS) for each in (~failed, failed, score_bins * ~failed)]
    by_bucket = np.zeros((2, BUCKETS), dtype=object)
    np.add.at(by_bucket[0], buckets[:labels], 1)
    np.add.at(by_bucket[1], buckets[:labels], losses)
    bad = int(failed.sum())
    return Side(
        VersionCounts(
            n - bad,
            bad,
            histogram={b: c for b, c in enumerate(np.bincount(score_bins[~failed]).tolist()) if c},
            clusters={
                b: (int(rows), int(wrong), int(total))
                for b, (rows, wrong, total) in enumerate(zip(*sums, strict=True))
                if rows or wrong
            },
        ),
        Quality(
            "binary",
            LossSum(labels, sum(losses), sum(loss * loss // FINE for loss in losses)),
            clusters={b: (k, total) for b, (k, total) in enumerate(by_bucket.T.tolist()) if k},
        ),
    )


@dataclass(frozen=True)
class Plan:
    """`records` a window, of which the canary gets `share`; labels come to the part `labels`.

    With `steps` the canary moves by itself. Without, it is looked at in all windows unless it fails. With
    `keys` records belong to so many, each of which is on one side, and has records that are alike.
    """

    title: str
    worse: float
    records: int = 400
    labels: float = 0.5
    share: float = 0.5
    steps: bool = False
    keys: int = 0

    def draws(self, random: np.random.Generator) -> tuple[Draw, Draw]:
        """The records of the canary, and of the champion."""
        if not self.keys:
            whole: Draw = lambda n: (random.integers(0, POOL, n), random.integers(0, BUCKETS, n))  # noqa: E731
            return whole, whole
        places, buckets = random.integers(0, POOL, self.keys), random.integers(0, BUCKETS, self.keys)
        cut = max(round(self.keys * self.share), 1)

        def of(first: int, stop: int) -> Draw:
            def draw(n: int) -> tuple[Ints, Ints]:
                keys = random.integers(first, stop, n)
                return (places[keys] + random.integers(0, ALIKE, n)) % POOL, buckets[keys]

            return draw

        return of(0, cut), of(cut, self.keys)


@dataclass
class Run:
    """At which look the canary failed and passed, and its labels by then."""

    failed: int | None = None
    passed: int | None = None
    labels_failed: int = 0
    labels_passed: int = 0


def follow(
    plan: Plan, champion: Population, canary: Population, random: np.random.Generator, looks: int = LOOKS
) -> Run:
    """One canary, until it is rolled back or promoted; without steps it is never promoted."""
    run, share, number, passes = Run(), plan.share, 2, 0
    sums, sides, draws = LabelSums(), (Side(), Side()), plan.draws(random)
    for look in range(1, looks + 1):
        sizes = (round(plan.records * share), round(plan.records * (1 - share)))
        own, other = (
            scored(of, n, round(n * plan.labels), draw, random)
            for of, n, draw in zip((canary, champion), sizes, draws, strict=True)
        )
        for side, new in zip(sides, (own, other), strict=True):
            side.add(new)
        window = LabelSums({_key("canary", number): own.quality, _key("champion", number): other.quality})
        sums.add(window)
        evidence = _evidence(sides, (own, other), sums, window, number, look)
        report = judge_gate(GATE, evidence, 2, AUTOMATIC.after(share) if plan.steps else 1.0)
        labels = evidence.labelled.n if evidence.labelled else 0
        if report.outcome == "fail":
            run.failed, run.labels_failed = look, labels
            return run
        if not plan.steps:
            if report.outcome == "pass" and run.passed is None:
                run.passed, run.labels_passed = look, labels
            continue
        decision = decide(AUTOMATIC, _log(number, share), report, look * WINDOW_MS, passes)
        passes = decision.passes
        if decision.action == "promote":
            run.passed, run.labels_passed = look, labels
            return run
        if decision.action == "advance":
            number, share, sides = number + 1, decision.share, (Side(), Side())
    return run


def _key(role: Role, number: int) -> Key:
    return (0, 2 if role == "canary" else 1, role, number)


def _log(number: int, share: float) -> ReleaseLog:
    canary, at = Canary(version=2, share=share, key="k"), iso(0)
    return ReleaseLog(
        [
            ReleaseRecord(number=i, champion=1, written_at=at, at=at, canary=canary)
            for i in range(1, number + 1)
        ]
    )


def _evidence(
    so_far: tuple[Side, Side],
    now: tuple[Side, Side],
    sums: LabelSums,
    window: LabelSums,
    number: int,
    look: int,
) -> Evidence:
    span = WindowSpan(iso(look * WINDOW_MS), iso((look + 1) * WINDOW_MS))
    records = [_record(span, number, *sides) for sides in (so_far, now)]
    least = min(GATE.labels, 100)
    known, lately = (labelled(each, 2, "canary", 1, least) for each in (sums, window))
    return Evidence(records[0], records[1], look, labelled=known, lately=lately)


def _record(span: WindowSpan, number: int, canary: Side, champion: Side) -> ComparisonRecord:
    sides = {_key("canary", number): canary.counts, _key("champion", number): champion.counts}
    return compare_window("job", "model", span, sides)


PLANS = (
    Plan("equal, at 50%, never promoted", 0.0),
    Plan("20% worse, at 50%", 0.2),
    Plan("5% worse, at 50%: the limit", 0.05),
    Plan("equal, by steps from 1%", 0.0, records=10_000, share=0.01, steps=True),
    Plan("20% worse, by steps from 1%", 0.2, records=10_000, share=0.01, steps=True),
    Plan("equal, by steps from 1%, of 5,000 keys", 0.0, records=10_000, share=0.01, steps=True, keys=5_000),
    *(Plan(f"equal, at 50%, of {keys:,} keys", 0.0, keys=keys) for keys in KEYS),
    *(Plan(f"20% worse, at 50%, of {keys:,} keys", 0.2, keys=keys) for keys in KEYS),
)


class Kept:
    """Runs of earlier calls, in a file beside what is asked for: a line each."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._runs: defaultdict[str, list[Run]] = defaultdict(list)
        if path and path.exists():
            for line in path.read_text().splitlines():
                title, run = json.loads(line)
                self._runs[title].append(Run(**run))

    def of(self, title: str) -> Sequence[Run]:
        return self._runs[title]

    def add(self, title: str, run: Run) -> None:
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps([title, asdict(run)]) + "\n")


def runs_of(
    plan: Plan, runs: int, world: World, seed: int, kept: Kept | None = None, until: float = math.inf
) -> list[Run]:
    """Of each run its outcome; those that are `kept` are not run again, and after `until` none begins."""
    found = list((kept or Kept()).of(plan.title))[:runs]
    if len(found) == runs:
        return found
    champion, canary = world.version(0), world.version(1, plan.worse)
    while len(found) < runs and time.monotonic() < until:
        run = follow(plan, champion, canary, np.random.default_rng([seed, len(found)]))
        found.append(run)
        if kept:
            kept.add(plan.title, run)
    return found


@dataclass(frozen=True)
class Need:
    """Labels of the canary until 9 of 10 runs are decided, and of a fixed-n test of that power."""

    mean: float
    most: float
    fixed: float


def needed(labels: Sequence[int], runs: int, fixed: float) -> Need | None:
    """Of the runs that were decided; those that take longer than 9 of 10 count as long as these."""
    if len(labels) < POWER * runs:
        return None
    most = float(np.sort(labels)[math.ceil(POWER * runs) - 1])
    mean = (np.minimum(labels, most).sum() + most * (runs - len(labels))) / runs
    return Need(float(mean), most, fixed)


def fixed_n(world: World, worse: float, null: float) -> float:
    """Labels of each side for a one-sided z test of a part `null` of the loss, at the gate's level."""
    champion, canary = world.version(0), world.version(1, worse)
    distance = canary.mean - (1 + null) * champion.mean
    spread = canary.variance + (1 + null) ** 2 * champion.variance
    z = stats.norm.isf(GATE.error) + stats.norm.isf(1 - POWER)
    return float(z**2 * spread / distance**2)


def measure(
    runs: int, seed: int = 20_260_101, kept: Kept | None = None, until: float = math.inf
) -> dict[str, Any] | None:
    """Shares of runs by plan, and the labels that decisions took; None if it is not done `until` then."""
    world = World(seed)
    rows: list[dict[str, Any]] = []
    for number, plan in enumerate(PLANS):
        some = runs if number < FULL else max(runs // 10, 1)
        found = runs_of(plan, some, world, seed + number, kept, until)
        print(f"{plan.title}: {len(found)} of {some} runs", file=sys.stderr, flush=True)
        if len(found) < some:
            return None
        failed = [run.labels_failed for run in found if run.failed is not None]
        passed = [run.labels_passed for run in found if run.passed is not None]
        need = None
        if not plan.steps and not plan.keys and plan.worse == 0:
            need = needed(passed, some, fixed_n(world, 0.0, GATE.quality or 0.0))
        if not plan.steps and plan.worse >= 0.2:
            need = needed(failed, some, fixed_n(world, plan.worse, 0.0))
        rows.append(
            {
                "canary": plan.title, "runs": some, "rolled_back": len(failed) / some,
                "promoted": len(passed) / some, "labels": asdict(need) if need else None,
            }
        )  # fmt: skip
    keyed = [row for plan, row in zip(PLANS, rows, strict=True) if plan.keys and not plan.steps]
    shares = {"equal_rolled_back": rows[0]["rolled_back"], "worse_20_promoted": rows[1]["promoted"]}
    shares |= {
        "equal_rolled_back_by_keys": max(row["rolled_back"] for row in keyed[: len(KEYS)]),
        "worse_20_promoted_by_keys": max(row["promoted"] for row in keyed[len(KEYS) :]),
    }
    return {**shares, "looks": LOOKS, "runs": runs, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """As docs/releases.md has it."""
    lines = [
        "| canary | runs | rolled back | promoted | labels, mean | fixed n | 9 of 10 runs by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        need = row["labels"]
        numbers = [f"{need[name]:,.0f}" for name in ("mean", "fixed", "most")] if need else [""] * 3
        shares = [f"{row['rolled_back']:.1%}", f"{row['promoted']:.1%}"]
        lines.append("| " + " | ".join([row["canary"], f"{row['runs']:,}", *shares, *numbers]) + " |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    options.add_argument("--runs", type=int, default=1_000, help="runs of the first two rows; others a tenth")
    options.add_argument(
        "--minutes", type=float, help="stop after so many, with exit code 3; called again, it goes on"
    )
    chosen = options.parse_args()
    kept = Kept(chosen.json.with_suffix(".runs")) if chosen.json and chosen.minutes else None
    until = time.monotonic() + 60 * chosen.minutes if chosen.minutes else math.inf
    found = measure(chosen.runs, kept=kept, until=until)
    if found is None:
        sys.exit(3)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
