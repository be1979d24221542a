"""Events of runs are what OpenLineage's own client would write, and no catalog stops a job.

The adversary is a catalog that refuses, hangs or is not there, one that takes only what its schema says, and
a URL with a password in it.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from flink_jobs.cli.lineage import report_end, report_ended, reported
from flink_jobs.errors import InputError, JobFailedError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.state import PARAMETER
from flink_jobs.run import lineage
from flink_jobs.run.cluster import JobInfo
from flink_jobs.run.lineage import Lineage, ended, lineage_of, run_id, started
from flink_jobs.system.jars import PROJECT
from tests.helpers.samples import write_model

JOB = """
job: scores
kafka: {brokers: "kafka-1:9093,kafka-2:9093"}
source:
  topic: payments
  schema: {card: {type: string, required: true}, amount: {type: double, required: true}}
features: {lookups: {cards: {file: cards.csv, by: card, select: [limit]}}}
model: {name: m, registry: models, inputs: {x: amount}}
predictions: {include: [card]}
quality: {window: 1h, labels: {topic: refunds, on: card, field: refunded, wait: 1h}}
"""
ID = "1f2e3d4c5b6a79880102030405060708"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "cards.csv").write_text("card,limit\na,1\n")
    return make_plan(load_job_text(JOB, "job.yaml", tmp_path, {}))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "a b" / "events.jsonl"
    path.parent.mkdir()
    for name in (
        "OPENLINEAGE_NAMESPACE",
        "OPENLINEAGE_DISABLED",
        "OPENLINEAGE_API_KEY",
        "OPENLINEAGE_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENLINEAGE_URL", path.as_uri())
    return path


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_openlineages_own_client_would_write_the_same(plan: Plan, log: Path) -> None:
    with pytest.raises(JobFailedError), reported(plan, ID):
        raise JobFailedError("job x failed: ValueError: \u001b[31m" + "y" * 9_000)
    for kind in ("COMPLETE", "ABORT"):
        report_end("scores", ID, kind)
    assert [each["eventType"] for each in events(log)] == ["START", "FAIL", "COMPLETE", "ABORT"]
    assert {each["run"]["runId"] for each in events(log)} == {run_id(ID)}
    script = PROJECT / "tests" / "helpers" / "openlineage_events.py"
    command = [str(PROJECT / ".venv-tools" / "bin" / "python"), str(script)]
    done = subprocess.run(command, input=log.read_text(), capture_output=True, text=True, env={}, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_says_what_it_reads_and_writes_by_which_model(plan: Plan, tmp_path: Path) -> None:
    event = started(plan, ID)
    assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [
        ("kafka://kafka-1:9093", "payments"),
        ("kafka://kafka-1:9093", "refunds"),
        ("file", f"{tmp_path}/cards.csv"),
        ("file", f"{tmp_path}/models/m/versions/1"),
    ]
    assert event["inputs"][0]["facets"]["schema"]["fields"][1] == {"name": "amount", "type": "double"}
    assert event["inputs"][3]["facets"]["version"]["datasetVersion"] == "1"
    model = event["run"]["facets"]["tailrace_model"]
    assert (model["name"], model["version"]) == ("m", 1)
    names = [each["name"] for each in event["outputs"]]
    assert names[:3] == ["scores.predictions", "scores.dead-letters", "scores.late"]
    assert "scores.quality" in names
    fields = [each["name"] for each in event["outputs"][0]["facets"]["schema"]["fields"]]
    assert fields[:2] == ["card", "prediction"]


def test_a_bucket_is_a_namespace() -> None:
    assert lineage._placed("s3://models/prod/m/versions/3") == {
        "namespace": "s3://models",
        "name": "prod/m/versions/3",
    }


@pytest.mark.parametrize(
    ("interrupted", "goes_on", "told"),
    [(False, False, ["START", "COMPLETE"]), (True, False, ["START", "ABORT"]), (False, True, ["START"])],
)
def test_a_run_is_told_once_when_it_begins_and_when_it_ends(
    plan: Plan, log: Path, interrupted: bool, goes_on: bool, told: list[str]
) -> None:
    with reported(plan, ID, goes_on=goes_on) as outcome:
        assert len(events(log)) == 1
        outcome.interrupted = interrupted
    assert [each["eventType"] for each in events(log)] == told


class Hour:
    """A cluster an hour later: jobs that ended with nobody watching, one that runs, one of somebody else."""

    states = ("FAILED", "CANCELED", "FINISHED", "RUNNING", "FAILED")

    def jobs(self) -> list[JobInfo]:
        return [JobInfo(f"{n}{ID[1:]}", f"j{n}", s, 1_000, 500 + n) for n, s in enumerate(self.states)]

    def parameters(self, job_id: str) -> dict[str, str]:
        return {} if job_id.startswith("4") else {PARAMETER: "{}"}

    def failure(self, job_id: str) -> str:
        assert job_id.startswith("0")
        return "java.lang.RuntimeException: outer\nCaused by: java.io.IOException: no space left\n"


def test_whoever_looks_tells_how_runs_ended_that_nobody_watched(log: Path) -> None:
    """The same each time, at the time of Flink's own account: a catalog knows it by run and time."""
    cluster = Hour()
    report_ended(cluster, cluster.jobs())  # type: ignore[arg-type]
    told = events(log)
    assert [(each["job"]["name"], each["eventType"]) for each in told] == [
        ("j0", "FAIL"),
        ("j1", "ABORT"),
        ("j2", "COMPLETE"),
    ]
    assert told[0]["run"]["facets"]["errorMessage"]["message"] == "java.io.IOException: no space left"
    assert [each["eventTime"] for each in told] == [f"1970-01-01T00:00:01.50{n}+00:00" for n in range(3)]
    report_ended(cluster, cluster.jobs())  # type: ignore[arg-type]
    assert events(log)[3:] == told


def test_nothing_is_told_unless_asked_for(plan: Plan, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    with reported(plan, ID):
        report_end("scores", ID, "ABORT")
    monkeypatch.delenv("OPENLINEAGE_URL")
    monkeypatch.delenv("OPENLINEAGE_DISABLED")
    with reported(plan, ID):
        report_end("scores", ID, "ABORT")
    assert not log.exists()


@pytest.mark.parametrize(
    "url", ["catalog:5000", "ftp://catalog", "https://me:secret@catalog", "file://x/y", "http://x?k=secret"]
)
def test_a_wrong_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(InputError, match="OPENLINEAGE_URL must") as raised:
        lineage_of({"OPENLINEAGE_URL": url})
    assert "secret" not in str(raised.value)


class Catalog:
    """A server that answers with one status, or not at all."""

    def __init__(self, status: int) -> None:
        self.got: list[tuple[str, str | None, Any]] = []
        self.done = threading.Event()
        catalog = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                catalog.got.append((self.path, self.headers["Authorization"], json.loads(body)))
                if not status:
                    catalog.done.wait(30)
                self.send_response(status or 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(params=[200, 500, 302, 0])
def catalog(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(lineage, "_SECONDS", 0.5)
    found = Catalog(request.param)
    yield found
    found.done.set()
    found.server.shutdown()
    found.server.server_close()


def test_a_catalog_gets_the_event_and_stops_nothing(catalog: Catalog, request: pytest.FixtureRequest) -> None:
    environ = {"OPENLINEAGE_URL": catalog.url, "OPENLINEAGE_API_KEY": "key-1", "OPENLINEAGE_NAMESPACE": "ml"}
    told = lineage_of(environ)
    assert told
    with structlog.testing.capture_logs() as logs:
        told.send(ended("scores", ID, "COMPLETE"))
    ((path, authorization, event),) = catalog.got
    assert (path, authorization) == ("/api/v1/lineage", "Bearer key-1")
    assert event["job"]["namespace"] == "ml"
    assert [each["event"] for each in logs] == (
        [] if request.node.callspec.params["catalog"] == 200 else ["lineage_not_sent"]
    )
    assert "key-1" not in str(logs)


def test_a_catalog_or_folder_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1/api/v1/lineage", (tmp_path / "none" / "events").as_uri()):
        with structlog.testing.capture_logs() as logs:
            Lineage(url).send(ended("scores", ID, "ABORT"))
        assert [each["event"] for each in logs] == ["lineage_not_sent"]
