"""A model that knows nothing of delays is replaced by one that does, on a running job, as flights land.

The adversary is time: labels come hours after their flights, a version scores from a moment of event time on,
and the loop may act on nothing but what the job wrote up to then. What is right says scikit-learn, on the
test's own join of flights and predictions.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from flink_jobs.demo import flights
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.lifecycle.of_job import Sources, loop_of
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.spec import JobSpec
from flink_jobs.testing import Broker, record
from flink_jobs.training.data import Computed, Note
from flink_jobs.training.show import Show
from tests.helpers import models
from tests.helpers.live import Live, live
from udfs.releases.log import BEGINNING, ReleaseRecord
from udfs.times import iso, parse_time

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START = parse_time("2013-07-01T00:00:00Z")
WINDOW_MS, WAIT_MS, SLACK_MS = 6 * HOUR_MS, 12 * HOUR_MS, 60_000
LEAD_MS = 20_000
# Some days more than each step needs: a shadow that loads slowly misses flights.
DAYS = 12
PARTITIONS = 2
INPUTS = ("dep_delay", "distance", "scheduled_minutes")
FIELDS = ("flight_id", "tailnum", *INPUTS, "at")
JOB = """
job: flight-delay
source:
  topic: departures
  event_time: {field: at, unit: ms, out_of_order: 1m, idle: 10m}
  schema:
    flight_id: {type: string, required: true}
    tailnum: string
    dep_delay: double
    distance: double
    scheduled_minutes: double
    at: {type: long, required: true}
model: {name: flight_delay, registry: REGISTRY, refresh: 500ms}
predictions: {include: [flight_id, tailnum]}
quality:
  window: 6h
  idle: 1h
  labels:
    topic: LANDED
    on: flight_id
    field: late
    wait: 12h
    event_time: {field: landed_at, unit: ms, out_of_order: 1m, idle: 10m}
comparisons: {window: 6h, idle: 1h, gate: {records: 200, labels: 200, latency: null}}
lifecycle:
  train: {quality: {metric: log_loss, reference: 0.35, bad: 2, of: 4}}
  shadow: {windows: 2}
  canary: {share: 50%, key: tailnum, windows: 2}
runtime: {parallelism: 2, latency: low, checkpoint: {interval: 500ms}}
"""
TRAIN = """
from pathlib import Path

import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier

from flink_jobs.training import Trainer
from udfs.model.manifest import Output

HERE = Path(__file__).parent
TRAINER = Trainer(
    name="flight_delay",
    job=HERE / "job.yaml",
    inputs=("dep_delay", "distance", "scheduled_minutes"),
    label="late",
    output=Output(kind="binary", classes=(False, True)),
    history=lambda: pq.read_table(HERE / "landed.parquet"),
    build=lambda parameters: HistGradientBoostingClassifier(max_iter=30, random_state=1),
)
"""


def july() -> pd.DataFrame:
    """A label comes when the flight lands; of some that were diverted none comes."""
    found = flights.events([7])
    found["at"] = [parse_time(text) for text in found["departed_at"]]
    late = (found["arr_delay"] - found["dep_delay"]).fillna(0)
    minutes = np.maximum(found["scheduled_minutes"] + late, 1).astype(np.int64)
    found["landed_at"] = found["at"] + minutes * 60_000
    found = found[(found["at"] >= START) & (found["at"] < START + DAYS * DAY_MS)]
    return found.sort_values("at", kind="stable").reset_index(drop=True)


def as_features(job: JobSpec, records: pa.Table, columns: Sequence[str], note: Note) -> Computed:
    """They are fields of the records."""
    rows = np.arange(records.num_rows)
    times = records["at"].to_numpy().astype("datetime64[ms]")
    return Computed(pa.table({name: records[name].cast(pa.float64()) for name in columns}), rows, times)


@dataclass
class World:
    """The job and its flights up to `now`, and what the loop did by then."""

    job: Live
    labels: str
    root: Path
    all: pd.DataFrame
    now: int = START
    steps: list[tuple[str, str, int]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    _read: dict[str, tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)

    def clock(self) -> int:
        return self.now

    def go_on(self, days: int) -> None:
        """Departures and landings of these days, and what the job says of them."""
        end = self.now + days * DAY_MS
        table = self.all
        left = table[(table["at"] >= self.now) & (table["at"] < end)]
        landed = table[(table["landed_at"] >= self.now) & (table["landed_at"] < end) & table["late"].notna()]
        self.job.send(_messages(left[list(FIELDS)]))
        told = landed[["flight_id", "late", "landed_at"]].sort_values("landed_at", kind="stable")
        produce(self.job.settings, self.labels, _messages(told))
        self.now = end
        self.job.until(self._said)

    def _said(self) -> bool:
        """The last window of the day is open still; another day's labels are all there."""
        if self.job.count("predictions") < self.job.sent:
            return False
        closed = any(_end(r) == self.now - WINDOW_MS for r in self.records("comparisons"))
        complete = self.now - WAIT_MS - 2 * WINDOW_MS
        final = any(r["final"] and _end(r) == complete for r in self.records("quality"))
        return closed and final

    def advance(self) -> list[str]:
        """As a scheduler would at midnight; a training gets the flights that have landed."""
        known = self.all[(self.all["landed_at"] < self.now) & self.all["late"].notna()]
        table = pa.table({name: known[name].to_numpy(np.float64) for name in INPUTS})
        table = table.append_column("flight_id", pa.array(known["flight_id"], pa.string()))
        table = table.append_column("at", pa.array(known["at"], pa.int64()))
        table = table.append_column("late", pa.array(known["late"].astype(bool)))
        pq.write_table(table, self.root / "flight_delay" / "landed.parquet")
        show, settings = Show.silent(), ClientSettings(self.job.settings.brokers)
        loop = loop_of(self.job.spec, Sources(), settings, show, features=as_features, clock=self.clock)
        taken = [each.step for each in loop.advance(self.clock)]
        self.steps += [(step.kind, step.reason, self.now) for step in taken]
        if len(taken) > 1:
            time.sleep(3)  # Workers look for releases twice a second.
        return [step.kind for step in taken]

    def records(self, sink: str) -> list[dict[str, Any]]:
        """Read anew only when there are more: they are asked for several times a second."""
        count = self.job.count(sink)
        if sink not in self._read or self._read[sink][0] != count:
            self._read[sink] = count, _values(self.job, sink)
        return self._read[sink][1]

    def log(self) -> tuple[ReleaseRecord, ...]:
        found = Releases(Registry(self.root), "flight_delay").log()
        assert found is not None
        return found.records


def _values(job: Live, sink: str) -> list[dict[str, Any]]:
    return [json.loads(row.value or b"") for row in job.read(sink)]


def _messages(rows: pd.DataFrame) -> Iterator[Message]:
    """In order in each partition."""
    for number, row in enumerate(json.loads(rows.to_json(orient="records"))):
        yield record(row, partition=number % PARTITIONS)


def _end(row: dict[str, Any]) -> int:
    return parse_time(row["window"]["end"])


@pytest.fixture(scope="module")
def world(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Until two days after the new version is champion. Version 1 says the same of each flight."""
    root, labels = tmp_path_factory.mktemp("models"), f"landed-{uuid.uuid4().hex[:8]}"
    inputs = pa.table({name: [1.0, 2.0, 3.0, 4.0] for name in INPUTS})
    models.write(
        root, "flight_delay", DummyClassifier(), inputs, [False, False, False, True], "binary", promoted=False
    )
    begin = Releases(Registry(root), "flight_delay", lambda: START)
    begin.promote(1, Activation(BEGINNING, past=True, by="ada"))
    text = JOB.replace("REGISTRY", str(root)).replace("LANDED", labels)
    (root / "flight_delay" / "train.py").write_text(TRAIN)
    (root / "flight_delay" / "job.yaml").write_text(text)
    create_topics(ClientSettings(broker.bootstrap), {labels: PARTITIONS})
    with live(broker, text, partitions=PARTITIONS) as job:
        found = World(job, labels, root, july())
        found.go_on(days=2)
        while "promote" not in found.advance() and found.now < START + (DAYS - 2) * DAY_MS:
            found.go_on(days=1)
        found.go_on(days=2)
        found.predictions, found.quality = _values(job, "predictions"), _values(job, "quality")
    return found


def test_it_is_trained_tried_and_promoted_for_what_labels_said(world: World) -> None:
    steps = [(kind, reason) for kind, reason, _ in world.steps if kind != "wait"]
    assert [kind for kind, _ in steps] == ["train", "fit", "shadow", "canary", "promote"]
    reasons = dict(steps)
    assert "the realized log_loss was worse than 0.35" in reasons["train"]
    assert reasons["canary"].startswith("as shadow, it passed the gate after ")
    assert reasons["promote"].startswith("as canary, it passed the gate after ")
    records = world.log()
    assert [each.action for each in records] == ["promote", "confirm", "shadow", "canary", "promote"]
    written = [step for step in world.steps if step[0] not in ("wait", "fit")]
    for entry, (kind, reason, now) in zip(records[1:], written, strict=True):
        assert entry.by == f"job {world.job.spec.job}, lifecycle: {kind}"
        assert (entry.reason, entry.written_at) == (reason, iso(now))
        assert entry.at == iso(now + LEAD_MS)


def test_what_it_was_trained_for_had_landed_by_then(world: World) -> None:
    """The windows that the manifest names, by flights whose labels had come when the training began."""
    training = Registry(world.root).manifest("flight_delay", 2).training
    began = next(now for kind, _, now in world.steps if kind == "train")
    windows = training["retrained_for"]["quality"]["windows"]
    assert sum(window["worse"] for window in windows) >= 2
    for window in windows:
        assert parse_time(window["end"]) <= began
        rows = within(world.all, window)
        known = rows[(rows["landed_at"] < began) & rows["late"].notna()]
        said = np.full(len(known), 0.25)
        assert window["value"] == pytest.approx(log_loss(known["late"].astype(bool), said), rel=1e-6)
    assert parse_time(training["last_event"]) < began


def within(table: pd.DataFrame, window: dict[str, str]) -> pd.DataFrame:
    start, end = parse_time(window["start"]), parse_time(window["end"])
    return table[(table["at"] >= start) & (table["at"] < end)]


def joined(world: World) -> pd.DataFrame:
    """Each prediction with its flight, by the flight's own key."""
    said = pd.DataFrame(world.predictions)[["flight_id", "version", "score", "prediction"]]
    return world.all.merge(said, on="flight_id", validate="one_to_one")


def test_each_flight_has_one_prediction_by_the_version_of_its_time(world: World) -> None:
    rows = joined(world)
    assert len(rows) == len(world.predictions) == world.job.sent
    canary, champion = (parse_time(entry.at or "") for entry in world.log()[-2:])
    assert set(rows.loc[rows["at"] < canary, "version"]) == {1}
    assert set(rows.loc[rows["at"] >= champion, "version"]) == {2}
    divided = rows[(rows["at"] >= canary) & (rows["at"] < champion)]
    by_plane = divided.dropna(subset=["tailnum"]).groupby("tailnum")["version"]
    assert by_plane.nunique().max() == 1
    of_planes = by_plane.first().value_counts(normalize=True)
    # Of some hundred planes, each with even odds.
    assert 0.4 < of_planes[2] < 0.6


def test_quality_is_what_scikit_learn_says_of_each_version(world: World) -> None:
    """Of every window whose labels are complete, before, during and after the change."""
    rows, versions = joined(world), set()
    finals = [r for r in world.quality if r["final"] and not r["segment"] and r["labels"]["n"] >= 50]
    for found in finals:
        mine = within(rows, found["window"])
        mine = mine[mine["version"] == found["version"]]
        assert found["records"] == len(mine)
        until = parse_time(found["window"]["end"]) + WAIT_MS
        known = mine[mine["late"].notna() & (mine["landed_at"] < until + SLACK_MS)]
        truth = known["late"].astype(bool)
        realized = found["realized"]
        assert found["labels"]["n"] == len(known)
        assert realized["log_loss"]["value"] == pytest.approx(log_loss(truth, known["score"]), rel=1e-6)
        assert realized["accuracy"]["value"] == pytest.approx(accuracy_score(truth, known["prediction"]))
        auc = realized["auc"]
        exact = roc_auc_score(truth, known["score"])
        assert auc["value"] == pytest.approx(exact, abs=auc.get("binned", 0) + 1e-9)
        versions.add(found["version"])
    assert versions == {1, 2}


def test_the_new_version_is_right_where_the_old_one_was_not(world: World) -> None:
    """On the days after its promotion, by labels that nobody had when it was trained."""
    rows = joined(world)
    after = parse_time(world.log()[-1].at or "")
    known = rows[(rows["at"] >= after) & rows["late"].notna()]
    truth = known["late"].astype(bool)
    assert len(known) > 1_000
    assert roc_auc_score(truth, known["score"]) > 0.8
    assert log_loss(truth, known["score"]) < log_loss(truth, np.full(len(truth), 0.25)) - 0.1
