"""A job file on history: features and predictions are those of the live job, to the last bit."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flink_jobs.history import Replay
from flink_jobs.jobfile import load_job_text
from flink_jobs.testing import Broker, JobHarness, record
from tests.helpers.samples import write_model
from udfs.types import ARROW

JOB = """
job: shop
source:
  topic: orders
  start: latest
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema:
    at: {type: long, required: true}
    id: long
    till: {type: string, required: true}
    amount: double
    buyer: {type: string, pii: hash}
features:
  windows:
    till_1m: {by: till, over: 1m, select: {orders: count(*), mean_amount: avg(amount)}}
  derive: {share: amount / orders, known: "COALESCE(amount, 0)", inverse: 1.0 / id}
model: {name: tiny, use: 1, inputs: {a: known, b: orders}}
predictions: {include: [id, till, share, buyer], pii_key: "${PII_KEY}"}
runtime: {parallelism: 2}
"""
ENVIRON = {"PII_KEY": "pepper and more pepper"}
START = 1_767_225_600_000
EPOCH = pa.scalar(datetime(1970, 1, 1, tzinfo=UTC), ARROW["timestamp"])


def order(second: float, amount: float | None, till: str = "a", number: int | None = None) -> bytes:
    at = START + int(second * 1000)
    return json.dumps({"at": at, "till": till, "amount": amount, "id": number, "buyer": "Ann"}).encode()


ROWS = [
    order(0, 0.1, number=2**63 - 1),
    b"oops",
    order(1, 0.2),
    order(1, -0.0, "b"),
    order(90, 3.5, "\u00e9\n"),
    order(10, 1.0),
    order(90.5, None),
    order(92, 1.0, number=0),
    order(91, 1e-310, "b"),
]
SCORED = [0, 2, 3, 4, 6, 8]


@pytest.mark.timeout(300)
def test_history_is_what_the_live_job_says(broker: Broker, tmp_path: Path) -> None:
    write_model(tmp_path / "models", "tiny", "a", "b")
    job = load_job_text(JOB, "job.yaml", tmp_path, ENVIRON)
    with Replay(job, ROWS, brokers=broker.bootstrap) as replay:
        features = replay.features()
        predicted = replay.predictions()
    for history in (features, predicted):
        assert history.read == 9
        assert history.rows.tolist() == SCORED
        assert history.late.tolist() == [5]
        assert [(dead["row"], dead["stage"], dead["reason"]) for dead in history.dead.to_pylist()] == [
            (1, "decode", "not_json"),
            (7, "feature", "not_finite"),
        ]
        assert pc.milliseconds_between(EPOCH, history.context.column("event_time")).to_pylist() == [
            json.loads(ROWS[row])["at"] for row in SCORED
        ]
    first, *_, last = features.table.to_pylist()
    assert first["id"] == 2**63 - 1
    assert (first["till"], first["mean_amount"], first["buyer"]) == ("a", 0.1, "Ann")
    assert math.copysign(1, features.table.column("amount")[2].as_py()) == 1  # -0.0 is 0.0
    assert (last["amount"], last["till"], last["orders"]) == (1e-310, "b", 1)
    assert features.table.column("till").to_pylist()[3] == "\u00e9\n"
    assert features.table.column("mean_amount").to_pylist() == [
        *(0.1, (0.1 + 0.2) / 2, 0.0, 3.5, None, 1e-310)
    ]

    replayed = JobHarness(broker).run(
        JOB.replace("start: latest", "start: earliest"),
        [record(row) for row in ROWS],
        environ=ENVIRON,
        base=tmp_path,
    )
    live = {row.json["offset"]: row.json for row in replayed.predictions}
    assert sorted(live) == SCORED
    for row, said in zip(SCORED, predicted.table.to_pylist(), strict=True):
        assert said == {name: live[row][name] for name in said}
    assert predicted.table.column("share").equals(features.table.column("share"))
    assert predicted.table.column_names == ["id", "till", "share", "buyer", "prediction", "score"]
    assert len(predicted.table.column("buyer")[0].as_py()) == len("KEY_ID_8:") + 32
