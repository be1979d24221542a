"""The life of a model on a running job: shadow, canary, promotion, rollback, and what each did to the stream.

    scripts/demo --lifecycle        # or: python -m flink_jobs.demo --lifecycle

Two versions are trained on real flights; a job scores a live stream and is never restarted. Exits with 1
unless each record has one prediction, by the version that its time asks for.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from flink_jobs.demo import live_flights
from flink_jobs.demo.common import FOLDER, HOME, TRAINING, step, write_planes
from flink_jobs.jobfile import read_job
from flink_jobs.kafka import ClientSettings, create_topics, end_offsets, read_topic
from flink_jobs.local.broker import Broker
from flink_jobs.plan import Plan
from flink_jobs.plan.topics import output_topics
from flink_jobs.plan.validate import plan_file
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.reports.comparisons import read_comparisons
from flink_jobs.reports.releases import comparison_tables, describe_release
from flink_jobs.run import preflight
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.spec import JobSpec
from flink_jobs.training import TrainingSettings, load_trainer, train
from flink_jobs.training.data import features_on_flink
from flink_jobs.training.show import Show
from udfs.releases.log import ReleaseLog, ReleaseRecord
from udfs.rollout.compare import add_up
from udfs.times import parse_time

JOB_FILE = HOME / "conf" / "flight_delay_live.yaml"
RATE = 300
LEAD_MS = 2_000
SHADOW_SECONDS, CANARY_SECONDS, CHAMPION_SECONDS = 14, 14, 8


@dataclass
class Stream:
    """The live stream, in a thread; `sent` is set when it has ended."""

    settings: ClientSettings
    stop: threading.Event = field(default_factory=threading.Event)
    sent: int = 0

    def run(self) -> None:
        self.sent = live_flights.send(self.settings, RATE, self.stop)


class LivePrediction(msgspec.Struct):
    """What the summary needs of a prediction."""

    version: int
    release: int
    event_time: str
    partition: int
    offset: int


def run(console: Console) -> bool:
    """The whole demo; whether all went as it should."""
    write_planes(FOLDER)
    models = FOLDER / "lifecycle-models"
    shutil.rmtree(models, ignore_errors=True)
    with Broker() as broker:
        settings = ClientSettings(broker.bootstrap)
        registry = Registry(models)
        _train_two(registry, broker.bootstrap)
        plan = live_plan(broker.bootstrap, models)
        create_topics(settings, {live_flights.TOPIC: live_flights.PARTITIONS})
        stream = Stream(settings)
        sender = threading.Thread(target=stream.run)
        preflight.check(plan)
        with step("Starting the job"):
            running = start(plan, Target())
        with running:
            sender.start()
            try:
                _live(console, Releases(registry, "flight_delay"), plan.job, settings)
            finally:
                stream.stop.set()
                sender.join()
            with step("Ending the job with its last records"):
                _until_all_are_read(running, stream.sent)
                running.finish(drain=True)
                running.wait()
        return _summary(console, settings, plan.job, Releases(registry, "flight_delay").log(), stream.sent)


def live_plan(brokers: str, models: Path) -> Plan:
    """The plan of the demo's live job on these brokers and models."""
    environ = {"TAILRACE_BROKERS": brokers, "TAILRACE_DEMO": str(FOLDER), "TAILRACE_MODELS": str(models)}
    return plan_file(read_job(JOB_FILE, {**os.environ, **environ}))


def _train_two(registry: Registry, brokers: str) -> None:
    """Version 1 as the demo's, the champion; version 2 from fewer trees."""
    trainer = load_trainer(TRAINING)
    fewer = {**trainer.parameters, "max_iter": 60, "learning_rate": 0.1}
    features = partial(features_on_flink, brokers=brokers)
    settings = TrainingSettings(
        cache=FOLDER / "features", environ={**os.environ, "TAILRACE_DEMO": str(FOLDER)}
    )
    for number, one in enumerate((trainer, replace(trainer, parameters=fewer)), 1):
        with step(f"Training version {number}") as note:
            manifest = train(one, registry, settings, Show.through(note), features)
            note(f"AUC on held-out days {manifest.metrics['holdout_auc']:.4f}")


def _live(console: Console, releases: Releases, job: JobSpec, settings: ClientSettings) -> None:
    """One release after the other, as a person would make them."""
    with step("Champion 1 on the live stream"):
        _wait_for_predictions(settings, job)
        time.sleep(CHAMPION_SECONDS)

    def release(record: ReleaseRecord, seconds: float) -> None:
        console.print(f"[bold]release {record.number}[/]: {describe_release(record)}")
        time.sleep(LEAD_MS / 1000 + seconds)

    release(releases.shadow((2,), _moment("a look at version 2")), SHADOW_SECONDS)
    _show_comparison(console, job, settings)
    release(releases.canary(2, 0.3, "tailnum", _moment("it agrees well")), CANARY_SECONDS)
    _show_comparison(console, job, settings)
    release(releases.promote(2, _moment("passed as canary")), CHAMPION_SECONDS)
    release(releases.rollback(_moment("just to show it")), CHAMPION_SECONDS)


def _moment(reason: str) -> Activation:
    return Activation(lead_ms=LEAD_MS, reason=reason, by="demo")


def _wait_for_predictions(settings: ClientSettings, job: JobSpec) -> None:
    deadline = time.monotonic() + 90
    while not sum(end_offsets(settings, job.predictions.topic).values()) and time.monotonic() < deadline:
        time.sleep(0.5)


def _show_comparison(console: Console, job: JobSpec, settings: ClientSettings) -> None:
    assert job.comparisons is not None
    records = read_comparisons(job.comparisons.topic, settings)[-2:]
    if records:
        for part in comparison_tables(add_up(records), records):
            console.print(part)


def _until_all_are_read(running: RunningJob, sent: int) -> None:
    deadline = time.monotonic() + 60
    while running.cluster.counts(running.id)["read"] < sent and time.monotonic() < deadline:
        time.sleep(0.5)


def _summary(
    console: Console, settings: ClientSettings, job: JobSpec, log: ReleaseLog | None, sent: int
) -> bool:
    assert log is not None
    rows = [
        (msgspec.json.decode(r.value or b"", type=LivePrediction), r.timestamp)
        for r in read_topic(settings, job.predictions.topic)
    ]
    found = [row for row, _ in rows]
    times = np.array([parse_time(row.event_time) for row in found])
    places = log.places(times)
    allowed = [
        set(log.state(place).versions) - set(log.state(place).shadows) for place in range(len(log.records))
    ]
    wrong = sum(
        row.version not in allowed[place] or row.release != place + 1
        for row, place in zip(found, places.tolist(), strict=True)
    )
    doubled = len(found) - len({(row.partition, row.offset) for row in found})
    others = {
        name: len(list(read_topic(settings, topic)))
        for name, topic in output_topics(job).items()
        if name != "predictions"
    }
    console.print(_releases_table(log, found, places, times, np.array([stamp for _, stamp in rows])))
    console.print(
        f"sent {sent:,} = predictions {len(found):,} + dead letters {others['dead_letters']} "
        f"+ late {others['late']}; doubled {doubled}, by the wrong version {wrong}"
    )
    right = not (wrong or doubled) and sent == len(found) + sum(others.values())
    text = "Each record has one prediction, by the version that its time asks for. Nothing was restarted."
    console.print(text if right else "[red]That is not as it should be.[/]")
    return right


def _releases_table(
    log: ReleaseLog,
    found: list[LivePrediction],
    places: np.ndarray,  # type: ignore[type-arg]
    times: np.ndarray,  # type: ignore[type-arg]
    stamps: np.ndarray,  # type: ignore[type-arg]
) -> Table:
    table = Table("release", "what", box=None, padding=(0, 2, 0, 0))
    table.add_column("records", justify="right")
    table.add_column("by version")
    table.add_column("first came after writing", justify="right")
    table.add_column("median wait", justify="right")
    versions = np.array([row.version for row in found])
    for place, record in enumerate(log.records):
        mine = places == place
        if not mine.any():
            continue
        by = ", ".join(
            f"{v}: {n:,}" for v, n in zip(*np.unique(versions[mine], return_counts=True), strict=True)
        )
        after = (int(times[mine].min()) - parse_time(record.written_at)) / 1000
        wait = float(np.median(stamps[mine] - times[mine]))
        shown = f"{after:.1f} s" if record.at else ""
        table.add_row(str(record.number), record.action, f"{mine.sum():,}", by, shown, f"{wait:.0f} ms")
    return table
