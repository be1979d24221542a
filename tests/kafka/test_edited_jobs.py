"""Jobs that were edited between a savepoint and their next start, on real Flink, all from one process.

The adversary is Flink's planner: it numbers operators in the order of the plan, from one job of a process on
to the next, so that state would go to another operator, or to none.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import JobFailedError, WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed, create_topics, produce, read_topic
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.state import judge, refusals, state_of
from flink_jobs.run import preflight, program
from flink_jobs.run.program import Target, start
from flink_jobs.system.processes import wait_until
from flink_jobs.testing import record
from tests.helpers import models

START = 1_767_225_600_000
JOB = """
job: TOPIC
kafka: {brokers: "BROKERS"}
source:
  topic: TOPIC
  schema:
    id: {type: long, required: true}
    card: {type: string, required: true}
    amount: {type: double, required: true}
model: {name: sums, registry: models, inputs: {n: amount}}
predictions: {include: [idINCLUDED]}
"""
DRIFT = "drift: {window: 1h}\n"
HOUR = "features: {windows: {h: {by: card, over: 1h, select: {seen: count(*)}}}}\n"
COMPARED = "comparisons: {window: 1h, labels: {topic: LABELS, on: id, field: y, wait: 1h}}\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("edited")
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    outputs = pa.table({"prediction": [2.0, 4.0, 6.0]})
    models.write(
        root / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression", profiled=outputs
    )
    return root


def plan(kafka: ClientSettings, base: Path, topic: str, *sections: str, parallelism: int = 1) -> Plan:
    included = ", seen, spent" if any("spent" in section for section in sections) else ""
    runtime = f"runtime: {{parallelism: {parallelism}, checkpoint: {{interval: 500ms}}}}\n"
    text = JOB.replace("TOPIC", topic).replace("BROKERS", kafka.brokers).replace("INCLUDED", included)
    text += "".join(sections) + runtime
    return make_plan(load_job_text(text.replace("LABELS", f"{topic}-labels"), "job.yaml", base, {}))


def uids(plan: Plan) -> set[str]:
    """Flink's own account of the operators that we name."""
    options = program._options(plan, Target(), None)
    tables, environment = program._environment(options)
    program._attach(plan, (tables, environment))
    graph = environment._j_stream_execution_environment.getStreamGraph(False).getJobGraph()
    found = set()
    for vertex in graph.getVerticesSortedTopologicallyFromSources():
        for pair in vertex.getOperatorIDs():
            found.add(pair.getUserDefinedOperatorUid() or "")
    return {uid for uid in found if uid.startswith("tailrace-")}


@pytest.mark.parametrize(
    "sections",
    [
        (),
        (DRIFT, COMPARED),
        (HOUR, DRIFT, COMPARED),
        *(pytest.param(sections, marks=pytest.mark.long) for sections in ((DRIFT,), (HOUR,))),
    ],
    ids=len,
)
def test_the_account_of_state_names_flinks_operators(
    kafka: ClientSettings, base: Path, sections: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_python_worker_execution_mode", "process")
    made = plan(kafka, base, "rides", *sections)
    state = state_of(made)
    stateless = {"tailrace-labels"}
    named = {*state.parts, *(stage.uid for stage in state.stages)}
    assert uids(made) - stateless == named
    # The planner's numbers went on, the names are the same.
    assert uids(made) - stateless == named


def until(made: Plan, count: int, folder: Path, target: Target) -> str:
    """Runs until so many records are predicted; the savepoint."""
    preflight.check(made)
    predictions = f"{made.job.job}.predictions"
    settings = ClientSettings(made.job.kafka.brokers or "")
    with start(made, target) as running:
        done = wait_until(
            lambda: running.ended() or count_committed(settings, predictions) >= count, 300, 0.5
        )
        if running.ended():
            running.wait()
        assert done
        savepoint = running.stop(str(folder))
        running.wait()
    return savepoint


@pytest.mark.parametrize("workers", [(1, 4, 2), pytest.param((1, 2, 4, 1), marks=pytest.mark.long)])
def test_rescaling_keeps_every_value(
    kafka: ClientSettings, base: Path, tmp_path: Path, workers: tuple[int, ...]
) -> None:
    """More workers and fewer, each time from the savepoint of those before: the count of a card goes on."""
    topic, cards, step, starts = f"rescaled-{uuid.uuid4().hex[:8]}", 13, 200, len(workers)
    create_topics(kafka, {topic: 4})
    rows = [
        record(
            {"id": n, "card": f"c{n % cards}", "amount": 1.0}, timestamp=START + n * 1_000, partition=n % 4
        )
        for n in range(starts * step)
    ]
    # The watermark of the last ones passes all others.
    far = [
        record({"id": -1, "card": "-", "amount": 1.0}, timestamp=START + 10**8, partition=p) for p in range(4)
    ]
    windows = HOUR.replace("over: 1h", "over: 1d").replace("}}}}", ", spent: sum(amount)}}}}")
    savepoint = None
    for number, parallelism in enumerate(workers, 1):
        produce(kafka, topic, rows[(number - 1) * step : number * step])
        if number == starts:
            produce(kafka, topic, far)
        made = plan(kafka, base, topic, windows, parallelism=parallelism)
        enough = number * step - (0 if number == starts else 60)
        savepoint = until(made, enough, tmp_path, Target(savepoint=savepoint))
    told = [json.loads(r.value or b"") for r in read_topic(kafka, f"{topic}.predictions")]
    assert {p["id"]: (p["seen"], p["spent"]) for p in told} == {
        n: (n // cards + 1, n // cards + 1.0) for n in range(starts * step)
    }
    assert len(told) == starts * step


def test_outputs_come_and_go_and_no_record_is_lost_or_doubled(
    kafka: ClientSettings, base: Path, tmp_path: Path
) -> None:
    topic = f"edited-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {topic: 1})

    def send(first: int) -> None:
        rows = (
            record({"id": n, "card": "a", "amount": 1.0 + n % 3}, timestamp=START + n * 1_000)
            for n in range(first, first + 100)
        )
        produce(kafka, topic, rows)

    bare, watched = plan(kafka, base, topic), plan(kafka, base, topic, DRIFT)
    send(0)
    first = until(bare, 100, tmp_path, Target())
    send(100)
    assert refusals(judge(state_of(bare), state_of(watched)), ()) == []
    second = until(watched, 200, tmp_path, Target(savepoint=first))
    send(200)
    refused = refusals(judge(state_of(watched), state_of(bare)), ())
    assert {name for verdict in refused for name in verdict.names} == {"drift", "alerts"}
    with pytest.raises((JobFailedError, WorkError), match="state that this job has no place for"):
        until(bare, 300, tmp_path, Target(savepoint=second))
    until(bare, 300, tmp_path, Target(savepoint=second, drop_unknown_state=True))
    assert count_committed(kafka, f"{topic}.predictions") == 300
