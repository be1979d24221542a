"""`tailrace accounts`: whether each record that a job has read has one outcome, by the topics alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from flink_jobs.cli.connection import environment
from flink_jobs.cli.dlq import JobFile
from flink_jobs.cli.letters import moment
from flink_jobs.errors import InputError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import (
    ClientSettings,
    Record,
    begin_offsets,
    committed_offsets,
    end_offsets,
    read_span,
    read_topic,
)
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.event_times import EventTimes
from flink_jobs.plan.topics import has_stages
from flink_jobs.reports.accounts import (
    SHOWN,
    Accounts,
    Partition,
    accounts_of,
    origin_of_whole,
    spans,
    within,
)
from flink_jobs.reports.predictions import prediction_reader
from flink_jobs.spec import JobSpec
from flink_jobs.system.terminal import literal, open_console, print_json
from udfs.scoring.accounts import RangeAccount

SCHEMA = "tailrace.accounts/1"
# A job commits its offsets and its transactions at the same moment, by two ways.
SETTLING_SECONDS = 30.0
MOST = 1_000_000_000


def accounts(
    job: JobFile,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only source records whose Kafka timestamp is from then on.",
            show_default=False,
        ),
    ] = None,
    ended: Annotated[
        bool,
        typer.Option(
            "--ended", help="The job has ended: its windows hold nothing, and what has no outcome is missing."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=f"Print JSON ({SCHEMA}).")] = False,
) -> None:
    """Check that each record that a job has read has one outcome, and name the first that has not.

    An outcome is a prediction, a dead letter or a late record. The source topic is compared with what the
    outputs say of it, up to the offsets that the job has committed, whatever restarts there were; and with
    the job's own accounts, if it has accounting. Ends with 1 if a record has none, or two. The job may run.

    [bold]Examples[/]

      tailrace accounts conf/flight_delay.yaml

      tailrace accounts orders.yaml --since 2026-03-01 --json
    """
    spec = load_job(job, environment())
    if spec.score == "per_window":
        raise InputError(
            "accounts are of records; predictions of score: per_window are of windows, and name no records"
        )
    check = _Check(spec, since)
    found = check.run(waits=has_stages(spec) and not ended)
    said = _said(spec, found) if spec.accounting else {}
    data = _as_data(found, spec, said, check.gone())
    if as_json:
        print_json(data)
    else:
        _print(data)
    if not data["balanced"]:
        raise typer.Exit(WorkError.exit_code)


class _Check:
    """Reads the topics of a job; raises InputError and WorkError as reading does."""

    def __init__(self, spec: JobSpec, since: str | None) -> None:
        self._spec, self._settings, self._topic = spec, client_settings(spec), spec.source.topic
        self._accounts = Accounts(_ranges(spec, self._settings, since), self._topic)
        self._read: dict[str, dict[int, int]] = {}
        self._since = since
        self._firsts: dict[tuple[str, int], dict[int, int]] = {}
        self._times, self._told = EventTimes(spec), prediction_reader(spec)

    def gone(self) -> dict[int, list[tuple[int, int]]]:
        """Offsets, [from, to), that the source has deleted and that have no outcome, by partition.

        Only from where on the outputs have kept all that they had.
        """
        if self._since is not None:
            return {}
        topics = _outcome_topics(self._spec).values()
        cut = [
            (topic, number)
            for topic in topics
            for number, begin in begin_offsets(self._settings, topic).items()
            if begin > 0
        ]
        return {
            number: each.gone(
                max((self._firsts.get(of, {}).get(number, each.start) for of in cut), default=0)
            )
            for number, each in self._accounts.partitions.items()
        }

    def run(self, waits: bool) -> Accounts:
        """Waits for outcomes that are on their way. With `waits` windows hold what no prediction has passed.

        That is told by the predictions of the first look, so that what they have passed has time to follow.
        """
        deadline = time.monotonic() + SETTLING_SECONDS
        first = True
        while True:
            for outcome, topic in _outcome_topics(self._spec).items():
                self._take(outcome, topic, timed=waits and first)
            for number, partition in self._accounts.partitions.items():
                self._settle(number, partition, waits)
            missing = any(partition.missing for partition in self._accounts.partitions.values())
            if not missing or time.monotonic() > deadline:
                return self._accounts
            first = False
            time.sleep(1)

    def _take(self, outcome: str, topic: str, timed: bool) -> None:
        """What is committed by now and was not read before; with `timed` how far predictions have come."""
        read = self._read.setdefault(topic, {})
        for record in read_topic(self._settings, topic, since=dict(read)):
            read[record.partition] = record.offset + 1
            told = self._told(record.value) if outcome == "predicted" else None
            found = (told.origin if told else None) if outcome == "predicted" else origin_of_whole(record)
            self._accounts.add(outcome, found)
            if found:
                self._firsts.setdefault((topic, record.partition), {}).setdefault(found[1], found[2])
            if timed and told and found and (at := told.time) is not None:
                self._accounts.pass_by(found, at)

    def _settle(self, number: int, partition: Partition, waits: bool) -> None:
        records = list(self._records(number, partition.unanswered()))
        held: set[int] = set()
        if waits:
            times = zip(records, self._times.of(records), strict=True)
            held = {record.offset for record, at in times if not partition.passed.has(record.offset, at)}
        partition.settle((record.offset for record in records), held)

    def _records(self, partition: int, runs: list[tuple[int, int]]) -> Iterator[Record]:
        """The committed records within the runs."""
        for start, stop in spans(runs):
            found = read_span(self._settings, self._topic, partition, start, stop)
            yield from within(runs, found)


def _outcome_topics(spec: JobSpec) -> dict[str, str]:
    return {"predicted": spec.predictions.topic, "dead": spec.dead_letters.topic, "late": spec.late.topic}


def _ranges(spec: JobSpec, settings: ClientSettings, since: str | None) -> dict[int, tuple[int, int]]:
    """Of each partition that the job has committed an offset of: from the first record that is there on."""
    topic = spec.source.topic
    since_ms = moment("--since", since)
    committed = committed_offsets(settings, spec.job, topic)
    if not committed:
        raise InputError(f"the job {spec.job} has committed no offset of {topic} yet; has it run?")
    begins, ends = begin_offsets(settings, topic, since_ms), end_offsets(settings, topic)
    ranges = {
        number: (begins[number], max(begins[number], min(committed[number], ends[number])))
        for number in committed
        if number in begins
    }
    total = sum(stop - start for start, stop in ranges.values())
    if total > MOST:
        raise InputError(f"{total:,} offsets are more than fit into memory; give a --since")
    return ranges


def _said(spec: JobSpec, found: Accounts) -> dict[int, list[RangeAccount]]:
    """The job's own accounts, by partition."""
    assert spec.accounting
    said: dict[int, list[RangeAccount]] = {number: [] for number in found.partitions}
    for record in read_topic(client_settings(spec), spec.accounting.topic):
        for account in accounts_of(record, found.topic):
            said.get(account.partition, []).append(account)
    return said


def _as_data(
    found: Accounts,
    spec: JobSpec,
    said: Mapping[int, list[RangeAccount]],
    gone: Mapping[int, list[tuple[int, int]]],
) -> dict[str, Any]:
    """`said`: the job's own accounts, if it has any.

    `gone`: offsets that the source has deleted and that have no outcome.
    """
    rows = []
    for number, partition in found.partitions.items():
        missing, doubled = partition.missing, partition.doubled
        rows.append(
            {
                "partition": number,
                "from": partition.start,
                "to": partition.end,
                "read": partition.records,
                **partition.counts,
                "waiting": len(partition.waiting),
                "missing": len(missing),
                "doubled": len(doubled),
                "first_missing": missing[:SHOWN],
                "first_doubled": doubled[:SHOWN],
                "missing_offsets": _first_and_last(missing),
                "gone": sum(stop - start for start, stop in gone.get(number, ())),
                "gone_offsets": [(start, stop - 1) for start, stop in gone.get(number, ())],
                "accounts": len(said.get(number, ())),
                "disagreements": [asdict(each) for each in partition.disagreements(said.get(number, ()))],
            }
        )
    repeated_is_wrong = spec.runtime.delivery == "exactly_once"
    balanced = not any(
        row["missing"] or ((row["doubled"] or row["disagreements"]) and repeated_is_wrong) for row in rows
    )
    head = {"schema": SCHEMA, "job": spec.job, "topic": found.topic, "balanced": balanced}
    return head | {"others": found.others, "partitions": rows}


def _first_and_last(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of offsets, which are in order.

    >>> _first_and_last([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        follows = runs and runs[-1][1] + 1 == offset
        first = runs.pop()[0] if follows else offset
        runs.append((first, offset))
    return runs


def _print(data: dict[str, Any]) -> None:
    console = open_console(soft_wrap=True)
    columns = (
        "partition",
        "from",
        "to",
        "read",
        "predicted",
        "dead",
        "late",
        "waiting",
        "missing",
        "doubled",
    )
    title = literal(f"{data['job']}: {data['topic']}")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in data["partitions"]:
        table.add_row(*(f"{row[column]:,}" for column in columns))
    console.print(table)
    if data["others"]:
        console.print(f"{data['others']:,} outcomes are of other topics or partitions")
    for kind in ("missing", "doubled"):
        for row in data["partitions"]:
            if offsets := row[f"first_{kind}"]:
                shown = ", ".join(map(str, offsets))
                more = " …" if row[kind] > len(offsets) else ""
                console.print(f"{kind} in partition {row['partition']}: {shown}{more}")
    for row in data["partitions"]:
        for first, last in row["gone_offsets"][:SHOWN]:
            console.print(
                f"gone from partition {row['partition']}: offsets {first} to {last} have no outcome, and the "
                f"source has deleted them"
            )
        for each in row["disagreements"][:SHOWN]:
            place = f"partition {row['partition']}, offsets {each['start']} to {each['stop'] - 1}"
            console.print(f"the job's account differs in {place}: {each['why']}")
    if any(row["waiting"] for row in data["partitions"]):
        console.print(
            "waiting: windows may hold them, until a later record of their partition and time is predicted; "
            "with --ended they count as missing"
        )
    console.print("balanced" if data["balanced"] else "NOT balanced")
