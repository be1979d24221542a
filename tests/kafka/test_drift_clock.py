"""Windows that the clock closes, interim results, and alerts to a web address, in a job with real time."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, create_topics, produce, read_topic
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.system.processes import wait_until
from flink_jobs.testing import Broker, record
from tests.helpers import models
from tests.helpers.endpoint import HANG, Endpoint

NOW = 1_767_225_600_000
HOUR = 3_600_000
JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source: {topic: NAME, schema: {amount: {type: double, required: true}}}
model: {name: clock, registry: models}
drift: {window: 1h, idle: 8s, early: 2s, sequential: {}}
alerts:
  rules: {moved: {on: drift, bad: 1, of: 1, resolve_after: 1}}
  webhook: {url: "${ENDPOINT}", headers: {Authorization: "${TOKEN}"}, format: alert, timeout: 1s}
runtime: {latency: low, checkpoint: {interval: 1s}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clock")
    random = np.random.default_rng(1)
    inputs = pa.table({"amount": random.normal(size=2_000)})
    late = (inputs["amount"].to_numpy() > 0).tolist()
    outputs = pa.table({"score": random.random(2_000)})
    models.write(root / "models", "clock", LogisticRegression(), inputs, late, "binary", profiled=outputs)
    return root


def rows(n: int, start: int, shift: float, seed: int) -> list[Any]:
    """Of ten minutes."""
    values = np.random.default_rng(seed).normal(shift, size=n).tolist()
    return [
        record({"amount": value}, timestamp=start + i * HOUR // 6 // n, partition=0)
        for i, value in enumerate(values)
    ]


def test_silence_closes_windows_and_alerts_reach_an_endpoint_that_recovers(
    broker: Broker, kafka: ClientSettings, folder: Path
) -> None:
    name = f"clock-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {name: 1})
    with Endpoint([503, HANG], hang=3) as endpoint:
        text = JOB.replace("NAME", name).replace("BROKERS", broker.bootstrap)
        environ = {"ENDPOINT": endpoint.url, "TOKEN": "s3cret"}
        plan = make_plan(load_job_text(text, "job.yaml", folder, environ))
        preflight.check(plan)

        def told(kind: str) -> list[dict[str, Any]]:
            return [json.loads(row.value or b"") for row in read_topic(kafka, f"{name}.{kind}")]

        def closed(how: str) -> list[tuple[str, int]]:
            return [
                (r["window"]["start"][11:16], r["records"]["predicted"])
                for r in told("drift")
                if r["window"]["closed"] == how
            ]

        with start(plan, Target()) as running:
            produce(kafka, name, rows(300, NOW, 3.0, seed=1))
            assert wait_until(lambda: ("00:00", 300) in closed("early"), 90)
            assert wait_until(lambda: closed("idle") == [("00:00", 300)], 60)
            # The window is over: what still comes for it counts in the next one.
            produce(kafka, name, rows(200, NOW + HOUR // 6, 3.0, seed=2))
            produce(kafka, name, rows(100, NOW + HOUR, 3.0, seed=3))
            assert wait_until(lambda: closed("idle") == [("00:00", 300), ("01:00", 300)], 60)
            # The watermark has not moved past 01:10, and goes on to close windows after the clock did.
            produce(kafka, name, rows(50, NOW + 3 * HOUR, 0.0, seed=4))
            produce(kafka, name, rows(50, NOW + 5 * HOUR, 0.0, seed=5))
            assert wait_until(lambda: ("03:00", 50) in closed("watermark"), 60)
            assert wait_until(lambda: len(endpoint.bodies) >= len(told("alerts")) > 0, 60)
            running.finish()
            running.wait()
        assert [record.value for record in read_topic(kafka, f"{name}.alerts")] == endpoint.bodies
    assert endpoint.attempts == len(endpoint.bodies) + 2
    assert {headers["Authorization"] for headers in endpoint.headers} == {"s3cret"}
    fired = {(alert["rule"], alert["column"], alert["state"]) for alert in told("alerts")}
    assert ("moved", "amount", "firing") in fired
    assert ("sequential", "score", "firing") in fired
