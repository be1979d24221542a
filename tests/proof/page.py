"""The page docs/proof.md, of what `scripts/prove --full` found."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from flink_jobs.system.jars import connector_jars
from tests.proof.edits import Found, table
from tests.proof.faults import Fault
from tests.proof.ledger import PARTITIONS
from tests.proof.load import BURST, KEYS, ROWS, SHARE, Load
from tests.proof.results import Entry
from tests.proof.stage import RATE

_MEASURES = {
    "jvm_mb": "resident memory of the TaskManager, MB",
    "workers_mb": "resident memory of its Python workers, MB",
    "checkpoint_bytes": "state in a checkpoint, bytes",
    "lag": "records that wait",
}
_COLUMNS = [
    *("case", "runs", "records", "lost", "named", "doubled", "elsewhere", "changed"),
    *("windows", "windows changed", "recovery s", "seeds", "tried", "at"),
]


def page(
    entries: Sequence[Entry],
    faults: Mapping[str, Fault],
    loads: Sequence[Load] = (),
    edits: Sequence[Found] = (),
) -> str:
    """Markdown: a line for each case, in the order of `faults`, and for each edit; and what load did."""
    runs = sum(each.runs for each in entries)
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

{_table(entries, faults)}

- **lost**, **doubled**: records with no outcome, and with more than one. **named**: records with no outcome
  of which Tailrace itself says so, by offset; they are not among those lost. **elsewhere**: with another
  outcome than the right one. **changed**: predictions with other features.
- **windows**: of drift, ten minutes each; changed is one that is missing, comes twice, or has other records.
- **recovery**: median and largest number of seconds from the end of the fault (a process that was killed
  has been started again, one that stood still goes on, a job has been resumed) until each record sent
  before has its outcome. Of several jobs, the least and the largest median, and the largest of all.
- **at**: the commit of Tailrace, where it was noted; + is one with changes that were committed after it.
- {sum(each.left for each in entries)} processes outlived their case.

The numbers of each job are in [proof.json](proof.json).

Not run: {", ".join(f"`{name}`" for name in _not_run(entries, faults)) or "none"}.
{_edited(edits)}{_under_load(loads)}"""


def _edited(edits: Sequence[Found]) -> str:
    if not edits:
        return ""
    return f"""
## Edits between a savepoint and the next start

By `scripts/prove --edits --docs docs`, on a real cluster, from one savepoint for all: records waited in its
windows of 20 s and of a minute. What `plan --savepoint` says and what `submit --savepoint` does must agree,
no name of Java's may be said, and plain Python says what the values of each record after it have to be. What
is neither named nor refused went on as it was.

{table(edits)}
"""


def _under_load(loads: Sequence[Load]) -> str:
    if not loads:
        return ""
    return f"""
## Under load

By `scripts/prove --load MINUTES --docs docs`: {KEYS} keys, each with {ROWS} records in its window of an hour;
checkpoints ten seconds apart. The rate at which a backlog is drained is taken for what the job can do, and
{SHARE:.0%} of it is sent for a while; then {BURST} times as much, or what one producer can send;
then a backlog again. Other work ran on the machine, so compare ratios and slopes.

{"".join(map(_load, loads))}"""


def _load(load: Load) -> str:
    burst = load.burst_rate / load.sent_rate
    lines = [
        f"- {load.tried}, at {load.at}, seed {load.seed}, on {load.cores} cores that {load.machine[0]:.1f}",
        f"  processes wanted before the job began and {load.machine[1]:.1f} in its steady part:",
        f"  {load.drained:,} records drained at {load.steady_rate:,.0f} a second; {load.minutes:.0f} minutes",
        f"  at {load.sent_rate:,.0f} a second; a burst of {burst:.1f} times that for {load.burst_s:.0f} s",
        f"  was caught up {load.burst_caught_up_s:.0f} s after its end; a backlog of {load.backlog:,}",
        f"  drained at {load.backlog_rate / load.steady_rate:.2f} times the first rate.",
        "",
        "  | in the steady part, but for its first quarter | mean | slope a minute | % of the mean an hour |",
        "  |---|---|---|---|",
    ]
    for name, mean in load.means.items():
        slope = load.slopes[name]
        share = f"{6_000 * slope / mean:+.1f}" if mean else ""
        lines.append(f"  | {_MEASURES[name]} | {mean:,.1f} | {slope:+,.2f} | {share} |")
    return "\n".join([*lines, "", ""])


def _not_run(entries: Sequence[Entry], faults: Mapping[str, Fault]) -> list[str]:
    done = {name for each in entries for name in each.case.split(",")}
    return [name for name in faults if name not in done]


def _table(entries: Sequence[Entry], faults: Mapping[str, Fault]) -> str:
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    order = [*faults]
    for case in sorted({each.case for each in entries}, key=lambda case: order.index(case.split(",")[0])):
        names, of = case.split(","), [each for each in entries if each.case == case]
        words = "; then, to the same job, ".join(faults[name].words for name in names)
        told = f"{', '.join(f'`{name}`' for name in names)}: {words}"
        lines.append("| " + " | ".join(map(str, _cells(told, of))) + " |")
    return "\n".join(lines)


def _cells(case: str, entries: Sequence[Entry]) -> list[object]:
    return [
        case,
        sum(each.runs for each in entries),
        sum(each.records for each in entries),
        sum(each.lost for each in entries),
        sum(each.named for each in entries),
        sum(each.doubled for each in entries),
        sum(each.elsewhere for each in entries),
        sum(each.changed for each in entries),
        sum(each.windows for each in entries),
        sum(each.windows_changed for each in entries),
        _recovery([each.recovery for each in entries if each.recovery]),
        ", ".join(str(each.seed) for each in entries),
        ", ".join(dict.fromkeys(each.tried for each in entries if each.tried)),
        ", ".join(dict.fromkeys(each.at for each in entries if each.at)),
    ]


def _recovery(found: Sequence[tuple[int, int]]) -> str:
    if not found:
        return ""
    medians = sorted({median for median, _ in found})
    return (
        f"{' to '.join(map(str, dict.fromkeys((medians[0], medians[-1]))))}, {max(most for _, most in found)}"
    )


def _connector() -> str:
    return next(path.stem for path in connector_jars() if "kafka" in path.name)
