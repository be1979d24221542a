"""What runs found, in numbers: docs/proof.json, load.json and edits.json. New runs are added.

An entry is one job. Of its runs only numbers are kept, so that it stays small and can be read.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.proof.edits import Found
from tests.proof.load import Load
from tests.proof.proof import Proof


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`runs` faults, of the kinds of `case`, done to one job; `recovery` is the median and the largest, in s.

    `named` are records without an outcome that the product itself names; they are not `lost`. `left` are
    processes that outlived the job. `at` is the commit; + is one with changes that were committed after it.
    """

    case: str
    runs: int
    records: int
    lost: int
    doubled: int
    elsewhere: int
    changed: int
    windows: int
    windows_changed: int
    recovery: tuple[int, int] | None
    seed: int
    tried: str
    at: str
    named: int = 0
    left: int = 0


def entry(proof: Proof) -> Entry:
    """Of a job; one with faults of several kinds is a case of its own."""
    case = ",".join(dict.fromkeys(proof.faults))
    ledger, recovery = proof.ledger, proof.recovery_s
    return Entry(
        case,
        len(proof.faults),
        proof.records,
        len(ledger.lost),
        len(ledger.doubled),
        len(ledger.elsewhere),
        len(ledger.changed),
        proof.windows,
        len(ledger.windows_changed),
        (round(statistics.median(recovery)), round(max(recovery))) if recovery else None,
        proof.seed,
        proof.date,
        proof.commit,
        len(ledger.named),
        len(proof.left),
    )


def read(path: Path) -> list[Entry]:
    return msgspec.json.decode(path.read_bytes(), type=list[Entry]) if path.exists() else []


def read_loads(path: Path) -> list[Load]:
    return msgspec.json.decode(path.read_bytes(), type=list[Load]) if path.exists() else []


def read_edits(path: Path) -> list[Found]:
    return msgspec.json.decode(path.read_bytes(), type=list[Found]) if path.exists() else []


def write(path: Path, entries: Iterable[Entry] | Iterable[Load] | Iterable[Found]) -> None:
    """An entry a line, so that a new one is a line of the diff."""
    lines = (msgspec.json.format(msgspec.json.encode(each), indent=0).decode() for each in entries)
    path.write_text("[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n")


def merged(before: Sequence[Entry], new: Iterable[Entry]) -> list[Entry]:
    """What was there, and what is new; a job that is there already is not counted again."""
    return [*before, *(each for each in new if each not in before)]
