"""Test doubles for projects that use Tailrace: a real broker, and a harness that runs a job on given records.

from flink_jobs import JobHarness, broker, record      # in conftest.py; `broker` is a pytest fixture

def test_payments(broker):
    rows = [record({"amount": 12.5}, key="a"), record(b"oops", headers={"from": b"till 3"})]
    results = JobHarness(broker).run(Path("conf/payments.yaml"), rows)
    assert results.accounts() == {"read": 2, "predicted": 1, "dead": 1, "late": 0}
    assert results.dead_letters[0].reason == "not_json"
"""

from __future__ import annotations

import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fastavro
import pytest

from flink_jobs.errors import WorkError
from flink_jobs.jobfile import JobFile, read_job, read_job_text
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    count_committed,
    create_topics,
    end_offsets,
    produce,
    read_topic,
)
from flink_jobs.local.broker import Broker
from flink_jobs.plan import Plan
from flink_jobs.plan.isolate import isolated
from flink_jobs.plan.outputs import OUTPUTS
from flink_jobs.plan.topics import all_topics, output_topics
from flink_jobs.plan.validate import plan_file
from flink_jobs.run import preflight
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.spec import JobSpec
from udfs.records.framing import HEAD
from udfs.records.output_schema import OutputSchema
from udfs.records.schema_texts import shown_schema

__all__ = ["Broker", "JobHarness", "Message", "Outcome", "Results", "broker", "record"]

_POLL = 0.2


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A Kafka broker on a free port of this machine, for the whole test session."""
    with Broker() as running:
        yield running


def record(
    value: object,
    *,
    key: str | bytes | None = None,
    headers: Mapping[str, bytes | None] | None = None,
    timestamp: int | None = None,
    partition: int | None = None,
) -> Message:
    """A record to feed: bytes and None as they are, all else as JSON; `timestamp` in ms, None: now."""
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    name = key.encode() if isinstance(key, str) else key
    return Message(raw, name, tuple((headers or {}).items()), timestamp, partition)


@dataclass(frozen=True)
class Outcome:
    """A record of an output topic; `partition` and `offset` say where. One that is not JSON has a schema."""

    value: bytes | None
    key: bytes | None
    headers: Mapping[str, bytes | None]
    partition: int
    offset: int
    schema: OutputSchema | None = None

    @cached_property
    def json(self) -> Any:
        """The parsed value; raises ValueError when it is neither JSON nor of the schema of predictions."""
        raw = self.value or b""
        if self.schema is None:
            return json.loads(raw)
        if self.schema.format == "json_schema":
            return json.loads(raw[HEAD:])
        if self.schema.format == "protobuf":
            from udfs.records.protobuf_encode import read_message  # Start-up: for this format.  # noqa: PLC0415

            return read_message(self.schema, raw[HEAD + 1 :])
        return fastavro.schemaless_reader(io.BytesIO(raw[HEAD:]), shown_schema(self.schema), None)

    @property
    def stage(self) -> str:
        """The stage that made a record a dead letter."""
        return self.header("stage")

    @property
    def reason(self) -> str:
        """Why a record is a dead letter, in one stable word."""
        return self.header("reason")

    @property
    def origin(self) -> tuple[int, int] | None:
        """Partition and offset of the record that was read; None for a window."""
        if "tailrace.partition" in self.headers:
            partition, offset = (self.header("partition"), self.header("offset"))
            return (int(partition), int(offset)) if partition and offset else None
        return (self.json["partition"], self.json["offset"]) if "offset" in self.json else None

    def header(self, name: str) -> str:
        """One of Tailrace's own headers, without its prefix; empty when it has no value."""
        return (self.headers.get(f"tailrace.{name}") or b"").decode()


@dataclass(frozen=True)
class Results:
    """What became of the records that a job read; `job` is the job as it ran, with its own topics."""

    job: JobSpec
    read: Mapping[int, int]
    predictions: Sequence[Outcome]
    dead_letters: Sequence[Outcome]
    late: Sequence[Outcome]
    drift: Sequence[Outcome] = ()
    alerts: Sequence[Outcome] = ()
    shadows: Sequence[Outcome] = ()
    comparisons: Sequence[Outcome] = ()
    quality: Sequence[Outcome] = ()
    accounting: Sequence[Outcome] = ()

    def accounts(self) -> dict[str, int]:
        """How many records were read, predicted, dead and late.

        Raises AssertionError unless each record that was read has exactly one outcome. For a job that scores
        windows, records count as predicted when their window is.
        """
        if self.job.score == "per_window":
            return self._window_accounts()
        outcomes = {output.account: getattr(self, output.name) for output in OUTPUTS if output.account}
        self._check_origins(outcome for found in outcomes.values() for outcome in found)
        return self._accounts({account: len(found) for account, found in outcomes.items()})

    def _check_origins(self, outcomes: Iterable[Outcome]) -> None:
        read = {(number, offset) for number, end in self.read.items() for offset in range(end)}
        found = Counter(outcome.origin for outcome in outcomes)
        lost, more = sorted(read - found.keys()), [at for at, n in found.items() if n > 1 or at not in read]
        if lost or more:
            raise AssertionError(f"each record must have one outcome; without: {lost}; with more: {more}")

    def _window_accounts(self) -> dict[str, int]:
        (window,) = self.job.features.windows.values()
        overlap = window.size // window.every if window.every else 1
        lost = [row for row in self.dead_letters if row.origin is None]
        dead = [row for row in self.dead_letters if row.origin is not None]
        self._check_single([*dead, *self.late])
        scored = sum(row.json["records"] for row in self.predictions)
        failed = sum(row.json["_records"] for row in lost)
        predicted = scored // overlap  # a record may be in windows of both kinds
        lost_records = (scored + failed) // overlap - predicted
        return self._accounts(
            {"predicted": predicted, "dead": lost_records + len(dead), "late": len(self.late)}
        )

    def _check_single(self, outcomes: Iterable[Outcome]) -> None:
        more = [at for at, n in Counter(outcome.origin for outcome in outcomes).items() if n > 1]
        if more:
            raise AssertionError(f"each record must have one outcome; with more: {more}")

    def _accounts(self, counts: Mapping[str, int]) -> dict[str, int]:
        read = sum(self.read.values())
        if read != sum(counts.values()):
            found = " + ".join(f"{account} {count}" for account, count in counts.items())
            raise AssertionError(f"read {read} must be {found}")
        return {"read": read, **counts}


class JobHarness:
    """Runs job files on given records, each time with topics of their own on a broker.

    With one partition for each parallel instance, or a single one, the same records are late each time.
    """

    def __init__(self, broker: Broker, *, partitions: int = 1, timeout: float = 240.0) -> None:
        self._settings = ClientSettings(broker.bootstrap)
        self._partitions = partitions
        self._timeout = timeout

    def run(
        self,
        job: Path | str,
        rows: Iterable[Message],
        *,
        until: int | None = None,
        environ: Mapping[str, str] = os.environ,
        base: Path | None = None,
    ) -> Results:
        """Feeds the rows to a job file, or to its text, runs it to their end, and reads what it wrote.

        Names of job and topics, and `kafka`, are replaced. `base` is the folder of relative paths of a text.
        With `until` the topic does not end: the job is stopped when so many outcomes are written.
        Raises JobFileError, InputError, JobFailedError as the job itself does, WorkError after the timeout.
        """
        plan = plan_file(
            _read(job, base or Path.cwd(), environ),
            change=lambda spec: isolated(spec, self._settings.brokers),
            bounded=until is None,
        )
        spec = plan.job
        create_topics(self._settings, {spec.source.topic: self._partitions})
        produce(self._settings, spec.source.topic, rows)
        preflight.check(plan)
        with start(plan, Target()) as running:
            self._wait(running, plan, until)
        return self._results(plan)

    def _wait(self, running: RunningJob, plan: Plan, until: int | None) -> None:
        deadline = time.monotonic() + self._timeout
        while not running.ended():
            if until is not None and self._written(plan.job) >= until:
                running.finish()
                break
            if time.monotonic() > deadline:
                raise WorkError(f"the job must end within {self._timeout:.0f} s; it still runs")
            time.sleep(_POLL)
        running.wait()

    def _written(self, job: JobSpec) -> int:
        return sum(count_committed(self._settings, topic) for topic in output_topics(job).values())

    def _results(self, plan: Plan) -> Results:
        job, schemas = plan.job, dict[str, OutputSchema]()
        if plan.predictions_schema:
            schemas["predictions"] = plan.predictions_schema
        outputs = {sink: self._read(topic, schemas.get(sink)) for sink, topic in all_topics(job).items()}
        return Results(job=job, read=end_offsets(self._settings, job.source.topic), **outputs)

    def _read(self, topic: str, schema: OutputSchema | None) -> list[Outcome]:
        """All committed records; counting them first waits for the last commit to show."""
        if not count_committed(self._settings, topic):
            return []
        return [
            Outcome(row.value, row.key, dict(row.headers), row.partition, row.offset, schema)
            for row in read_topic(self._settings, topic)
        ]


def _read(job: Path | str, base: Path, environ: Mapping[str, str]) -> JobFile:
    if isinstance(job, Path):
        return read_job(job, environ)
    return read_job_text(job, "job.yaml", base, environ)
