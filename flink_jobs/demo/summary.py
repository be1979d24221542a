"""What came of the demo's records, read back from the output topics, and whether it is right.

    outcomes = read_outcomes(settings, job)
    show_summary(Console(), outcomes, stream, departures)       # True when all accounts are right

Counts are of committed records in Kafka, not of counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.demo.records import LATE, PREDICTED, Outcome, Sent
from flink_jobs.kafka import ClientSettings, Record, end_offsets, read_topic
from flink_jobs.spec import JobSpec

Place = tuple[int, int]
SHOWN_PREDICTIONS = 5


class FlightPrediction(msgspec.Struct, frozen=True):
    """What the summary needs of a prediction."""

    flight_id: str
    partition: int
    offset: int
    dep_delay: float
    mean_delay: float
    score: float


@dataclass(frozen=True)
class JobOutcomes:
    """What each topic holds. `places` has the (partition, offset) in the source of every output record."""

    read: int
    predictions: list[FlightPrediction]
    dead: list[tuple[Outcome, str, bytes | None]]
    late: list[bytes | None]
    places: Counter[Place] = field(repr=False)


def read_outcomes(
    settings: ClientSettings, job: JobSpec, decode: Callable[[bytes], Any] = msgspec.json.decode
) -> JobOutcomes:
    """All committed records of the job's outputs; `read` is how many the source topic holds."""
    written = read_topic(settings, job.predictions.topic)
    predictions = [
        msgspec.convert(decode(record.value), FlightPrediction)
        for record in written
        if record.value is not None
    ]
    dead = list(read_topic(settings, job.dead_letters.topic))
    late = list(read_topic(settings, job.late.topic))
    places = Counter((p.partition, p.offset) for p in predictions)
    places.update(_place(record) for record in (*dead, *late))
    return JobOutcomes(
        read=sum(end_offsets(settings, job.source.topic).values()),
        predictions=predictions,
        dead=[_dead_letter(record) for record in dead],
        late=[record.value for record in late],
        places=places,
    )


def _place(record: Record) -> Place:
    headers = _headers(record)
    return int(headers["tailrace.partition"]), int(headers["tailrace.offset"])


def _dead_letter(record: Record) -> tuple[Outcome, str, bytes | None]:
    headers = _headers(record)
    reason = headers["tailrace.stage"], headers["tailrace.reason"]
    return reason, headers["tailrace.message"], record.value


def _headers(record: Record) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in record.headers}


def show_summary(
    console: Console, outcomes: JobOutcomes, stream: Sequence[Sent], departures: pd.DataFrame
) -> bool:
    """Prints accounts, the model's quality, dead letters and some predictions; True if all is right."""
    problems = [*_accounts(outcomes, stream), *_surprises(outcomes, stream)]
    known = departures.set_index("flight_id")["late"]
    scored = pd.DataFrame(
        [(p.flight_id, p.score) for p in outcomes.predictions], columns=["flight_id", "score"]
    )
    scored["late"] = scored["flight_id"].map(known)
    tables = _accounts_table(outcomes, stream), _quality(scored.dropna()), _dead_table(outcomes)
    for table in (*tables, _predictions_table(outcomes, known)):
        console.print("", table)
    console.print()
    for problem in problems:
        console.print(f"[red]wrong:[/] {problem}")
    if not problems:
        console.print("[green]Each record has exactly one outcome, and each wrong one the right reason.[/]")
    return not problems


def _accounts(outcomes: JobOutcomes, stream: Sequence[Sent]) -> Iterable[str]:
    """What does not add up."""
    if outcomes.read != len(stream):
        yield f"{len(stream):,} records were sent, the topic holds {outcomes.read:,}"
    if outcomes.places.total() != outcomes.read:
        yield f"{outcomes.read:,} records have {outcomes.places.total():,} outcomes"
    if twice := [place for place, times in outcomes.places.items() if times > 1]:
        yield f"{len(twice):,} records have more than one outcome, such as partition and offset {min(twice)}"


def _surprises(outcomes: JobOutcomes, stream: Sequence[Sent]) -> Iterable[str]:
    """Which records have another outcome than they should, or come back with other bytes."""
    wanted = Counter((sent.expected, sent.value) for sent in stream if sent.expected != PREDICTED)
    found = Counter((reason, value) for reason, _, value in outcomes.dead)
    found.update((LATE, value) for value in outcomes.late)
    for (reason, _), times in (wanted - found).items():
        yield f"{times} of the records that should end as {' '.join(reason)} did not, or with other bytes"
    for (reason, _), times in (found - wanted).items():
        yield f"{times} records ended as {' '.join(reason)} that should not"


def _accounts_table(outcomes: JobOutcomes, stream: Sequence[Sent]) -> Table:
    table = _table("Accounts", "", "records")
    table.add_row("sent", f"{len(stream):,}")
    table.add_row("read", f"{outcomes.read:,}")
    table.add_row("= predictions", f"{len(outcomes.predictions):,}")
    table.add_row("+ dead letters", f"{len(outcomes.dead):,}")
    table.add_row("+ late records", f"{len(outcomes.late):,}")
    return table


def _quality(scored: pd.DataFrame) -> Table:
    late = scored["late"].astype(bool)
    table = _table("Against what happened: arrived more than 15 minutes late?", "", "value")
    table.add_row("flights with a known arrival", f"{len(scored):,}")
    table.add_row("late among them", f"{late.mean():.1%}")
    table.add_row("AUC", f"{roc_auc_score(late, scored['score']):.4f}")
    table.add_row("average precision", f"{average_precision_score(late, scored['score']):.4f}")
    return table


def _dead_table(outcomes: JobOutcomes) -> Table:
    table = _table("Dead letters", "records")
    for title in ("stage", "reason", "a message"):
        table.add_column(title, justify="left", overflow="fold")
    counts = Counter(reason for reason, _, _ in outcomes.dead)
    messages = {reason: message for reason, message, _ in outcomes.dead}
    for (stage, reason), count in sorted(counts.items()):
        table.add_row(str(count), stage, reason, messages[stage, reason])
    return table


def _predictions_table(outcomes: JobOutcomes, known: pd.Series[bool]) -> Table:
    table = _table("Some predictions", "flight")
    for title in ("departure delay", "mean at the origin", "score", "late?"):
        table.add_column(title, justify="right")
    every = max(1, len(outcomes.predictions) // SHOWN_PREDICTIONS)
    for p in sorted(outcomes.predictions, key=lambda p: p.flight_id)[every // 2 :: every]:
        late = {True: "yes", False: "no"}.get(known.get(p.flight_id, default=None), "unknown")  # type: ignore[arg-type]
        table.add_row(
            p.flight_id, f"{p.dep_delay:.0f} min", f"{p.mean_delay:.1f} min", f"{p.score:.3f}", late
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in ("records", "value") else "left")
    return table
