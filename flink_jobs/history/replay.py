"""Runs a job on records that are there already, once for each model version, or without a model.

with Replay(job, [b'{"amount": 1.5}', b"oops"]) as replay:
    history = replay.predictions(2)
history.table, history.context["row"], history.dead, history.late
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from flink_jobs.errors import InputError, WorkError
from flink_jobs.history.results import History, Outputs, feature_history, prediction_history
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    Record,
    begin_offsets,
    create_topics,
    end_offsets,
    produce,
    read_topic,
)
from flink_jobs.local.broker import Broker
from flink_jobs.plan import Runnable, make_feature_plan, make_plan
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.flink_options import largest_message
from flink_jobs.plan.isolate import isolated
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.model import release_trust_of
from flink_jobs.plan.personal import without_records
from flink_jobs.plan.topics import output_topics
from flink_jobs.registry import Registry
from flink_jobs.run import preflight
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.spec import OPTIONAL_SUFFIXES, JobSpec

OnProgress = Callable[[Counter[str]], None]
# A slow machine must not join records before the changes of that time are read.
_NEVER_IDLE_MS = 86_400_000


def features(
    job: JobSpec, records: Iterable[bytes | Message], columns: Sequence[str] | None = None
) -> History:
    """The job's columns (default: all) of each record, as a model would get them. See `Replay.features`."""
    with Replay(job, records) as replay:
        return replay.features(columns)


def predictions(job: JobSpec, records: Iterable[bytes | Message], version: int) -> History:
    """What a version of the job's model says of each record. See `Replay.predictions`."""
    with Replay(job, records) as replay:
        return replay.predictions(version)


class Replay:
    """The records on a broker of their own, for any number of runs of a job; a context manager.

    A record is the bytes of its value, or a Message. `brokers` are used instead of a new broker if given; the
    topics stay there. `tables` are the changes of lookups whose tables are topics, by lookup.
    Raises WorkError when the broker does not come up or takes no record.
    """

    def __init__(
        self,
        job: JobSpec,
        records: Iterable[bytes | Message],
        *,
        brokers: str | None = None,
        tables: Mapping[str, Iterable[Message]] | None = None,
    ) -> None:
        self._tables = dict(tables or {})
        missing = [name for name in topic_lookups(job) if name not in self._tables]
        if missing and not brokers:
            raise InputError(
                f"features.lookups.{missing[0]} is a topic, which a broker of the run's own has not: "
                "its changes must be given, or it must be a file, for runs on records of before"
            )
        self._broker = None if brokers else Broker()
        self._given = brokers
        self._records = records
        self._job = replayed(job)
        self.count = 0

    def __enter__(self) -> Self:
        if self._broker:
            self._broker.start()
        try:
            self._send()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._broker:
            self._broker.stop()

    def features(
        self, columns: Sequence[str] | None = None, on_progress: OnProgress | None = None
    ) -> History:
        """The job's columns, without a model, which need not exist.

        Doubles are the same to the last bit, personal data is not hashed. Raises InputError for other names,
        JobFailedError when the job fails.
        """
        job = self._isolated(self._job)
        names = list(columns) if columns is not None else list(job_columns(job).columns)
        plan = make_feature_plan(job, names)
        return feature_history(self._run(plan, on_progress), plan, names, self.count)

    def predictions(
        self,
        use: str | int | None = None,
        *,
        model: str | None = None,
        include: Sequence[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> History:
        """What a version predicts: a number, "champion" or "latest"; default: as the job file says.

        `model` is the name of another model of the same registry; `include` replaces predictions.include.
        Raises InputError when the version is not there or the job cannot feed it, JobFailedError when the job
        fails.
        """
        plan = make_plan(with_version(self._isolated(self._job), use, model, include), bounded=True)
        return prediction_history(self._run(plan, on_progress), plan, self.count)

    @property
    def _settings(self) -> ClientSettings:
        return ClientSettings(self._given or self._require_broker().bootstrap)

    def _require_broker(self) -> Broker:
        assert self._broker is not None
        return self._broker

    def _send(self) -> None:
        self._job = isolated(self._job, self._settings.brokers)
        topic = self._job.source.topic
        limit = str(largest_message(self._job.source.max_bytes))
        # By their timestamps records of last year are too old to be kept: brokers look every five minutes.
        create_topics(self._settings, {topic: 1}, {"max.message.bytes": limit, "retention.ms": "-1"})
        self.count = produce(self._settings, topic, map(_message, self._records))
        self._records = ()
        if not self.count:
            raise InputError("the history must have at least one record; got none")
        for name, changes in self._tables.items():
            table = f"{self._job.job}.table-{name}"
            create_topics(self._settings, {table: 1}, {"max.message.bytes": limit, "retention.ms": "-1"})
            produce(self._settings, table, changes)
            self._job = _with_table(self._job, name, table)
        self._tables = {}

    def _isolated(self, job: JobSpec) -> JobSpec:
        """Output topics of their own for each run; the source is the same."""
        fresh = isolated(job, self._settings.brokers)
        return fresh.model_copy(update={"source": job.source})

    def _run(self, plan: Runnable, on_progress: OnProgress | None) -> Outputs:
        preflight.check(plan)
        with start(_without_checkpoints(plan), Target()) as running:
            complete = running.wait(on_progress)
            topics = output_topics(plan.job)
            outputs = Outputs(**{sink: self._read(topic) for sink, topic in topics.items()})
            if problem := _problem(plan.job, outputs, self.count, complete):
                raise WorkError(f"{problem}{self._whereabouts(plan.job)}; logs: {self._keep_logs(running)}")
        return outputs

    def _whereabouts(self, job: JobSpec) -> str:
        """What the topics hold, as the brokers say: where records are, and where they are not."""
        names = [job.source.topic, *output_topics(job).values()]
        held = ", ".join(f"{name} has {self._offsets(name)}" for name in names)
        return f"; at {self._settings.brokers}: {held}"

    def _offsets(self, topic: str) -> str:
        begins, ends = begin_offsets(self._settings, topic), end_offsets(self._settings, topic)
        spans = [f"{begins[n]} to {end}" for n, end in sorted(ends.items())]
        return f"offsets {' and '.join(spans)}"

    def _keep_logs(self, running: RunningJob) -> Path:
        """Copies of Flink's log, and the broker's where it is our own."""
        kept = running.keep_logs()
        if self._broker and self._broker.log.exists():
            shutil.copy(self._broker.log, kept)
        return kept

    def _read(self, topic: str) -> list[Record]:
        return list(read_topic(self._settings, topic))


def with_version(
    job: JobSpec, use: str | int | None, model: str | None = None, include: Sequence[str] | None = None
) -> JobSpec:
    """The job with another version, model or included columns; None leaves its own."""
    changes: dict[str, Any] = {} if use is None else {"use": use}
    if model not in (None, job.model.name):
        registry = Registry(job.model.registry)
        version = registry.resolve(model or "", use or job.model.use, release_trust_of(job)).version
        named = registry.manifest(model or "", version).signature.names
        kept = {name: column for name, column in job.model.inputs.items() if name in named}
        changes |= {"name": model, "inputs": kept}
    changed: dict[str, Any] = {"model": job.model.model_copy(update=changes)}
    if include is not None:
        changed["predictions"] = job.predictions.model_copy(update={"include": tuple(include)})
    return job.model_copy(update=changed)


def replayed(job: JobSpec) -> JobSpec:
    """The job to its end on this machine: from the first record, with nothing to watch, explain or recover.

    No part of it can act on the world: no alert, no shadow, no release that a gate writes.
    """
    runtime = job.runtime.model_copy(
        update={
            "parallelism": min(job.runtime.parallelism, os.cpu_count() or 1),
            "latency": "throughput",
            "delivery": "at_least_once",  # nobody reads before the end, and a failure ends the run
        }
    )
    source = job.source.model_copy(update={"start": "earliest"})
    plain = {"explain": 0, "format": "json", "schema_registry": None}
    predictions = job.predictions.model_copy(update=plain)
    dead_letters = job.dead_letters.model_copy(update={"max_rate": None})
    changed = {
        "source": source,
        "runtime": runtime,
        "predictions": predictions,
        "dead_letters": dead_letters,
    }
    return without_records(job.model_copy(update={**dict.fromkeys(OPTIONAL_SUFFIXES), **changed}))


def _with_table(job: JobSpec, name: str, topic: str) -> JobSpec:
    """The job with the changes of a table in this topic, which ends: waiting for none is to hurry."""
    lookup = job.features.lookups[name]
    when = lookup.event_time.model_copy(update={"idle": _NEVER_IDLE_MS})
    changed = lookup.model_copy(update={"topic": topic, "event_time": when})
    lookups = {**job.features.lookups, name: changed}
    return job.model_copy(update={"features": job.features.model_copy(update={"lookups": lookups})})


def _without_checkpoints(plan: Runnable) -> Runnable:
    """A job that ends waits for its last checkpoint; one that is not to be recovered needs none."""
    options = {k: v for k, v in plan.options.items() if not k.startswith("execution.checkpointing.")}
    return replace(plan, options=options)


def _message(record: bytes | Message) -> Message:
    return record if isinstance(record, Message) else Message(record)


def _problem(job: JobSpec, outputs: Outputs, count: int, complete: bool) -> str | None:
    """What is wrong with the run, if anything is: its outcomes are no history then."""
    if not complete:
        return f"the job that reads {count} records was cancelled before its end"
    found = len(outputs.predictions) + len(outputs.dead_letters) + len(outputs.late)
    if job.score == "per_window" or found == count:
        return None
    return (
        f"each of the {count} records must have one outcome; there are {found}: "
        f"{len(outputs.predictions)} predictions, {len(outputs.dead_letters)} dead letters, "
        f"{len(outputs.late)} late records"
    )
