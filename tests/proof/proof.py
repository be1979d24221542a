"""Does to one job what is asked for, and audits what became of its records."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.proof.faults import FAULTS
from tests.proof.ledger import Ledger, audit, drift_windows
from tests.proof.stage import Accounts, Stage, left_behind


@dataclass(frozen=True)
class Proof:
    """What happened to one job, by name of fault, and what became of its records.

    `recovery_s` are the seconds after each fault until it was made good; those before whose end the next one
    came have none. `left` are processes that outlived the job.
    """

    seed: int
    faults: Sequence[str]
    records: int
    windows: int
    recovery_s: Sequence[float]
    ledger: Ledger
    left: Sequence[str]
    date: str = ""
    commit: str = ""

    def holds(self) -> bool:
        return self.ledger.balanced() and not self.left


def prove(directory: Path, faults: Sequence[str], seed: int, apart_s: float = 10) -> Proof:
    """Runs the job under these faults, in this order, each at most `apart_s` after the one before.

    Raises WorkError where it does not come back.
    """
    draw = random.Random(seed)
    recovery = []
    kinds = [FAULTS[name] for name in dict.fromkeys(faults)]
    edits = [edit for kind in kinds for edit in kind.edits]
    stage = Stage(directory, seed, draw, edits, any(kind.accounted for kind in kinds))
    for kind in kinds:
        if kind.begins:
            kind.begins(stage)
    with stage:
        stage.recovered()
        for name in faults:
            time.sleep(draw.uniform(0, apart_s))
            FAULTS[name].happen(stage)
            begun = time.monotonic()
            # Some come while the job still starts again.
            if draw.random() < 0.8 and stage.recovered():
                recovery.append(time.monotonic() - begun)
        accounts = stage.end()
    windows = drift_windows(accounts.drift)
    ledger = audit(
        accounts.sent,
        accounts.source,
        accounts.outputs,
        windows if stage.drift else None,
        accounts.unsettled,
        accounts.gone,
        accounts.missing,
    )
    for line in _examples(accounts, ledger):
        print(line, flush=True)
    return Proof(
        seed,
        faults,
        len(accounts.sent),
        len(windows),
        recovery,
        ledger,
        left_behind(directory),
        today(),
        checkout(),
    )


def _examples(accounts: Accounts, ledger: Ledger) -> Iterator[str]:
    """Of what must not be: which records, and where they stood; and of drift's windows what each had."""
    rows = {each.number: each for each in accounts.sent}
    places = {int(each.key or b"-1"): (each.partition, each.offset) for each in accounts.source}
    for kind in ("lost", "doubled", "elsewhere", "changed"):
        numbers = sorted(getattr(ledger, kind))
        by_partition = Counter(places.get(number, (-1, 0))[0] for number in numbers)
        if numbers:
            yield f"{kind}, by partition: {dict(by_partition)}; from {numbers[0]} to {numbers[-1]}; as"
        for number in numbers[:3]:
            yield f"  {rows[number]} at {places.get(number)}"
    if ledger.windows_changed:
        yield f"windows changed: {ledger.windows_changed}"
        for each in accounts.drift:
            report = json.loads(each.value or b"")
            if report["segment"] is None:
                yield f"  {report['window']} {report['records']}"


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def checkout() -> str:
    """The commit of this checkout, with + where files differ from it."""
    return _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def in_words(proof: Proof) -> str:
    counts = {key: len(found) for key, found in asdict(proof.ledger).items()}
    slowest = f", recovered within {max(proof.recovery_s):.0f} s" if proof.recovery_s else ""
    return (
        f"seed {proof.seed}: {', '.join(proof.faults) or 'nothing'}{slowest}; {proof.records} records: "
        + ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in counts.items())
        + f"; {len(proof.left)} processes left behind"
    )
