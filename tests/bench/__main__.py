"""The benchmark: a hand-written loop, Flink alone and Tailrace in turn, then latency, in one run.

scripts/bench --records 3000000 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import uuid
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flink_jobs.local.broker import Broker
from tests.bench.contenders import CONTENDERS
from tests.bench.data import load_topic, write_model
from tests.bench.latency import measure_latency
from tests.bench.measure import Run, run

console = Console(width=120)
LATENCY_RATE = 5_000


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder, Broker(heap="1g") as broker:
        registry = str(Path(folder) / "models")
        write_model(Path(registry))
        size = load_topic(broker.bootstrap, arguments.records)
        console.print(f"{arguments.records:,} records of about {size} bytes, {arguments.rounds} rounds")
        runs = _rounds(broker.bootstrap, registry, arguments.records, arguments.rounds, arguments.only)
        _print_rates(runs)
        if arguments.latency_seconds:
            for latency in range(arguments.rounds):
                p50, p99, count = measure_latency(
                    broker.bootstrap, registry, LATENCY_RATE, arguments.latency_seconds, f"latency-{latency}"
                )
                console.print(
                    f"latency: low, at least once, {LATENCY_RATE:,} records/s: "
                    f"p50 {p50:.0f} ms, p99 {p99:.0f} ms over {count:,} records"
                )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--latency-seconds", type=int, default=40, help="0 leaves the latency out")
    return parser.parse_args()


def _rounds(brokers: str, registry: str, records: int, rounds: int, only: list[str]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in only}
    for number in range(rounds):
        for contender in only:
            done = run(contender, brokers, registry, f"{contender}-{number}-{uuid.uuid4().hex[:6]}")
            console.print(f"round {number + 1} {contender}: {done.seconds:.1f} s, {done.rate:,.0f} records/s")
            total = sum(done.counts.values())
            if total != records:
                raise SystemExit(f"{contender}: the accounts must add up to {records}; got {done.counts}")
            runs[contender].append(done)
    return runs


def _print_rates(runs: dict[str, list[Run]]) -> None:
    table = Table(title="medians (smallest to largest); ratios are within a round", title_justify="left")
    table.add_column("")
    for heading in ("records/s", "ratio to bare", "seconds in all", "worker MB", "JVM MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    bare = [done.rate for done in runs.get("bare", [])]
    for contender, done in runs.items():
        rates = [one.rate for one in done]
        ratios = [rate / base for rate, base in zip(rates, bare, strict=False)]
        table.add_row(
            contender,
            _spread(rates, ",.0f"),
            _spread(ratios, ".2f") if ratios else "",
            _spread([one.seconds for one in done], ".1f"),
            f"{max(one.memory.worker for one in done):.0f}",
            f"{max(one.memory.jvm for one in done):.0f}",
        )
    console.print(table)


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
