"""The demo: half a year of flights through a real Kafka broker and conf/flight_delay.yaml on Flink.

    scripts/demo                    # or: python -m flink_jobs.demo
    scripts/demo --format avro      # flights and predictions in Avro, by a schema registry
    scripts/demo --lifecycle        # versions that change while a job runs: flink_jobs.demo.lifecycle
    scripts/demo --loop             # versions that a policy trains and promotes: flink_jobs.demo.loop

Exits with 1 unless every record has exactly one outcome, and each wrong one that which it should have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from flink_jobs.cli.progress import Progress
from flink_jobs.demo import flights
from flink_jobs.demo.avro import avro_form, job_text, read_avro
from flink_jobs.demo.common import FOLDER, HOME, TRAINING, Note, console, step, write_planes
from flink_jobs.demo.drift import read_reports, show_drift
from flink_jobs.demo.records import JSON, Form, Sent, mixed_stream
from flink_jobs.demo.summary import read_outcomes, show_summary
from flink_jobs.jobfile import load_job, read_job
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.local.broker import Broker
from flink_jobs.local.schema_registry import LocalRegistry
from flink_jobs.plan.validate import plan_file
from flink_jobs.registry import Registry
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.spec import JobSpec
from flink_jobs.training import Trainer, TrainingSettings, load_trainer, train
from flink_jobs.training.data import ComputeFeatures, features_on_flink, job_signature, read_history
from flink_jobs.training.lineage import table_fingerprint
from flink_jobs.training.show import Show
from udfs.model.formats import installed_versions
from udfs.model.manifest import Manifest
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import SchemaRegistry

JOB_FILE = HOME / "conf" / "flight_delay.yaml"
MONTHS = range(7, 13)
PARTITIONS = 4
# One of the records has a megabyte.
LARGEST_MESSAGE = 2_000_000


@dataclass(frozen=True)
class Written:
    """What the formats differ in: the job file, how flights are written, and how predictions are read."""

    job_file: Path = JOB_FILE
    form: Form = JSON
    decode: Callable[[bytes], Any] = msgspec.json.decode


def run(written_as: Literal["json", "avro"] = "json") -> bool:
    """The whole demo; True when all is right."""
    write_planes(FOLDER)
    if written_as == "json":
        with Broker() as broker:
            return _on(broker, Written())
    with LocalRegistry() as registry, Broker() as broker:
        return _on(broker, in_avro(registry.url))


def in_avro(url: str, folder: Path = FOLDER) -> Written:
    """The demo by the schema registry at `url`; its job file is written into `folder`."""
    job_file = folder / "flight_delay_avro.yaml"
    job_file.write_text(job_text(JOB_FILE.read_text(), url, JOB_FILE.parent))
    client = SchemaRegistry(RegistryParams(url))
    topic = load_job(job_file, environment("unused:9092", folder)).source.topic
    return Written(job_file, avro_form(client, topic), read_avro(client))


def _on(broker: Broker, written: Written) -> bool:
    settings = ClientSettings(broker.bootstrap)
    job = demo_job(broker.bootstrap)
    with step("Model of January to June") as note:
        features = partial(features_on_flink, brokers=broker.bootstrap)
        manifest, trained = ready_model(Registry(job.model.registry), features, note=note)
        note(f"{manifest.name} version {manifest.version}, " + ("trained" if trained else "trained before"))
    with step("Flights of July to December") as note:
        departures = flights.events(MONTHS)
        stream = mixed_stream(departures, form=written.form)
        note(f"{len(departures):,}, and {len(stream) - len(departures)} broken, late or misdated records")
    with step(f"Sending to {job.source.topic}") as note:
        send(settings, job.source.topic, stream)
        note(f"{len(stream):,} records to {PARTITIONS} partitions on a broker at {broker.bootstrap}")
    with step(f"Running {written.job_file.relative_to(HOME)}") as note:
        run_job(broker.bootstrap, len(stream), note, written.job_file)
    with step("Reading what it wrote") as note:
        outcomes = read_outcomes(settings, job, written.decode)
        reports = read_reports(settings, job)
        note("all that it has committed")
    right = show_summary(console, outcomes, stream, departures)
    return show_drift(console, reports, outcomes, FOLDER / "drift.html") and right


def demo_job(brokers: str, folder: Path = FOLDER) -> JobSpec:
    """The committed job file, on these brokers and with the lookup table in `folder`."""
    return load_job(JOB_FILE, environment(brokers, folder))


def environment(brokers: str, folder: Path = FOLDER) -> dict[str, str]:
    """The variables that the committed job file asks for, among all others."""
    return {**os.environ, "TAILRACE_BROKERS": brokers, "TAILRACE_DEMO": str(folder)}


def ready_model(
    registry: Registry,
    features: ComputeFeatures = features_on_flink,
    folder: Path = FOLDER,
    note: Note = lambda _: None,
    trainer: Trainer | None = None,
) -> tuple[Manifest, bool]:
    """The champion, if it was trained here in this way; else a new one. And whether it is new.

    `folder` is where the job file finds the lookup table, and where computed features are kept. `trainer` is
    the demo's own unless given.
    """
    trainer = trainer or demo_trainer()
    if trainer.name in registry.models() and registry.releases(trainer.name):
        champion = registry.manifest(trainer.name, registry.resolve(trainer.name, "champion").version)
        if _is_current(champion, trainer, folder):
            return champion, False
    settings = TrainingSettings(
        promote=True, cache=folder / "features", environ={**os.environ, "TAILRACE_DEMO": str(folder)}
    )
    return train(trainer, registry, settings, Show.through(note), features), True


def demo_trainer() -> Trainer:
    """Of the months before the stream alone: what the model is worth on the others, the demo's end shows."""
    history = partial(flights.labelled_departures, range(1, MONTHS[0]))
    return replace(load_trainer(TRAINING), history=history, test_from=None)


def _is_current(manifest: Manifest, trainer: Trainer, folder: Path) -> bool:
    job = demo_job("unused:9092", folder)
    made = {
        "fingerprint": table_fingerprint(read_history(trainer, job)),
        "parameters": trainer.parameters,
        "seed": trainer.seed,
        "test_from": trainer.test_from,
    }
    return (
        made.items() <= manifest.training.items()
        and manifest.signature == job_signature(trainer, job)
        and manifest.libraries == installed_versions(manifest.libraries)
    )


def send(settings: ClientSettings, topic: str, stream: Sequence[Sent]) -> None:
    """Creates the topic and writes the stream, in order, with the present time as the records' timestamp."""
    create_topics(settings, {topic: PARTITIONS}, {"max.message.bytes": str(LARGEST_MESSAGE)})
    produce(settings, topic, (Message(sent.value, sent.key, sent.headers) for sent in stream))


def run_job(brokers: str, records: int, note: Note, job_file: Path = JOB_FILE) -> None:
    """Runs the job file on a minicluster up to the present end of its topic."""
    progress = Progress(console, "records")
    plan = plan_file(read_job(job_file, environment(brokers)), bounded=True)
    preflight.check(plan)
    with start(plan, Target()) as running:
        running.wait(lambda counts: note(f"of {records:,} {progress.line(counts, time.monotonic())}"))
    note(f"all {records:,} records of the topic")  # the last counts that were seen may be half a second old
