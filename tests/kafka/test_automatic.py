"""A live job that moves a canary by itself, on to all records or back; and a person's rollback, measured."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.kafka import Message, Record
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.testing import Broker, record
from tests.helpers import models
from tests.helpers.live import Live, live
from tests.helpers.traps import LIMIT, Trap
from udfs.releases.log import ReleaseLog, ReleaseRecord
from udfs.releases.route import in_canary
from udfs.times import parse_time

LEAD_MS = 1_000
CUSTOMERS, RATE, LAG_S = 300, 1_800, 5
AMOUNTS = (1.0, 2.0, 3.0, 4.0, 5.0, LIMIT + 1.0)
GOOD, RAISES, LOWER = 2, 3, 4
INPUTS = pa.table({"amount": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
JOB = """
job: steered
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 200ms}
  schema:
    customer: {type: string, required: true}
    amount: {type: double, required: true}
    at: {type: long, required: true}
model: {name: fraud, registry: REGISTRY, refresh: 500ms}
predictions: {include: [customer]}
comparisons:
  window: 1s
  gate: {records: 10, latency: null}
  automatic: {steps: [1%, 10%, 50%, 100%], windows: 1}
runtime: {parallelism: 2, latency: low, checkpoint: {interval: 500ms}}
"""


@dataclass(frozen=True)
class Seen:
    """What the job wrote, and the log that it followed; `asked` is when the rollback was typed (ms)."""

    sent: int
    log: ReleaseLog
    asked: int
    predictions: list[tuple[dict[str, Any], int]]
    dead: list[Record]
    comparisons: list[dict[str, Any]]
    alerts: list[dict[str, Any]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """1 is champion; 2 says the same; 3 raises on the largest amount; 4 has lower scores."""
    root = tmp_path_factory.mktemp("models")
    large = [amount > 3 for amount in INPUTS["amount"].to_pylist()]
    largest = [amount > 5 for amount in INPUTS["amount"].to_pylist()]
    for estimator, targets in (
        (LogisticRegression(), large),
        (LogisticRegression(), large),
        (Trap("raise"), large),
        (LogisticRegression(), largest),
    ):
        models.write(root, "fraud", estimator, INPUTS, targets, "binary", promoted=False)
    registry = Registry(root)
    registry.promote("fraud", 1)
    return registry


def payments(job: Live, stop: threading.Event) -> Iterator[Message]:
    """Now, at a steady rate that the job keeps up with, on a slow machine too.

    In each second each customer has each amount once: all have the same scores.
    """
    due, before, numbers = 0.0, time.monotonic(), count()
    while not stop.wait(0.05):
        passed, before = time.monotonic() - before, time.monotonic()
        if due > answered(job) + LAG_S * RATE:
            continue
        due += min(passed, 1.0) * RATE
        now = int(time.time() * 1000)
        for i in numbers:
            value = {"customer": f"c{i % CUSTOMERS}", "amount": AMOUNTS[(i // CUSTOMERS + i) % 6], "at": now}
            yield record(value, partition=i % 2, timestamp=now)
            if i >= due:
                break


def answered(job: Live) -> int:
    return job.count("predictions") + job.count("dead_letters")


def newest(registry: Registry) -> ReleaseRecord:
    log = Releases(registry, "fraud").log()
    assert log is not None
    return log.records[-1]


def steer(job: Live, registry: Registry) -> int:
    """A good canary and two bad ones, which nobody looks after; then a rollback, as a person types it."""
    releases = Releases(registry, "fraud")
    job.until(lambda: job.count("predictions"))
    releases.canary(GOOD, 0.01, "customer", Activation(lead_ms=LEAD_MS))
    job.until(lambda: newest(registry).action == "promote")
    for bad in (LOWER, RAISES):
        releases.canary(bad, 0.5, "customer", Activation(lead_ms=LEAD_MS))
        job.until(lambda: newest(registry).action == "rollback")
    time.sleep(LEAD_MS / 1000)
    asked = int(time.time() * 1000)
    words = ["release", "rollback", "fraud", "--registry", str(registry.root), "--lead", "1s"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    time.sleep(LEAD_MS / 1000 + 0.5)
    return asked


@pytest.fixture(scope="module")
def seen(broker: Broker, registry: Registry) -> Seen:
    stop = threading.Event()
    with live(broker, JOB.replace("REGISTRY", str(registry.root)), partitions=2) as job:
        feeder = threading.Thread(target=lambda: job.send(payments(job, stop)))
        feeder.start()
        try:
            asked = steer(job, registry)
        finally:
            stop.set()
            feeder.join()
        job.until(lambda: answered(job) >= job.sent)
    log = Releases(registry, "fraud").log()
    assert log is not None
    return Seen(
        job.sent,
        log,
        asked,
        [(json.loads(row.value or b""), row.timestamp) for row in job.read("predictions")],
        job.read("dead_letters"),
        [json.loads(row.value or b"") for row in job.read("comparisons")],
        [json.loads(row.value or b"") for row in job.read("alerts")],
    )


def test_a_good_canary_goes_all_the_way_and_a_bad_one_back(seen: Seen) -> None:
    steps = [
        (r.action, r.champion, r.canary and (r.canary.version, r.canary.share)) for r in seen.log.records
    ]
    assert steps == [
        ("promote", 1, None),
        ("canary", 1, (GOOD, 0.01)),
        ("canary", 1, (GOOD, 0.1)),
        ("canary", 1, (GOOD, 0.5)),
        ("promote", GOOD, None),
        ("canary", GOOD, (LOWER, 0.5)),
        ("rollback", GOOD, None),
        ("canary", GOOD, (RAISES, 0.5)),
        ("rollback", GOOD, None),
        ("rollback", 1, None),
    ]
    by_job = [r for r in seen.log.records if r.by.startswith("job steered")]
    assert [r.number for r in by_job] == [3, 4, 5, 7, 9]
    assert [r.reason for r in by_job[:3]] == [
        f"1 windows passed at {share}" for share in ("1%", "10%", "50%")
    ]
    assert by_job[3].reason.startswith("scores are distributed otherwise: distance 0.")
    # A sixth of the records, as far as they had come.
    rate = re.match(r"error rate ([\d.]+)%, \1% above the champion's", by_job[4].reason)
    assert rate
    assert 12 < float(rate[1]) < 22
    assert all(r.at_ms - parse_time(r.written_at) == LEAD_MS for r in by_job)


def test_the_comparisons_say_what_the_job_did(seen: Seen) -> None:
    actions = [
        c["action"] for c in sorted(seen.comparisons, key=lambda c: c["window"]["start"]) if c["action"]
    ]
    reasons = [r.reason for r in seen.log.records if r.by.startswith("job steered")]
    words = ["advance to 10%", "advance to 50%", "promote", "rollback", "rollback"]
    assert actions == [f"{word}: {reason}" for word, reason in zip(words, reasons, strict=True)]


def test_a_rollback_is_an_alert_with_its_reason(seen: Seen) -> None:
    rolled = [a for a in seen.alerts if a["rule"] == "canary-rolled-back" and a["state"] == "firing"]
    rolled.sort(key=lambda alert: alert["value"])
    assert [(a["version"], a["severity"]) for a in rolled] == [(LOWER, "critical"), (RAISES, "critical")]
    for alert, number in zip(rolled, (7, 9), strict=True):
        reason = seen.log.records[number - 1].reason
        assert alert["message"] == f"version {alert['version']}, release {number}: {reason}"


def test_each_record_has_the_version_that_its_time_and_key_ask_for(seen: Seen) -> None:
    assert len({(row["partition"], row["offset"]) for row, _ in seen.predictions}) == len(seen.predictions)
    assert len(seen.predictions) + len(seen.dead) == seen.sent
    places = seen.log.places(np.array([parse_time(row["event_time"]) for row, _ in seen.predictions]))
    keys = pa.array([row["customer"] for row, _ in seen.predictions])
    expected = np.array([record.champion for record in seen.log.records])[places]
    for place, record_ in enumerate(seen.log.records):
        if (canary := record_.canary) is not None:
            chosen = in_canary(keys, canary.share, f"fraud/{canary.version}") & (places == place)
            assert chosen.any()
            expected[chosen] = canary.version
    assert [row["version"] for row, _ in seen.predictions] == expected.tolist()
    assert {dict(row.headers)["tailrace.reason"] for row in seen.dead} == {b"model_error"}


def test_a_rollback_takes_effect_after_its_lead(seen: Seen) -> None:
    """The command, then the lead, and no record later is scored by the version that it ended."""
    last = seen.log.records[-1]
    assert last.at_ms - parse_time(last.written_at) == LEAD_MS
    after = [(parse_time(row["event_time"]), row, at) for row, at in seen.predictions]
    since = [(time, row["version"], at) for time, row, at in after if time >= last.at_ms]
    before = [row["version"] for time, row, _ in after if seen.log.records[-2].at_ms <= time < last.at_ms]
    assert {version for _, version, _ in since} == {1}
    assert set(before) == {GOOD}
    first, _, written = min(since)
    print(
        f"rollback: moment {last.at_ms - seen.asked} ms after the command (lead {LEAD_MS} ms), first record "
        f"of the old version {first - last.at_ms} ms later, predicted in {written - first} ms"
    )
    assert LEAD_MS <= last.at_ms - seen.asked < 2 * LEAD_MS
