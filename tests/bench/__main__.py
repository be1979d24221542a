"""The benchmark: Tailrace beside a hand-written loop, Quix Streams, PyFlink and Flink alone, in one run.

scripts/bench
scripts/bench --records 300000 --rounds 1
scripts/bench --only stateless,windowed --json numbers.json
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flink_jobs.local.broker import Broker
from flink_jobs.system.jars import PROJECT
from tests.bench import page
from tests.bench.aims import aims
from tests.bench.contenders import ALL, CONTENDERS, left_out
from tests.bench.data import usual, write_model
from tests.bench.latency import JOBS, RATE, TooFewError, measure_latency
from tests.bench.machine import describe_machine, describe_versions, load_average
from tests.bench.measure import WrongCountError
from tests.bench.rounds import BARE, Measures, Runs, run_rounds, summary

console = Console(width=150)
RECORDS, ROUNDS, LATENCY_SECONDS = 800_000, 3, 30
DEFAULT = [contender.name for contender in ALL if contender.by_default]


def main() -> int:
    options = parser().parse_args()
    names, missing = chosen(options.only)
    for reason in missing:
        console.print(reason)
    started, load_before = time.monotonic(), load_average()
    with tempfile.TemporaryDirectory() as folder, Broker(heap="1g") as broker:
        registry = Path(folder) / "models"
        write_model(registry)
        try:
            runs = run_rounds(
                broker.bootstrap, registry, names, options.records, options.rounds, console.print
            )
        except (WrongCountError, RuntimeError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        measured = summary(runs)
        console.print(_table(measured))
        if options.json:
            options.json.write_text(json.dumps(measured, indent=1) + "\n")
        waits, slow = _latencies(broker.bootstrap, registry, _latency_seconds(options))
    facts = _facts(options, runs, measured, waits, [*missing, *slow]) | {
        "minutes": (time.monotonic() - started) / 60,
        "load_before": load_before,
        "load_after": load_average(),
    }
    for aim in facts["aims"]:
        console.print(f"{'met' if aim['met'] else 'NOT met'}: {aim['words']} {aim['aim']}: {aim['measured']}")
    if options.docs:
        page.write(facts, options.docs)
    return 0


def parser() -> argparse.ArgumentParser:
    names = ", ".join(DEFAULT)
    extra = ", ".join(contender.name for contender in ALL if not contender.by_default)
    form = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    form.add_argument(
        "--records",
        type=_positive,
        default=RECORDS,
        metavar="N",
        help=f"default {RECORDS:,}; with three rounds less than 20 minutes on two quiet cores",
    )
    form.add_argument("--rounds", type=_positive, default=ROUNDS, metavar="R", help=f"default {ROUNDS}")
    form.add_argument(
        "--only",
        type=_names,
        metavar="NAME,...",
        help=f"of {names};\nand beyond these {extra}. {BARE} always runs: ratios are to it",
    )
    form.add_argument("--json", type=Path, metavar="FILE", help="contender to measure to median, min and max")
    form.add_argument(
        "--docs",
        type=Path,
        nargs="?",
        const=PROJECT / "docs",
        metavar="FOLDER",
        help="writes benchmarks.md, its picture and its numbers; default docs",
    )
    form.add_argument(
        "--latency-seconds",
        type=int,
        metavar="S",
        help=f"default {LATENCY_SECONDS}, or 0 with --only: leaves latency out",
    )
    return form


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return number


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CONTENDERS:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(CONTENDERS)}; got {name!r}")
    return names


def chosen(only: list[str] | None) -> tuple[list[str], list[str]]:
    """The contenders in the order of their table, and which others do not run."""
    wanted = {BARE, *(DEFAULT if only is None else only)}
    contenders = [contender for contender in ALL if contender.name in wanted]
    missing = [reason for contender in contenders if (reason := left_out(contender))]
    if skipped := [f"`{name}`" for name in DEFAULT if name not in wanted]:
        missing.append(f"not asked for: {', '.join(skipped)}")
    return [contender.name for contender in contenders if not left_out(contender)], missing


def _latency_seconds(options: argparse.Namespace) -> int:
    if options.latency_seconds is not None:
        return int(options.latency_seconds)
    return 0 if options.only else LATENCY_SECONDS


def _latencies(brokers: str, registry: Path, seconds: int) -> tuple[dict[str, dict[str, float]], list[str]]:
    """By job, and what could not be measured."""
    found: dict[str, dict[str, float]] = {}
    slow = []
    for name, changes in JOBS.items() if seconds else ():
        try:
            p50, p99, count = measure_latency(
                brokers, str(registry), RATE, seconds, f"latency-{name}", changes
            )
        except TooFewError as error:
            slow.append(f"the latency of {name} at {RATE:,} records a second is left out: {error}")
            console.print(slow[-1])
            continue
        found[name] = {"rate": RATE, "records": count, "p50_ms": p50, "p99_ms": p99}
        console.print(
            f"latency of {name}: low, at least once, {RATE:,} records/s: "
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms over {count:,} records"
        )
    return found, slow


def _facts(
    options: argparse.Namespace,
    runs: Runs,
    measured: dict[str, Measures],
    waits: dict[str, dict[str, float]],
    missing: list[str],
) -> page.Facts:
    stream = usual(options.records)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "records": options.records,
        "rounds": options.rounds,
        "read": {name: done[0].records for name, done in runs.items()},
        "bytes": stream.size,
        "in_a_window": stream.in_a_window,
        "keys": dict(stream.keys),
        "contenders": measured,
        "latency": waits,
        "aims": [dataclasses.asdict(aim) for aim in aims(runs, waits)],
        "left_out": missing,
        "machine": describe_machine(),
        "versions": describe_versions(),
    }


def _table(measured: dict[str, Measures]) -> Table:
    table = Table(title="medians (smallest to largest); ratios are within a round", title_justify="left")
    table.add_column("")
    heads = ("records/s", "to bare", "CPU s/million", "to bare", "start, s", "worker MB", "JVM MB")
    for heading in heads:
        table.add_column(heading, justify="right", no_wrap=True)
    forms = {
        "records_per_s": ",.0f",
        "ratio_to_bare": ".2f",
        "cpu_s_per_million": ".1f",
        "cpu_ratio_to_bare": ".2f",
        "startup_s": ".1f",
        "worker_mb": ".0f",
        "jvm_mb": ".0f",
    }
    for name, spreads in measured.items():
        table.add_row(name, *(page.spread(spreads[measure], form) for measure, form in forms.items()))
    return table


if __name__ == "__main__":
    sys.exit(main())
