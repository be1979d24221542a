"""Shadows that raise, hang, crash or are slow: the champion's predictions are those of a run without them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.kafka import Message, Record
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.testing import Broker, record
from tests.helpers import models
from tests.helpers.live import live
from tests.helpers.traps import LIMIT, Trap

START = 1_767_268_800_000
PARTITIONS = 4
INPUTS = pa.table({"amount": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
TRAPS = {2: "raise", 3: "hang", 4: "slow", 5: "crash"}
REASONS = {
    2: "it fails on every row: ValueError: too much",
    3: "no answer within 1 s",
    4: "no answer within 1 s",
    5: "its process has ended",
}
JOB = """
job: shadowed
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 1h}
  schema:
    amount: {type: double, required: true}
    at: {type: long, required: true}
model: {name: fraud, registry: REGISTRY, refresh: 1s}
predictions: {include: [amount]}
comparisons: {window: 1h}
runtime: {parallelism: PARALLELISM, latency: low, checkpoint: {interval: 500ms}}
"""


@dataclass(frozen=True)
class Seen:
    """What the job with shadows wrote, and the predictions of the one without, of the same records."""

    sent: int
    predictions: list[Record]
    shadows: list[Record]
    alerts: list[Record]
    alone: list[Record]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is champion, the others have a trap each."""
    folder = tmp_path_factory.mktemp("models")
    targets = [amount > 3 for amount in INPUTS["amount"].to_pylist()]
    for estimator in (LogisticRegression(), *map(Trap, TRAPS.values())):
        models.write(folder / "all", "fraud", estimator, INPUTS, targets, "binary", promoted=False)
    Registry(folder / "all").promote("fraud", 1)
    return folder


def job_text(root: Path, shadows: Sequence[int], parallelism: int) -> str:
    """The job with a log of its own, of two releases, the second of which has the shadows, if any."""
    own = root / f"with-{len(shadows)}"
    shutil.copytree(root / "all", own)
    Releases(Registry(own), "fraud").shadow(tuple(shadows), Activation(START, past=True))
    return JOB.replace("REGISTRY", str(own)).replace("PARALLELISM", str(parallelism))


def rows(amounts: Sequence[float], numbers: Iterator[int]) -> list[Message]:
    return [
        record({"amount": amount, "at": START + (i := next(numbers))}, key=f"k{i}", partition=i % PARTITIONS)
        for amount in amounts
    ]


def switched_off(alerts: Sequence[Record]) -> dict[int, str]:
    """The message of each version's alert."""
    found = [json.loads(alert.value or b"") for alert in alerts]
    for alert in found:
        assert (alert["rule"], alert["state"]) == ("shadow-off", "firing")
        assert alert["id"] == f"shadow-off/{alert['version']}"
    assert len({alert["id"] for alert in found}) == len(found)
    return {alert["version"]: alert["message"] for alert in found}


@pytest.fixture(scope="module")
def seen(broker: Broker, root: Path) -> Seen:
    """First good rows, then bad ones until all shadows are off; then the same once more without shadows."""
    numbers = count()
    with live(broker, job_text(root, list(TRAPS), 2), partitions=PARTITIONS) as job:
        job.send(rows([1.0, 2.5, 4.0, 5.5] * PARTITIONS, numbers))
        job.until(lambda: job.count("predictions") == job.sent)
        deadline = time.monotonic() + 120
        while job.count("alerts") < len(TRAPS):
            assert time.monotonic() < deadline, switched_off(job.read("alerts"))
            job.send(rows([LIMIT + 1.0, LIMIT + 0.25] * PARTITIONS, numbers))
            time.sleep(0.2)
        job.until(lambda: job.count("predictions") == job.sent)
    with live(broker, job_text(root, [], 4), source=job.source) as other:
        other.until(lambda: other.count("predictions") == job.sent)
    predictions, shadows, alerts = (job.read(sink) for sink in ("predictions", "shadows", "alerts"))
    return Seen(job.sent, predictions, shadows, alerts, other.read("predictions"))


def by_place(predictions: Sequence[Record]) -> dict[tuple[int, int], tuple[bytes | None, bytes | None]]:
    parsed = [(json.loads(row.value or b""), row) for row in predictions]
    return {(value["partition"], value["offset"]): (row.key, row.value) for value, row in parsed}


def test_the_champion_says_the_same_to_the_byte(seen: Seen) -> None:
    """With shadows at parallelism 2, without them at 4."""
    alone = by_place(seen.alone)
    assert len(seen.predictions) == len(seen.alone) == len(alone) == seen.sent
    assert by_place(seen.predictions) == alone
    assert {json.loads(value or b"")["version"] for _, value in alone.values()} == {1}


def test_each_bad_shadow_is_switched_off_and_reported(seen: Seen) -> None:
    said = switched_off(seen.alerts)
    assert sorted(said) == list(TRAPS)
    for version, message in said.items():
        assert message.startswith(f"version {version}, release 2: {REASONS[version]}")


def test_they_scored_until_they_went_bad(seen: Seen) -> None:
    lines = [json.loads(row.value or b"") for row in seen.shadows]
    told = [shadow for line in lines for shadow in line["shadows"]]
    assert {shadow["version"] for shadow in told if shadow["error"] is None} == set(TRAPS)
    assert {shadow["error"] for shadow in told} == {None, "ValueError: too much"}
