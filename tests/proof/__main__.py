"""Does to a running job what can happen to it, at random moments, and accounts for each of its records.

scripts/prove --faults worker,broker --runs 5 --seed 7
scripts/prove --full --docs docs
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.proof import results
from tests.proof.edits import EDITS, try_edits
from tests.proof.faults import FAULTS, CannotTryError
from tests.proof.load import BURST_S, load
from tests.proof.page import page
from tests.proof.proof import Proof, checkout, in_words, prove, today
from tests.proof.results import Entry, entry


class Terminated(BaseException):
    """By it all that was started ends. What runs commands in this process takes SystemExit for theirs."""


def _end(*_: object) -> None:
    raise Terminated


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
    parser.add_argument("--logs", type=Path, help="keep here the logs of Flink and Kafka of a job that fails")
    parser.add_argument("--json", type=Path, help="write all that was found to this file")
    parser.add_argument(
        "--docs",
        type=Path,
        help="add the numbers to proof.json or load.json of this folder, and write the page of both",
    )
    parser.add_argument(
        "--results", type=Path, nargs="*", help="run nothing: add what --json wrote into these files"
    )
    parser.add_argument(
        "--load", type=float, metavar="MINUTES", help="only put a job under load, for so long"
    )
    parser.add_argument("--backlog", type=int, default=2_000_000, help="with --load: records that wait")
    parser.add_argument(
        "--burst", type=float, default=BURST_S, help="with --load: seconds of ten times as much"
    )
    parser.add_argument(
        "--edits",
        nargs="*",
        metavar="EDIT",
        help="only go on from a savepoint with each edited job file, or with those named",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    if options.load is not None:
        return _load(options)
    if options.edits is not None:
        return _edits(options)
    proofs = _run(options) if options.results is None else _read(options.results)
    held = True
    for proof in proofs:
        held &= proof.holds()
        if options.docs:
            _write(options.docs, [entry(proof)])
    if options.docs:
        _write(options.docs, [])
    return 0 if held else 1


def _load(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory:
        found = load(Path(directory), options.load, options.backlog, options.seed or 1, options.burst)
    found = msgspec.structs.replace(found, tried=today(), at=checkout())
    print(found.in_words())
    print(msgspec.json.encode(found).decode(), flush=True)
    if options.docs:
        file = options.docs / "load.json"
        results.write(file, [*results.read_loads(file), found])
        _write(options.docs, [])
    return 0 if found.holds() else 1


def _edits(options: argparse.Namespace) -> int:
    found = []
    with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory:
        for each in try_edits(Path(directory), options.seed or 1, options.edits):
            found.append(each)
            print(f"{each.edit}: {'; '.join(each.wrong) or 'as was said'}", flush=True)
            if options.docs:
                file = options.docs / "edits.json"
                new = {each.edit: each for each in [*results.read_edits(file), *found]}
                results.write(file, [new[name] for name in EDITS if name in new])
                _write(options.docs, [])
    return 1 if any(each.wrong for each in found) else 0


def _write(docs: Path, new: Sequence[Entry]) -> None:
    """At once after each job, so that one that fails takes nothing of those before."""
    entries = results.merged(results.read(docs / "proof.json"), new)
    results.write(docs / "proof.json", entries)
    loads, edits = results.read_loads(docs / "load.json"), results.read_edits(docs / "edits.json")
    (docs / "proof.md").write_text(page(entries, FAULTS, loads, edits))


def _run(options: argparse.Namespace) -> Iterator[Proof]:
    seed = options.seed if options.seed is not None else int(time.time())
    plans = [options.faults * options.runs]
    if options.full:
        plans = [[name] * FAULTS[name].runs for name in options.faults]
    done = []
    for number, faults in enumerate(plans):
        with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory:
            proof = None
            try:
                proof = prove(Path(directory), faults, seed + number)
            except CannotTryError as reason:
                print(f"{', '.join(dict.fromkeys(faults))}: not tried: {reason}", flush=True)
                continue
            finally:
                if options.logs and not (proof and proof.holds()):
                    _keep_logs(Path(directory), options.logs / str(seed + number))
            done.append(proof)
        print(in_words(done[-1]), flush=True)
        if options.json:
            options.json.write_bytes(msgspec.json.encode(done))
        yield done[-1]


def _keep_logs(directory: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for log in (*(directory / "flink" / "log").glob("*"), directory / "kafka" / "broker.log"):
        if log.is_file():
            shutil.copyfile(log, into / log.name)


def _read(files: Sequence[Path]) -> Iterator[Proof]:
    for file in files:
        yield from msgspec.json.decode(file.read_bytes(), type=list[Proof])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
