"""What drift costs a job: off and on in turn, in one run, with few features and with many.

.venv/bin/python -m tests.bench.drift_cost --records 2000000 --rounds 5 --features 10 50 200

Ratios are within a round, in which both run one after the other; the order changes with each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import uuid
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flink_jobs.local.broker import Broker
from tests.bench.data import TOPIC, load_topic, usual, write_model
from tests.bench.measure import Run, run

console = Console(width=160)


def main() -> None:
    arguments = _arguments()
    table = Table(title="drift on against off, medians (smallest to largest)", title_justify="left")
    for heading in ("features", "records/s off", "records/s on", "on / off", "worker MB off", "worker MB on"):
        table.add_column(heading, justify="right", no_wrap=True)
    for features in arguments.features:
        # As many values whatever their number in a record.
        records = max(arguments.records * 10 // features, 50_000)
        off, on = _rounds(features, records, arguments.rounds)
        table.add_row(
            str(features),
            _spread([each.rate for each in off], ",.0f"),
            _spread([each.rate for each in on], ",.0f"),
            _spread([b.rate / a.rate for a, b in zip(off, on, strict=True)], ".3f"),
            _spread([each.memory.worker for each in off], ".0f"),
            _spread([each.memory.worker for each in on], ".0f"),
        )
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000_000, help="of ten features; fewer of more")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--features", type=int, nargs="*", default=[10, 50, 200])
    return parser.parse_args()


def _rounds(features: int, records: int, rounds: int) -> tuple[list[Run], list[Run]]:
    found: dict[str, list[Run]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as folder, Broker(heap="1g") as broker:
        registry = Path(folder) / "models"
        write_model(registry, features)
        topic = f"{TOPIC}-{features}"
        load_topic(broker.bootstrap, usual(records), topic, features)
        for number in range(rounds):
            for drift in ("off", "on") if number % 2 == 0 else ("on", "off"):
                name = f"{drift}-{features}-{number}-{uuid.uuid4().hex[:6]}"
                contender = [sys.executable, "-m", "tests.bench.contenders", "features"]
                place = [broker.bootstrap, str(registry), name, topic, str(records), str(features), drift]
                done = run([*contender, *place], broker.bootstrap, name, records)
                console.print(f"{features} features, drift {drift}: {done.rate:,.0f} records/s")
                found[drift].append(done)
    return found["off"], found["on"]


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
