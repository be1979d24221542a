"""The page docs/proof.md, of what `scripts/prove --full` found."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from flink_jobs.system.jars import connector_jars
from tests.proof.faults import Fault
from tests.proof.ledger import PARTITIONS
from tests.proof.proof import Proof
from tests.proof.stage import RATE

_COLUMNS = [
    *("case", "runs", "records", "lost", "doubled", "elsewhere", "changed"),
    *("windows", "windows changed", "recovery s", "seeds", "tried", "at"),
]


def page(proofs: Sequence[Proof], faults: Mapping[str, Fault]) -> str:
    """Markdown; `proofs` have one fault each, any number of times."""
    runs = sum(len(proof.faults) for proof in proofs)
    return f"""# What was tried on running jobs

Written by `scripts/prove --docs docs`, a case at a time, on {datetime.now(UTC):%Y-%m-%d}, with apache-flink
{version("apache-flink")}, {_connector()}, Python {platform.python_version()}.
`scripts/prove --faults NAME --runs N` does one of them.

Each case is jobs of its own on real processes: a Kafka broker, a JobManager, a TaskManager and its
Python workers. {RATE} numbered records a second come in on {PARTITIONS} partitions: 1% broken, 1% late by an
hour, the others up to 5 s out of order. The job has a window by key, a model and drift; checkpoints are
a second apart. Faults come at random moments, one in five before the one before was made good. Plain
Python, not the product, says what has to become of each record, the features of each prediction, and how
many records each of drift's windows has; what became of them is read from the topics, as read_committed
readers see them. {runs} runs in all.

{_table(proofs, faults)}

- **lost**, **doubled**: records with no outcome, and with more than one. **elsewhere**: with another
  outcome than the right one. **changed**: predictions with other features.
- **windows**: of drift, ten minutes each; changed is one that is missing, comes twice, or has other records.
- **recovery**: median and largest number of seconds from the end of the fault (a process that was killed
  has been started again, one that stood still goes on, a job has been resumed) until each record sent
  before has its outcome.
- **at**: the commit of Tailrace, where it was noted; + is one with changes that were committed after it.
- {sum(len(proof.left) for proof in proofs)} processes outlived their case.

Not run: {", ".join(f"`{name}`" for name in _not_run(proofs, faults)) or "none"}.
"""


def _not_run(proofs: Sequence[Proof], faults: Mapping[str, Fault]) -> list[str]:
    done = {name for proof in proofs for name in proof.faults}
    return [name for name in faults if name not in done]


def _table(proofs: Sequence[Proof], faults: Mapping[str, Fault]) -> str:
    """A line for each case, in the order of `faults`."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    for name, fault in faults.items():
        if of := [proof for proof in proofs if proof.faults[0] == name]:
            lines.append("| " + " | ".join(map(str, _cells(f"`{name}`: {fault.words}", of))) + " |")
    return "\n".join(lines)


def _cells(case: str, proofs: Sequence[Proof]) -> list[object]:
    ledgers = [proof.ledger for proof in proofs]
    return [
        case,
        sum(len(proof.faults) for proof in proofs),
        sum(proof.records for proof in proofs),
        sum(len(ledger.lost) for ledger in ledgers),
        sum(len(ledger.doubled) for ledger in ledgers),
        sum(len(ledger.elsewhere) for ledger in ledgers),
        sum(len(ledger.changed) for ledger in ledgers),
        sum(proof.windows for proof in proofs),
        sum(len(ledger.windows_changed) for ledger in ledgers),
        _recovery([seconds for proof in proofs for seconds in proof.recovery_s]),
        ", ".join(str(proof.seed) for proof in proofs),
        ", ".join(dict.fromkeys(proof.date for proof in proofs if proof.date)),
        ", ".join(dict.fromkeys(proof.commit for proof in proofs if proof.commit)),
    ]


def _recovery(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.0f}, {max(seconds):.0f}" if seconds else ""


def _connector() -> str:
    return next(path.stem for path in connector_jars() if "kafka" in path.name)
