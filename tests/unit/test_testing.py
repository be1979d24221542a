"""The accounts that the job harness draws up find what is lost, doubled or made up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.testing import Broker, JobHarness, Outcome, Results, record

EVENTS = """
job: j
source: {topic: t, schema: {a: {type: string, required: true}}}
model: {name: m}
"""
WINDOWS = EVENTS + "score: per_window\nfeatures: {windows: {w: {by: a, WINDOW, select: {n: count(*)}}}}\n"


def results(job: str, **outcomes: list[Outcome]) -> Results:
    given: dict[str, Any] = {"predictions": [], "dead_letters": [], "late": []} | outcomes
    return Results(job=load_job_text(job, "job.yaml", Path()), read={0: 2, 1: 1}, **given)


def predicted(**fields: object) -> Outcome:
    return Outcome(json.dumps(fields).encode(), None, {}, 0, 0)


def kept(partition: int | None, offset: int | None, value: bytes | None = b"{}") -> Outcome:
    place = {"tailrace.partition": partition, "tailrace.offset": offset}
    headers = {name: b"" if at is None else str(at).encode() for name, at in place.items()}
    return Outcome(value, None, headers, 0, 0)


def test_each_record_once() -> None:
    made = results(
        EVENTS,
        predictions=[predicted(partition=1, offset=0)],
        dead_letters=[kept(0, 0, None)],
        late=[kept(0, 1)],
    )
    assert made.accounts() == {"read": 3, "predicted": 1, "dead": 1, "late": 1}


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([(0, 0), (1, 0)], r"without: \[\(0, 1\)\]; with more: \[\]"),
        ([(0, 0), (0, 1), (0, 1), (1, 0)], r"without: \[\]; with more: \[\(0, 1\)\]"),
        ([(0, 0), (0, 1), (1, 1)], r"without: \[\(1, 0\)\]; with more: \[\(1, 1\)\]"),
    ],
)
def test_lost_doubled_and_made_up_records(places: list[tuple[int, int]], message: str) -> None:
    predictions = [predicted(partition=partition, offset=offset) for partition, offset in places]
    with pytest.raises(AssertionError, match=message):
        results(EVENTS, predictions=predictions).accounts()


def test_records_of_windows_count() -> None:
    job = WINDOWS.replace("WINDOW", "hop: 2m, every: 1m")
    scored = [predicted(records=1), predicted(records=1)]
    failed = [kept(None, None, b'{"_records":1}')] * 2
    made = results(job, predictions=scored, dead_letters=[*failed, kept(0, 1)])
    assert made.accounts() == {"read": 3, "predicted": 1, "dead": 2, "late": 0}
    with pytest.raises(AssertionError, match=r"read 3 must be predicted 1 \+ dead 1 \+ late 0"):
        results(job, predictions=scored, dead_letters=failed).accounts()
    with pytest.raises(AssertionError, match=r"with more: \[\(0, 1\)\]"):
        results(job, predictions=scored, dead_letters=[kept(0, 1), kept(0, 1)]).accounts()


def test_records_to_feed() -> None:
    assert record({"a": None}).value == b'{"a": null}'
    assert record(b"\xff").value == b"\xff"
    assert record(None).value is None
    fed = record("text", key="k", headers={"h": None}, timestamp=5, partition=1)
    assert (fed.value, fed.key, fed.headers, fed.timestamp, fed.partition) == (
        b'"text"',
        b"k",
        (("h", None),),
        5,
        1,
    )


def test_all_mistakes_of_a_job_come_with_their_lines_before_a_broker_is_asked(tmp_path: Path) -> None:
    """One of the schema, one that only planning finds; nobody listens at the address."""
    harness = JobHarness(cast(Broker, SimpleNamespace(bootstrap="127.0.0.1:1")))
    text = f"{EVENTS}runtime: {{parallelism: none}}\nfeatures: {{derive: {{x: b + 1}}}}\n"
    with pytest.raises(JobFileError) as caught:
        harness.run(text, [], base=tmp_path)
    found = [(diagnostic.key_path, diagnostic.line) for diagnostic in caught.value.diagnostics]
    assert found == [("model.name", 4), ("runtime.parallelism", 5), ("features.derive.x", 6)]
