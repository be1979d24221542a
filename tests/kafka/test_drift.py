"""Drift and alerts of real jobs: the same bytes however the work is split, also after a restart."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, Message, count_committed, create_topics, produce, read_topic
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import wait_until
from flink_jobs.testing import Broker, JobHarness, record
from tests.helpers import models
from tests.helpers.endpoint import Endpoint
from tests.helpers.examples import sized

NOW = 1_767_225_600_000
HOUR = 3_600_000
ROWS_AN_HOUR = 400
IDLE_S = 60
JOB = """
job: watched
source:
  topic: payments
  event_time: {out_of_order: 1d}
  schema:
    country: {type: string, values: [DE, FR, IT]}
    amount: {type: double, range: [-100, 100]}
    age: double
WINDOWS
model: {name: fraud, registry: models, inputs: {balance: amount}}
predictions: {include: [country]}
drift:
  window: 1h
  segments: [country]
  idle: 1h
  duplicates: true
  sequential: {columns: [score, balance], run_length: 1000h}
alerts: {rules: {moved: {on: drift, bad: 1, of: 1, resolve_after: 1}}}
runtime:
  parallelism: PARALLELISM
  checkpoint: {interval: 1s}
  flink: {python.fn-execution.arrow.batch.size: BATCH}
"""
OVER = "features: {windows: {day: {by: country, over: 1d, select: {seen: count(*)}}}}"
# Parallelism and rows of a batch.
SPLITS = [(1, 10_000), (4, 1), (2, 7)]
# Repeated countries, and each hour beside the same hour of the week.
SEASONAL = "duplicates: country\n  seasonal: hour_of_week"


def job_text(
    parallelism: int = 1, batch: int = 10_000, windows: str = "", duplicates: str = "duplicates: true"
) -> str:
    text = JOB.replace("PARALLELISM", str(parallelism)).replace("BATCH", str(batch))
    return text.replace("WINDOWS", windows).replace("duplicates: true", duplicates)


def restarted_job(reference: str) -> str:
    return job_text(2).replace("idle: 1h", f"idle: {IDLE_S}s\n  reference: {reference}")


def payments(hours: int, moved_in: int, start: int = NOW) -> list[Message]:
    """In each hour as in training, but that in one all balances are a deviation higher; some are broken."""
    draw = random.Random(4)
    rows = []
    for hour in range(hours):
        for i in range(ROWS_AN_HOUR):
            value: dict[str, Any] = {
                "country": draw.choice(["DE", "FR", "IT", None]),
                "amount": draw.gauss(float(hour == moved_in), 1) if i % 10 else None,
                "age": draw.gauss(0, 1),
            }
            if i % 100 == 7:
                value["amount"] = 1_000.0
            when = start + hour * HOUR + i * HOUR // ROWS_AN_HOUR
            rows.append(record(value, key=str(draw.randrange(50)), timestamp=when, partition=i % 4))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drift")
    random_numbers = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"balance": random_numbers.normal(size=4_000), "age": random_numbers.normal(size=4_000)}
    )
    frame.loc[random_numbers.random(4_000) < 0.1, "balance"] = np.nan
    # 250 rows in each of the hours of the week that the test sends, of which the second is as it is there.
    hour = np.minimum(np.arange(4_000) // 250, 3)
    frame.loc[hour == 1, "balance"] += 1
    filled = frame.fillna(0.0)
    target = filled["balance"] + filled["age"] > 0
    model = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=0.0), StandardScaler(), LogisticRegression()
    ).fit(frame, target)
    outputs = pa.table({"score": model.predict_proba(frame)[:, 1]})
    inputs = pa.Table.from_pandas(frame, preserve_index=False)
    countries = pa.table({"country": random_numbers.choice(["DE", "FR", "IT", "ES"], 4_000)})
    models.write(
        root / "models",
        "fraud",
        model,
        inputs,
        target.tolist(),
        "binary",
        profiled=outputs,
        segments=countries,
        event_time=pa.chunked_array([pa.array(NOW + hour * HOUR, pa.timestamp("ms"))]),
    )
    return root


TRAIN = """
from pathlib import Path

from flink_jobs.training import Trainer
from udfs.model.manifest import Output

TRAINER = Trainer(
    name="fraud",
    job=Path("../../job.yaml"),
    inputs=("balance", "age"),
    label="fraud",
    output=Output(kind="binary", classes=(False, True)),
    history=lambda: Path("never.parquet"),
    build=lambda parameters: None,
)
"""


def retraining(broker: Broker, folder: Path, topic: str, *rule: str) -> dict[str, Any]:
    """What a scheduler would be told of a drift topic."""
    model = folder / "models" / "fraud"
    (model / "train.py").write_text(TRAIN)
    (folder / "job.yaml").write_text(job_text())
    options = ["--if-drifted", topic, "--brokers", broker.bootstrap, "--dry-run", "--json", *rule]
    done = CliRunner().invoke(app, ["retrain", str(model), *options])
    assert done.exit_code == 0, done.output + str(done.exception)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def lines(results: Any) -> list[bytes]:
    return sorted(outcome.value for outcome in (*results.drift, *results.alerts))


def without_job(values: list[bytes]) -> list[bytes]:
    """The harness gives each run a name of its own."""
    return sorted(json.dumps({**json.loads(value), "job": ""}).encode() for value in values)


def same_however_split(
    broker: Broker, folder: Path, splits: list[tuple[int, int]], *job: str
) -> tuple[list[dict[str, Any]], str]:
    """Drift and alert records of three hours, of which balances moved in the second; the topic of drift."""
    rows = payments(hours=3, moved_in=1)
    expected = None
    for parallelism, batch in splits:
        harness = JobHarness(broker, partitions=4)
        results = harness.run(job_text(parallelism, batch, *job), rows, base=folder)
        assert results.accounts() == {"read": 1200, "predicted": 1188, "dead": 12, "late": 0}
        found = without_job(lines(results))
        expected = expected or found
        assert found == expected
    assert results.job.drift is not None
    return [json.loads(line) for line in expected or []], results.job.drift.topic


def by_window(records: list[dict[str, Any]], reference: str) -> dict[tuple[str, str | None], dict[str, Any]]:
    """By start and country; all records together are compared with `reference`."""
    drift = {
        (r["window"]["start"], (r["segment"] or {}).get("value")): r
        for r in records
        if r["schema"] == "tailrace.drift/1"
    }
    assert len(drift) == 3 * 5  # all together, DE, FR, IT, OTHER
    compared: dict[str | None, str] = dict.fromkeys(("DE", "FR", "IT", "OTHER"), "segment")
    assert {segment: r["reference"] for (_, segment), r in drift.items()} == compared | {None: reference}
    return drift


def test_windows_are_compared_with_the_same_hour_of_the_week(broker: Broker, folder: Path) -> None:
    """What moves each week at the same hour is no drift, but a change to the sequential detector."""
    records, _ = same_however_split(broker, folder, [(2, 7), (1, 10_000)][: sized(2, 1)], OVER, SEASONAL)
    drift = by_window(records, "hour_of_week")
    whole = [record for (_, segment), record in sorted(drift.items(), key=str) if not segment]
    assert [record["verdict"] for record in whole] == ["ok", "ok", "ok"]
    means = [{c["name"]: c["reference_mean"] for c in record["columns"]}["balance"] for record in whole]
    assert means == pytest.approx([0, 1, 0], abs=0.2)
    sent = [json.loads(row.value or b"") for row in payments(hours=3, moved_in=1)]
    known = [value["country"] is not None and value["amount"] != 1_000.0 for value in sent]
    repeated = [sum(known[i : i + ROWS_AN_HOUR]) - 3 for i in range(0, 1_200, ROWS_AN_HOUR)]
    assert [record["records"]["duplicates"] for record in whole] == repeated
    told = [r for r in records if r["schema"] == "tailrace.alert/1" and not r["segment"]]
    assert {r["rule"] for r in told} == {"sequential"}
    _check_early(told)


def test_drift_is_the_same_bytes_however_the_work_is_split(broker: Broker, folder: Path) -> None:
    records, topic = same_however_split(broker, folder, SPLITS[: sized(3, 2)])
    drift = by_window(records, "all")
    verdicts = [record["verdict"] for (_, segment), record in sorted(drift.items(), key=str) if not segment]
    assert verdicts == ["ok", "drift", "ok"]
    moved = drift["2026-01-01T01:00:00.000Z", None]
    assert set(moved["drifted"]) == {"balance", "score"}
    assert moved["records"] == {"predicted": 396, "dead": 4, "late": 0, "duplicates": 346, "key_sample": 1}
    assert drift["2026-01-01T01:00:00.000Z", "DE"]["records"]["duplicates"] is None
    assert moved["problems"] == [
        {"stage": "contract", "reason": "out_of_range", "field": "$.amount", "count": 4}
    ]
    balance = next(column for column in moved["columns"] if column["name"] == "balance")
    assert balance["direction"].startswith("balance moved up")
    assert balance["mean"] == pytest.approx(1, abs=0.2)
    assert [chart["open"] for chart in moved["sequential"]] == [True, True]
    wait = retraining(broker, folder, topic)
    assert (wait["retrain"], [window["outputs"] for window in wait["windows"]]) == (
        False,
        [[], ["score"], []],
    )
    once = retraining(broker, folder, topic, "--bad", "1")
    assert (once["retrain"], once["champion"], once["trained"]) == (True, 1, None)
    assert once["reason"].startswith("in 1 of the last 3 windows the output drifted (score)")
    told = [r for r in records if r["schema"] == "tailrace.alert/1" and not r["segment"]]
    _check_early([r for r in told if r["rule"] == "sequential"])
    alerts = [r for r in told if r["rule"] == "moved"]
    states = {(a["column"], a["state"], a["window"]["start"][11:13]) for a in alerts}
    assert states == {
        (column, state, hour)
        for column in ("balance", "score")
        for state, hour in (("firing", "01"), ("resolved", "02"))
    }


def _check_early(alerts: list[dict[str, Any]]) -> None:
    """The change of 01:00 is seen long before its window ends, and so is its end at 02:00."""
    changes = sorted((a["column"], a["at"], a["state"], a["since"][11:16]) for a in alerts)
    assert [(column, state) for column, _, state, _ in changes] == [
        ("balance", "firing"),
        ("balance", "resolved"),
        ("score", "firing"),
        ("score", "resolved"),
    ]
    for _, at, state, since in changes:
        assert at[11:16] <= ("01:30" if state == "firing" else "02:45")
        assert "00:50" <= since <= "01:05"


def test_a_topic_of_nothing_but_broken_records_is_still_told_of(broker: Broker, folder: Path) -> None:
    text = job_text().replace("{out_of_order: 1d}", "{field: at, unit: ms}")
    text = text.replace("  schema:", "  schema:\n    at: {type: long, required: true}")
    results = JobHarness(broker).run(text, [record(b"{") for _ in range(20)], base=folder)
    (drift,) = [outcome.json for outcome in results.drift]
    assert drift["records"] == {"predicted": 0, "dead": 20, "late": 0, "duplicates": 0, "key_sample": 1}
    assert drift["problems"] == [{"stage": "decode", "reason": "not_json", "field": None, "count": 20}]
    assert drift["verdict"] == "insufficient_data"


@pytest.mark.parametrize("reference", ["training", pytest.param("trailing 144h", marks=pytest.mark.long)])
def test_a_restart_in_mid_window_changes_nothing(
    broker: Broker, kafka: ClientSettings, folder: Path, tmp_path: Path, reference: str
) -> None:
    """What comes days later closes the windows of all others: a source that goes on has no end.

    The job is down for longer than `idle`, which must not close the window that was open. While the endpoint
    of alerts is down, the stream goes on; they reach it after the restart.
    """
    rows = payments(hours=1, moved_in=0, start=NOW - 72 * HOUR) + payments(hours=2, moved_in=0)
    rows += [record({}, timestamp=NOW + 72 * HOUR, partition=i) for i in range(4)]
    topic = f"restart-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {topic: 4})
    with Endpoint() as endpoint:
        job = (broker.bootstrap, folder, topic, endpoint.url, reference)
        endpoint.down = True
        produce(kafka, topic, rows[:700])
        savepoint = until(*map(str, (*job, tmp_path / "first", "predictions", 693, "drift", 5)))
        stopped = time.monotonic()
        assert count_committed(kafka, f"{topic}.drift") == 5
        waiting = [told.value for told in read_topic(kafka, f"{topic}.alerts")]
        assert waiting
        assert (endpoint.attempts > 0, endpoint.bodies) == (True, [])
        endpoint.down = False
        produce(kafka, topic, rows[700:])
        expected = JobHarness(broker, partitions=4).run(restarted_job(reference), rows, base=folder)
        time.sleep(max(0, stopped + IDLE_S - time.monotonic()))
        in_a_process("until", *job, tmp_path / "second", "predictions", 1192, "drift", 15, savepoint)
        assert endpoint.bodies[: len(waiting)] == waiting
    assert count_committed(kafka, f"{topic}.predictions") == 1192
    written = [r.value or b"" for kind in ("drift", "alerts") for r in read_topic(kafka, f"{topic}.{kind}")]
    assert comparable(written) == comparable(lines(expected))
    told = [json.loads(r.value or b"") for r in read_topic(kafka, f"{topic}.drift")]
    compared = [each["reference"] for each in told if not each["segment"]]
    assert compared[:3] == ["all", *[reference.split()[0].replace("training", "all")] * 2]


def comparable(values: list[bytes]) -> list[bytes]:
    """Of the first day, and without what depends on the clock."""
    records = [json.loads(value) | {"freshness_ms": None} for value in values]
    return without_job([json.dumps(r).encode() for r in records if r["window"]["start"] < "2026-01-02"])


def in_a_process(function: str, *arguments: object) -> str:
    """As after a restart of the machine: nothing but topics and the savepoint is there."""
    code = f"import sys; from tests.kafka.test_drift import *; print({function}(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=420, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def until(brokers: str, folder: str, topic: str, url: str, reference: str, *output: str) -> str:
    """Runs the job until topics have so many records; its savepoint, as it may have started from one."""
    savepoints, first, predictions, second, windows, *savepoint = output
    text = restarted_job(reference).replace("job: watched", f'job: {topic}\nkafka: {{brokers: "{brokers}"}}')
    text = text.replace("alerts: {", 'alerts: {webhook: {url: "${ENDPOINT}", format: alert, retries: 20}, ')
    plan = make_plan(
        load_job_text(
            text.replace("topic: payments", f"topic: {topic}"), "job.yaml", Path(folder), {"ENDPOINT": url}
        )
    )
    preflight.check(plan)
    settings = ClientSettings(brokers)
    with start(plan, Target(None, savepoint[0] if savepoint else None)) as running:
        wanted = {f"{topic}.{first}": int(predictions), f"{topic}.{second}": int(windows)}
        enough = wait_until(
            lambda: all(count_committed(settings, name) >= count for name, count in wanted.items()),
            360,
            interval=0.5,
        )
        assert enough, {name: count_committed(settings, name) for name in wanted}
        stopped = running.stop(savepoints)
        running.wait()
    return stopped
