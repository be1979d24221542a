"""What a job needs for a rate: arithmetic that never promises too much, on a measurement that is one.

The adversary is a rate that windows cannot be spread for, a first batch that only loads, and records of which
nothing is left to measure.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flink_jobs.cli import app, sizing
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job_text
from flink_jobs.kubernetes import Measured, memory_of
from flink_jobs.kubernetes.capacity import Cost, cost_of_flink, needed
from flink_jobs.kubernetes.speed import made_up, measured_speed
from flink_jobs.plan import Plan, make_plan
from tests.helpers.examples import examples
from tests.helpers.samples import write_model

SCHEMA = """
    at: {type: string, required: true}
    km: {type: double, required: true, range: [5, 6]}
    seats: {type: long, required: true, range: [-2, 3], field: car.seats}
    kind: {type: string, required: true, values: [van, bus]}
    paid: {type: boolean, required: true}
"""
JOB = f"""
job: rides
source:
  topic: rides
  event_time: {{field: at, unit: iso8601}}
  schema:{SCHEMA}
WINDOWS
model: {{name: m, registry: models, inputs: {{x: INPUT}}}}
"""
WAYS = {
    "none": ("", "km"),
    "over": ("features: {windows: {w: {by: kind, over: 1h, select: {far: avg(km), b: last(kind)}}}}", "far"),
    "tumble": (
        "score: per_window\nfeatures: {windows: {w: {by: kind, tumble: 1h, select: {far: avg(km)}}}}",
        "far",
    ),
}
MEMORY = memory_of(Measured(2**28, 2**28))


def plan_of(folder: Path, way: str = "none", text: str = JOB) -> Plan:
    write_model(folder / "models", "m", "x")
    windows, column = WAYS[way]
    job = text.replace("WINDOWS", windows).replace("INPUT", column)
    return make_plan(load_job_text(job, "job.yaml", folder, {}))


@settings(max_examples=examples(100))
@given(st.floats(0.01, 1e9), st.floats(0.1, 1e4), st.floats(0.1, 64))
def test_no_slot_is_busier_than_it_may_be_and_none_is_idle_without_need(
    rate: float, spent: float, cpu: float
) -> None:
    found = needed(rate, Cost(spent), MEMORY, cpu=cpu)
    assert found.load <= 0.6000001
    one_less = found.parallelism - 1
    assert one_less == 0 or rate * spent / 1e6 > one_less * cpu * 0.5999999
    # What came in an hour and comes meanwhile is read in that time, at full speed.
    full, minutes = found.parallelism * cpu * 1e6 / spent, found.catch_up_minutes
    assert minutes * full == pytest.approx((60 + minutes) * rate)


def test_windows_cannot_be_spread_for_ever() -> None:
    assert needed(500_000, Cost(30), MEMORY, windows=True).parallelism == 25
    with pytest.raises(
        InputError, match=r"need 50 slots, and windows .* at most 32, which take 640,000 with 1 "
    ):
        needed(1_000_000, Cost(30), MEMORY, windows=True)
    assert needed(1_000_000, Cost(30), MEMORY, windows=True, cpu=2).parallelism == 25


def test_what_flink_takes_is_what_the_benchmarks_say() -> None:
    alone, windows = cost_of_flink(5.0, windows=False), cost_of_flink(5.0, windows=True)
    assert alone.windows == 0
    assert alone.total < windows.total
    page = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    (line,) = [row for row in page.splitlines() if row.startswith("| `java` |")][:1]
    assert f" {alone.flink:.1f} " in line


@pytest.mark.parametrize("way", WAYS)
def test_records_that_are_made_up_are_scored(way: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, way)
    records = made_up(plan.job.source, 300)
    first = json.loads(records[0])
    assert 5 <= first["km"] <= 6
    assert first["car"]["seats"] in range(-2, 4)
    assert first["kind"] in ("van", "bus")
    spent = measured_speed(plan, records, long_enough=0)
    assert (spent.batch, spent.dead) == (300, 0)
    assert 0 < spent.cpu_s_per_million < 1e6


def test_the_first_batch_and_one_that_was_disturbed_do_not_count(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    ticks = chain.from_iterable(
        (0, took) for took in chain([1000.0, 0.5, 0.5, 99.0], iter(lambda: 0.5, None))
    )
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += next(ticks)
        return now

    spent = measured_speed(plan, made_up(plan.job.source, 100), clock, long_enough=0)
    assert spent.cpu_s_per_million == 0.5 / 100 * 1e6


def test_records_of_which_nothing_is_left_are_no_measure(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(InputError, match=r"100% of the records become dead letters \(contract, missing:"):
        measured_speed(plan, [b'{"at":"2026-01-01T00:00:00Z","km":5.5,"car":{"seats":1},"paid":true}'] * 5)
    # Those of other times are as good as those of today.
    year = str(datetime.now(UTC).year).encode()
    old = [record.replace(b'"at":"' + year, b'"at":"2001') for record in made_up(plan.job.source, 50)]
    assert all(b"2001" in record for record in old)
    assert measured_speed(plan, old, long_enough=0).dead == 0


def test_other_formats_need_records(tmp_path: Path) -> None:
    timed = "  event_time: {field: at, unit: iso8601}"
    plan = plan_of(tmp_path, text=JOB.replace(timed, "  format: messagepack"))
    with pytest.raises(InputError, match="give --records, or --records-per-second"):
        made_up(plan.job.source, 5)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_model(tmp_path / "models", "m", "x")
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("WINDOWS", "").replace("INPUT", "km"))
    monkeypatch.setattr(sizing, "footprint", lambda _: (2**28, 2**29))
    # Seconds that make the number steady, which none of these tests is about.
    monkeypatch.setattr(sizing, "measured_speed", partial(measured_speed, long_enough=0.1))
    return path


def said(*words: str) -> str:
    done = CliRunner().invoke(app, [*words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_says_how_it_knows(job: Path) -> None:
    given = json.loads(said("plan", str(job), "--size", "50000", "--records-per-second", "20000", "--json"))
    assert (given["schema"], given["parallelism"], given["records_per_second_of_a_slot"]) == (
        "tailrace.size/1",
        5,
        20_000,
    )
    assert given["memory_mib"] == memory_of(Measured(2**28, 2**29)).total
    assert "cpu_s_per_million" not in given
    records = job.parent / "records.jsonl"
    records.write_bytes(b"\n".join(made_up(load_job_text(job.read_text(), "j", job.parent).source, 200)))
    text = said("plan", str(job), "--size", "50000", "--records", str(records))
    assert f"measured here in batches of 200, on {records}" in text
    assert "(docs/benchmarks.json, of another job and machine)" in text


def test_a_deployment_that_is_too_small_is_refused(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flink_jobs.cli.k8s.footprint", lambda _: (2**28, 2**29))
    words = ["k8s", "render", str(job), "--image", "x/y:1", "--bucket", "s3://b/t", "--in-image"]
    assert "FlinkDeployment" in said(*words, "--size", "1")
    with pytest.raises(InputError, match=r"parallelism must be at least \d+ for 90,000,000 records/s"):
        said(*words, "--size", "90000000")
