"""Does to a running job what can happen to it, at random moments, and accounts for each of its records.

scripts/prove --faults worker,broker --runs 5 --seed 7
scripts/prove --full --docs docs
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.proof.faults import FAULTS
from tests.proof.page import page
from tests.proof.proof import Proof, in_words, prove


def main(arguments: list[str]) -> int:
    """0 when each record has one outcome, and the right one."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--faults",
        type=lambda text: text.split(","),
        default=list(FAULTS),
        help=f"of {', '.join(FAULTS)}; in this order; default: all",
    )
    parser.add_argument("--runs", type=int, default=1, help="how often each happens, to one job")
    parser.add_argument(
        "--full",
        action="store_true",
        help="each to a job of its own, as often as the documented table has it",
    )
    parser.add_argument("--seed", type=int, help="of records and moments; default: the clock")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--docs", type=Path, help="write the page proof.md into this folder")
    parser.add_argument(
        "--results", type=Path, nargs="+", help="run nothing: the page is of these files of before"
    )
    options = parser.parse_args(arguments)
    proofs = _read(options.results) if options.results else list(_run(options))
    if options.docs:
        (options.docs / "proof.md").write_text(page(proofs, FAULTS))
    return 0 if all(proof.holds() for proof in proofs) else 1


def _run(options: argparse.Namespace) -> Iterator[Proof]:
    seed = options.seed if options.seed is not None else int(time.time())
    plans = [options.faults * options.runs]
    if options.full:
        plans = [[name] * FAULTS[name].runs for name in options.faults]
    done = []
    for number, faults in enumerate(plans):
        with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory:
            done.append(prove(Path(directory), faults, seed + number))
        print(in_words(done[-1]), flush=True)
        if options.json:
            options.json.write_bytes(msgspec.json.encode(done))
        yield done[-1]


def _read(files: Sequence[Path]) -> list[Proof]:
    """Those of before have no date; then it is the file's."""
    return [
        proof
        if proof.date
        else replace(proof, date=f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d}")
        for file in files
        for proof in msgspec.json.decode(file.read_bytes(), type=list[Proof])
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
