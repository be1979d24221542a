"""What the rules and the dashboard ask for is there: a real Prometheus scrapes a job on the local stack."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests
from ruamel.yaml import YAML
from sklearn.linear_model import LogisticRegression

from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.local import stack
from flink_jobs.local.state import Stack, load
from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import ProcessId, free_port, port_in_use, spawn, tail, wait_until
from flink_jobs.system.warm_workers import warm_python
from flink_jobs.testing import record
from tests.helpers import models
from tests.helpers.commands import tailrace_command, tailrace_here
from tests.helpers.otlp import Collector

RULES = PROJECT / "conf" / "prometheus"
DASHBOARD = json.loads((PROJECT / "conf" / "grafana" / "tailrace.json").read_text())
METRIC = re.compile(r"\b(?:flink|tailrace)[a-zA-Z0-9_:]+\b(?![-.])")
NOW = 1_767_225_600_000
HOUR = 3_600_000
JOB = """
job: watched-job
kafka: {{brokers: "{brokers}"}}
source:
  topic: payments
  event_time: {{out_of_order: 1s}}
  schema: {{amount: {{type: double, range: [-100, 100]}}, age: double}}
model: {{name: fraud, registry: models, inputs: {{balance: amount}}}}
drift: {{window: 1h}}
quality: {{window: 1h}}
alerts: {{rules: {{moved: {{on: drift, bad: 1, of: 1, resolve_after: 1}}}}}}
runtime: {{python: {python}, latency: low, checkpoint: {{interval: 1s}}}}
"""


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=RULES, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    groups = YAML(typ="safe").load((RULES / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """What the dashboard asks for, with its variables filled in as Grafana does."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [text.replace("$job", "watched-job").replace("$__rate_interval", "1m") for text in found]


def test_the_rules_are_valid_and_do_what_their_tests_say() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", "rules.yml")
    promtool("check", "config", "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tested = (RULES / "rules_test.yml").read_text()
    assert set(re.findall(r'labels: .{alertname="(\w+)"', tested)) == alerts.keys()
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), name
        assert rule["annotations"].keys() == {"summary", "action", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"].endswith(f"{{{{ end }}}}/runbook.md#{name.lower()}")


def test_each_alert_has_its_place_in_the_runbook_with_the_same_words() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    _, *sections = (PROJECT / "docs" / "runbook.md").read_text().split("\n### ")
    found = {text.split("\n", 1)[0]: " ".join(text.split()) for text in sections}
    assert found.keys() == alerts.keys()
    for name, rule in alerts.items():
        said = re.sub(r"\{\{ with .*?end -?\}\}", "", rule["annotations"]["action"], flags=re.DOTALL)
        said = re.sub(r"\{\{.*?\}\}", "JOB", said)
        assert " ".join(said.split()) in found[name]


def test_the_dashboard_fits_together() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in panels():
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert panel["title"]
        assert panel["description"]
    variables = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]))) - {"__rate_interval"}
    assert used == set(variables) == {"datasource", "job"}


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def names(self) -> set[str]:
        return set(self.ask("label/__name__/values"))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture
def running_stack(tmp_path: Path, collector: Collector) -> Iterator[Stack]:
    directory = tmp_path / "stack"
    numbers = (free_port(), free_port(), free_port())
    options = zip(("--kafka-port", "--flink-port", "--metrics-port"), map(str, numbers), strict=True)
    try:
        tailrace(
            "up",
            *(word for pair in options for word in pair),
            "--slots",
            "1",
            "--dir",
            str(directory),
            "--otlp",
            collector.url,
        )
        found = load(directory)
        assert found is not None
        assert found.metrics == (f"127.0.0.1:{numbers[2]}", f"127.0.0.1:{numbers[2] + 1}")
        yield found
    finally:
        stack.down(directory, purge=True)


@pytest.fixture
def prometheus(running_stack: Stack, tmp_path: Path) -> Iterator[Prometheus]:
    """It runs with the example's settings, but for the ports, and every second."""
    text = (RULES / "prometheus.yml").read_text().replace("15s", "1s")
    for example, target in zip(("127.0.0.1:9249", "127.0.0.1:9250"), running_stack.metrics, strict=True):
        assert example in text
        text = text.replace(example, target)
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(RULES / "rules.yml", tmp_path)
    address, log = f"127.0.0.1:{free_port()}", tmp_path / "prometheus.log"
    settings = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    command = ["bash", "-c", 'cd "$0" && exec prometheus "$@"', str(tmp_path), *settings]
    process = ProcessId.of(spawn(command, log).pid)
    try:
        assert wait_until(lambda: not process.alive() or answers(f"http://{address}/-/ready"), 30, 0.2)
        assert process.alive(), tail(log)
        yield Prometheus(f"http://{address}")
    finally:
        process.stop()
    assert "Error on ingesting" not in log.read_text()  # two series would have the same labels


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2, proxies={"http": ""}).ok
    except requests.RequestException:
        return False


def tailrace(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([*tailrace_command(), *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stderr
    return done.stderr


def write_model(root: Path) -> None:
    draw = np.random.default_rng(1)
    inputs = pa.table({"balance": draw.normal(size=2_000), "age": draw.normal(size=2_000)})
    frame = inputs.to_pandas()
    target = (frame["balance"] + frame["age"] > 0).tolist()
    model = LogisticRegression().fit(frame, target)
    outputs = pa.table({"score": model.predict_proba(frame)[:, 1]})
    models.write(root, "fraud", model, inputs, target, "binary", profiled=outputs)


def hours() -> Iterator[list[Message]]:
    """Records of one hour after the other: as in training, moved, too few; each with bad and late ones."""
    draw = random.Random(4)
    for hour in range(10_000):
        start = NOW + hour * HOUR
        rows, shift = ((500, 0.0), (500, 1.0), (20, 0.0))[hour % 3]
        step = HOUR // rows
        yield [
            record({"amount": draw.gauss(shift, 1), "age": draw.gauss(0, 1)}, timestamp=start + i * step)
            for i in range(rows)
        ] + [
            record({"amount": 1e9}, timestamp=start + HOUR - 1),
            record(b"{", timestamp=start + HOUR - 1),
            record({"amount": 0, "age": 0}, timestamp=NOW - HOUR),
        ]


def feed_until(condition: Callable[[], bool], kafka: ClientSettings, seconds: float) -> bool:
    stream = hours()

    def fed() -> bool:
        produce(kafka, "payments", next(stream))
        return condition()

    return wait_until(fed, seconds, interval=0.5)


def test_both_ports_for_metrics_must_be_free(tmp_path: Path) -> None:
    taken = next(port for port in iter(free_port, None) if not port_in_use(port - 1))
    with socket.create_server(("127.0.0.1", taken)):
        for first in (taken, taken - 1):
            chosen = ("--kafka-port", str(free_port()), "--flink-port", str(free_port()))
            said = tailrace(
                "up", *chosen, "--metrics-port", str(first), "--dir", str(tmp_path / "stack"), code=2
            )
            assert f"port {taken} for metrics is in use" in said
            assert "choose a free one with --metrics-port" in said
    assert load(tmp_path / "stack") is None


TAILRACE = "flink_taskmanager_job_task_operator_tailrace_"
COUNTED = ("predicted", "dead_decode", "dead_contract", "late", "worker_ms", "windows_drift")
# Of Flink's own operators that drop what is late; all others are ours, and drop nothing.
ONLY_WITH_LABELS = {"flink_taskmanager_job_task_operator_numLateRecordsDropped"}


@pytest.mark.timeout(300)
def test_prometheus_has_every_series_that_is_asked_for(
    running_stack: Stack,
    prometheus: Prometheus,
    collector: Collector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = ClientSettings(running_stack.brokers)
    create_topics(kafka, {"payments": 1})
    write_model(tmp_path / "models")
    (tmp_path / "job.yaml").write_text(JOB.format(brokers=running_stack.brokers, python=warm_python()))
    monkeypatch.setenv("OPENLINEAGE_URL", (tmp_path / "events.jsonl").as_uri())
    sent = tailrace_here("submit", str(tmp_path / "job.yaml"), "--cluster", running_stack.flink_url)
    assert sent.returncode == 0, sent.stderr
    (run,) = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    jobs = requests.get(f"{running_stack.flink_url}/jobs", timeout=10, proxies={"http": ""}).json()["jobs"]
    assert [run["run"]["runId"].replace("-", "")] == [job["id"] for job in jobs]
    assert (run["eventType"], run["inputs"][0]["name"]) == ("START", "payments")

    asked = {*expressions(), *(rule["expr"] for rule in rules())}
    names = {name for expression in asked for name in METRIC.findall(expression)} - ONLY_WITH_LABELS
    empty: set[str] = set()

    def complete() -> bool:
        empty.clear()
        empty.update(name for name in names if not prometheus.query(f'{name}{{job_name="watched-job"}}'))
        empty.update(expression for expression in expressions() if not prometheus.query(expression))
        empty.update(name for name in COUNTED if not prometheus.query(f"sum({TAILRACE}{name}) > 0"))
        return not empty

    assert feed_until(complete, kafka, 90), sorted(empty)
    targets = prometheus.ask("targets")["activeTargets"]
    assert [target["health"] for target in targets] == ["up", "up"]
    published = {name for name in prometheus.names() if "_operator_tailrace_" in name}
    documented = re.findall(
        r"^\| `([a-z_]+)` \|", (PROJECT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
    assert {name.partition("_operator_tailrace_")[2] for name in published} == set(documented)

    def counted(metric: str, **labels: str) -> float:
        name = f"flink.taskmanager.job.task.operator.tailrace.{metric}"
        return collector.total(name, job_name="watched-job", **labels)

    # The same by OpenTelemetry's protocol; the events are old, so that all are in the last bucket.
    assert wait_until(lambda: 0 < counted("predicted") == counted("latency.le.bucket", le="+Inf"), 60, 1)
    assert counted("latency.le.bucket", le="0.1") == 0
    assert collector.services == {"tailrace"}
    others = {"flink.jobmanager.job.numRestarts", "flink.taskmanager.job.task.operator.pendingRecords"}
    assert others <= collector.names
    name = "flink.taskmanager.job.task.operator.tailrace.worker_bytes"
    assert wait_until(lambda: 50e6 < collector.gauge(name, job_name="watched-job") < 2e9, 30, 1)
