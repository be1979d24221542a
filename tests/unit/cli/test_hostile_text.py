"""Whoever writes records, releases or models writes to the terminal of who looks: nothing but text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flink_jobs import cli
from flink_jobs.cli import (
    accounts,
    again,
    app,
    clusters,
    letters,
    logs,
    remote,
    replaying,
    schema,
    topics,
)
from flink_jobs.cli import job as job_command
from flink_jobs.cli.commands import COMMANDS
from flink_jobs.errors import InputError, TailraceError
from flink_jobs.kafka import Record
from flink_jobs.kafka.replays import Decisions
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.run import doctor as checks
from flink_jobs.run.cluster import JobInfo
from flink_jobs.run.doctor import ClusterFacts, Finding, judge_cluster
from flink_jobs.run.registered import Registered
from flink_jobs.system.terminal import plain
from tests.helpers.drift_records import alert_records, drift_records
from tests.helpers.quality_records import record as quality_record
from tests.helpers.registered import write
from udfs.alerts.records import WindowSpan
from udfs.model.manifest import Input, Lineage, Output, Signature
from udfs.records.avro_schema import NamedNode, Node
from udfs.releases.log import BEGINNING
from udfs.rollout.records import ComparisonRecord

# Clears the screen, C1, right to left, a link of rich, a bell, an invisible space, DEL, a tag character.
EVIL = "\x1b[2J\x9b31m\u202eevil\u2066[red]x[/red][link=file:///e]y[/]\a\u200b\x7f\U000e0041"
MARKUP = "[red]x[/red][link=file:///e]y[/]"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Version 1 and its releases are named by an attacker; 2 is no version, and 3 is 1 once more."""
    registry = Registry(tmp_path / "models")
    signature = Signature(
        inputs=(Input(name=EVIL, type="double"),), output=Output(kind="binary", classes=(0, 1))
    )
    for depth in (1, 2, 3):
        write(
            registry,
            signature=signature,
            golden_inputs=pa.table({EVIL: [-1.0, 3.0]}),
            training={EVIL: EVIL, "purpose": EVIL},
            metrics={EVIL: float(depth)},
            lineage=Lineage(data=EVIL, code=EVIL, parameters={EVIL: [EVIL, depth]}),
        )
    releases = Releases(registry, "fraud")
    releases.promote(1, Activation(BEGINNING, past=True, reason=EVIL, by=EVIL))
    releases.canary(3, 0.5, EVIL, Activation(reason=EVIL, by=EVIL))
    manifest = registry.folder("fraud", 2) / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(json.dumps({EVIL: EVIL}))
    return tmp_path / "models"


@pytest.fixture
def drift(tmp_path: Path) -> Path:
    records = drift_records(4, {"a": "input", EVIL: "input", "score": "score"}, [EVIL])
    renamed = [msgspec.structs.replace(each, job=EVIL, model=EVIL) for each in records]
    alerts = [msgspec.structs.replace(each, message=EVIL) for each in alert_records(records)]
    path = tmp_path / "drift.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, [*renamed, *alerts])))
    return path


@pytest.fixture
def quality(tmp_path: Path) -> Path:
    of_all, of_segment = (quality_record(1, job=EVIL, segment=segment) for segment in (None, EVIL))
    group = msgspec.structs.replace(of_all.groups[0], column=EVIL)
    path = tmp_path / "quality.jsonl"
    records = [msgspec.structs.replace(of_all, model=EVIL, groups=(group,)), of_segment]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, records)))
    return path


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    span = WindowSpan("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z", "watermark")
    record = ComparisonRecord(job=EVIL, model=EVIL, window=span, versions=(), pairs=(), action=EVIL)
    path = tmp_path / "compared.jsonl"
    path.write_bytes(msgspec.json.encode(record))
    return path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    text = json.dumps(EVIL[:-1])  # YAML has another escape for what is beyond 16 bits
    path.write_text(f"job: {text}\n{text}: 1\nmodel: {{name: {text}}}\n")
    return path


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.yaml"
    path.write_text("job: orders\nsource: {topic: orders, schema: {x: double}}\nmodel: {name: m}\n")
    return path


@pytest.fixture
def life(tmp_path: Path, models: Path) -> Path:
    """A job of the attacker's model, whose canary, of another, waits."""
    path = tmp_path / "life.yaml"
    path.write_text(
        "job: orders\nsource: {topic: orders, schema: {x: double}}\n"
        f"model: {{name: fraud, registry: {models}}}\ndrift: {{}}\nlifecycle: {{train: {{drift: {{}}}}}}\n"
    )
    profile = Registry(models).folder("fraud", 1) / "profile.json"
    profile.chmod(0o644)
    profile.write_text("{}")
    releases = Releases(Registry(models), "fraud")
    releases.confirm(Activation(reason=EVIL, by=f"job {EVIL}, lifecycle: train"))
    return path


@pytest.fixture(autouse=True)
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic and a cluster whose contents are an attacker's."""
    text = EVIL.encode()
    record = Record(value=text, key=text, headers=[(EVIL, text)], partition=0, offset=0, timestamp=0)

    class Cluster:
        url = "http://x"

        def jobs(self) -> list[JobInfo]:
            return [JobInfo("0" * 32, EVIL, "RUNNING", 0, 1)]

        def find(self, job: str) -> JobInfo:
            if job == "0" * 32:
                return self.jobs()[0]
            raise InputError(f"{job} must be one of {self.jobs()[0].name}")

        def parameters(self, _: str) -> dict[str, str]:
            return {}

        def settings(self) -> dict[str, str]:
            return {"execution.checkpointing.dir": f"/{EVIL[:-1]}"}

        def text(self, _: str) -> str:
            return EVIL

        def get(self, path: str) -> Any:
            return _evil_answer(path)

    def facts(_: object) -> Iterator[Finding]:
        yield judge_cluster(ClusterFacts("http://x", EVIL, 1, True), EVIL)

    monkeypatch.setattr(checks, "cluster", facts)
    monkeypatch.setattr(checks, "broker", lambda *_: Finding("broker", "wrong", EVIL, EVIL))
    evil = NamedNode(EVIL, (), Node("string"))
    found = Registered(1, "avro", Node("record", fields=(evil,)), EVIL)
    monkeypatch.setattr(schema, "newest_at", lambda *_: found)
    monkeypatch.setattr(topics, "read_topic", lambda *_, **__: [record])
    mine = [(f"tailrace.{name}", text) for name in ("stage", "reason", "model", "message", "at", "replay_of")]
    dead = Record(value=text, key=text, headers=[(EVIL, text), *mine], partition=0, offset=0, timestamp=0)
    monkeypatch.setattr(letters, "read_topic", lambda *_, **__: [dead])
    monkeypatch.setattr(accounts, "read_topic", lambda *_, **__: [dead])
    monkeypatch.setattr(accounts, "read_span", lambda *_, **__: [])
    for offsets in ("committed_offsets", "begin_offsets", "end_offsets"):
        monkeypatch.setattr(accounts, offsets, lambda *_: {0: 1})
    monkeypatch.setattr(letters, "read_record", lambda *_, **__: dead)
    monkeypatch.setattr(letters, "read_notes", lambda *_: [])
    monkeypatch.setattr(letters, "read_decisions", lambda *_: Decisions())
    monkeypatch.setattr(replaying, "read_decisions", lambda *_: Decisions())
    monkeypatch.setattr(replaying, "describe_topics", lambda *_: {"orders": 1})
    for module in (clusters, remote, job_command, logs, again):
        monkeypatch.setattr(module, "cluster_at", lambda _: Cluster())


def _evil_answer(path: str) -> Any:
    """Of a cluster whose job, TaskManager and failure are an attacker's."""
    failure = {"timestamp": 1, "stacktrace": f"x.Error: {EVIL}", "taskManagerId": EVIL}
    done = {"latest_ack_timestamp": 1, "state_size": 1, "external_path": EVIL}
    last = path.rpartition("/")[2].partition("?")[0]
    return {
        "exceptions": {"exceptionHistory": {"entries": [failure]}},
        "checkpoints": {"latest": {"completed": done}},
        "taskmanagers": {"taskmanagers": [{"id": EVIL, "taskmanager-id": EVIL, **_SILENT}]},
        "metrics": [],
    }.get(last, _EVIL_JOB)


_SILENT = {"timeSinceLastHeartbeat": 0, "slotsNumber": 1}
_EVIL_JOB: dict[str, Any] = {"status-counts": {}, "timestamps": {}} | {
    "jid": "0" * 32,
    "name": EVIL,
    "state": "RUNNING",
    "start-time": 0,
    "vertices": [{"id": "1", "parallelism": 1}],
}


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """All that a command prints, and the error that it ends with as a person sees it."""
    done = CliRunner().invoke(app, words, env={"COLUMNS": "1000"})
    text = done.output
    if done.exception and not isinstance(done.exception, SystemExit):
        if not isinstance(done.exception, TailraceError):
            raise done.exception
        cli._show(done.exception)
        text += capsys.readouterr().err
    return text


CASES: dict[str, tuple[Callable[[Any], list[str]], bool]] = {
    # What is asked for, and whether its output shows the attacker's text.
    "models list": (lambda f: ["models", "list", "--registry", f("models")], True),
    "models show": (lambda f: ["models", "show", "fraud", "1", "--registry", f("models")], True),
    "models show --json": (
        lambda f: ["models", "show", "fraud", "1", "--json", "--registry", f("models")],
        True,
    ),
    "models show of a bad one": (
        lambda f: ["models", "show", "fraud", "2", "--registry", f("models")],
        False,
    ),
    "models verify": (lambda f: ["models", "verify", "fraud", "3", "--registry", f("models")], False),
    "models diff": (lambda f: ["models", "diff", "fraud/1", "3", "--registry", f("models")], True),
    "models card": (lambda f: ["models", "card", "fraud", "1", "--registry", f("models")], False),
    "release history": (lambda f: ["release", "history", "fraud", "--registry", f("models")], True),
    "release history --json": (
        lambda f: ["release", "history", "fraud", "--json", "--registry", f("models")],
        True,
    ),
    "release shadow": (lambda f: ["release", "shadow", "fraud", "--registry", f("models")], True),
    "release of no model": (lambda f: ["release", "promote", EVIL, "1", "--registry", f("models")], True),
    "release compare": (lambda f: ["release", "compare", f("compared")], True),
    "audit": (lambda f: ["audit", "fraud", "--registry", f("models")], True),
    "audit --json": (lambda f: ["audit", "fraud", "--json", "--registry", f("models")], True),
    "drift": (lambda f: ["drift", f("drift")], True),
    "drift --json": (lambda f: ["drift", f("drift"), "--json"], True),
    "drift --segment": (lambda f: ["drift", f("drift"), "--segment", "none"], True),
    "drift --column": (lambda f: ["drift", f("drift"), "--column", "none"], True),
    "quality": (lambda f: ["quality", f("quality")], True),
    "quality --json": (lambda f: ["quality", f("quality"), "--json"], True),
    "quality --segment": (lambda f: ["quality", f("quality"), "--segment", "none"], True),
    "schema import": (lambda _: ["schema", "import", "t", "--registry", "http://x"], True),
    "read --pretty": (lambda _: ["read", "t", "--pretty"], True),
    "read --json": (lambda _: ["read", "t", "--json"], True),
    "dlq export": (lambda f: ["dlq", f("orders"), "export"], True),
    "dlq list": (lambda f: ["dlq", f("orders"), "list"], True),
    "dlq list --json": (lambda f: ["dlq", f("orders"), "list", "--json", "--by", "day"], True),
    "dlq show": (lambda f: ["dlq", f("orders"), "show", "0:0"], True),
    "dlq show --json": (lambda f: ["dlq", f("orders"), "show", "0:0", "--json"], True),
    "dlq show of no record": (lambda f: ["dlq", f("orders"), "show", EVIL], True),
    "dlq replay": (lambda f: ["dlq", f("orders"), "replay", "--all", "--dry-run"], False),
    "dlq replay --map": (lambda f: ["dlq", f("orders"), "replay", "--map", EVIL], True),
    "late list": (lambda f: ["late", f("orders"), "list"], False),
    "late show": (lambda f: ["late", f("orders"), "show", "0:0"], True),
    "late replay": (lambda f: ["late", f("orders"), "replay", "--since", EVIL], True),
    "accounts": (lambda f: ["accounts", f("orders"), "--since", EVIL], True),
    "receipt": (lambda f: ["receipt", f("orders"), "0", "0"], False),
    "accounts --json": (lambda f: ["accounts", f("orders"), "--json"], False),
    "jobs": (lambda _: ["jobs"], True),
    "k8s render": (lambda f: ["k8s", "render", f("job"), "--image", "x", "--bucket", "s3://x/y"], True),
    "doctor": (lambda _: ["doctor", "--brokers", "x:1", "--cluster", "http://x"], True),
    "doctor --json": (lambda _: ["doctor", "--json", "--brokers", "x:1", "--cluster", "http://x"], True),
    "jobs --json": (lambda _: ["jobs", "--json"], True),
    "job": (lambda _: ["job", "0" * 32], True),
    "job --json": (lambda _: ["job", "0" * 32, "--json"], True),
    "logs": (lambda _: ["logs", "0" * 32], True),
    "savepoint": (lambda _: ["savepoint", EVIL], True),
    "restart": (lambda _: ["restart", EVIL], True),
    "resume": (lambda _: ["resume", EVIL], True),
    "validate": (lambda f: ["validate", f("job")], True),
    "validate --json": (lambda f: ["validate", "--json", f("job")], True),
    "plan": (lambda f: ["plan", f("job")], True),
    "migrate": (lambda f: ["migrate", "--check", f("job")], False),
    "init": (lambda f: ["init", "x", "--model", EVIL, "--registry", f("models")], True),
    "test": (lambda f: ["test", f("job")], True),
    "preview": (lambda f: ["preview", f("job")], True),
    "run": (lambda f: ["run", f("job")], True),
    "submit": (lambda f: ["submit", f("job"), "--cluster", "http://localhost:1"], True),
    "backtest": (lambda f: ["backtest", f("job"), f("drift")], False),
    "stop": (lambda _: ["stop", EVIL], True),
    "profile": (lambda f: ["profile", f("drift"), "--out", "x.json"], False),
    "train": (lambda f: ["train", f("models")], False),
    "lifecycle": (
        lambda f: [
            "lifecycle",
            f("life"),
            "--comparisons",
            f("compared"),
            "--drift",
            f("drift"),
            "--dry-run",
        ],
        True,
    ),
    "lifecycle of no job": (lambda f: ["lifecycle", f("job")], True),
    "retrain": (lambda f: ["retrain", f("models"), "--drift", f("drift")], False),
}
# They show nothing that others wrote: what this machine started, how many lines were sent.
OWN = {"up", "down", "status", "produce"} | {"jars", "package"}


@pytest.mark.parametrize("name", CASES)
def test_it_is_text(name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    words, appears = CASES[name]
    text = shown(words(lambda fixture: str(request.getfixturevalue(fixture))), capsys)
    assert text
    assert [c for c in text if not c.isprintable() and c not in "\n\t"] == []
    if appears:
        assert MARKUP in text.replace("\\\\", "\\"), text
        assert "evil" in text


def test_all_commands_are_tried() -> None:
    assert {name.split()[0] for name in CASES} | OWN == set(COMMANDS)
    assert not {name.split()[0] for name in CASES} & OWN


def test_what_is_escaped_is_still_told() -> None:
    assert plain(EVIL).startswith("\\x1b[2J\\x9b31m\\u202eevil\\u2066[red]x[/red]")
