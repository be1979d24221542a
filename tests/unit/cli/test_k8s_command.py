"""`tailrace k8s render`: what pods could not reach is refused, and secrets stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flink_jobs.cli import app, k8s
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from tests.helpers.registered import write

JOB = """\
job: fraud.cards
kafka:
  brokers: "${BROKERS}"
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: me, password: "${KAFKA_PASSWORD}"}
source: {topic: cards, schema: {a: double}}
model: {name: fraud}
runtime: {parallelism: 3}
"""
WORDS = ["--image", "registry.example.org/tailrace:1", "--bucket", "s3://bucket/tailrace"]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    registry = Registry(tmp_path / "models")
    registry.promote("fraud", write(registry).version)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    monkeypatch.setenv("BROKERS", "kafka-1:9093,kafka-2:9094")
    for name in ("TAILRACE_BROKERS", "TAILRACE_MODELS", "TAILRACE_PROFILE", "TAILRACE_PROFILES"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def rendered(job: Path, *words: str) -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(app, ["k8s", "render", str(job), *WORDS, *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    assert "hunter2" not in done.output
    return {each["kind"]: each for each in yaml.safe_load_all(done.output)}


def test_a_job_becomes_resources_with_the_models_measured_memory(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = 300 * 2**20, 420 * 2**20
    monkeypatch.setattr(k8s, "footprint", lambda _: (before, after))
    found = rendered(job, "--in-image", "--namespace", "ml")
    flink = found["FlinkDeployment"]
    assert flink["metadata"]["namespace"] == "ml"
    assert flink["metadata"]["annotations"] == {"tailrace/job": "fraud.cards"}
    assert flink["metadata"]["name"].startswith("fraud-cards-")
    assert flink["spec"]["job"]["parallelism"] == 3
    assert found["ConfigMap"]["data"]["job.yaml"] == JOB
    ports = [
        each["port"] for rule in found["NetworkPolicy"]["spec"]["egress"] for each in rule.get("ports", [])
    ]
    assert {9093, 9094} <= set(ports)
    env = flink["spec"]["podTemplate"]["spec"]["containers"][0]["env"]
    assert {each["name"] for each in env if "valueFrom" in each} == {"BROKERS", "KAFKA_PASSWORD"}
    managed = flink["spec"]["flinkConfiguration"]["taskmanager.memory.managed.size"]
    assert int(managed.removesuffix("m")) * 2**20 >= after


def test_a_profile_goes_along_alone_and_as_it_is_written(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(k8s, "footprint", lambda _: (2**28, 2**28))
    job.write_text("\n".join(line for line in JOB.splitlines() if not line.startswith(("kafka", "  "))))
    profiles = job.parent / "conf" / "profiles.yaml"
    profiles.parent.mkdir()
    login = "protocol: SASL_SSL, mechanism: PLAIN, username: me, password: '${KAFKA_PASSWORD}'"
    secured = f"{{brokers: 'k:9093', security: {{{login}}}}}"
    profiles.write_text(
        f"profiles:\n  prod: {{kafka: {secured}}}\n  other: {{kafka: {{brokers: 'elsewhere:1'}}}}\n"
    )
    monkeypatch.setenv("TAILRACE_PROFILE", "prod")
    found = rendered(job, "--in-image")
    kept = yaml.safe_load(found["ConfigMap"]["data"]["profiles.yaml"])
    assert kept == {"default": "prod", "profiles": {"prod": {"kafka": yaml.safe_load(secured)}}}
    env = found["FlinkDeployment"]["spec"]["podTemplate"]["spec"]["containers"][0]["env"]
    plain = {each["name"]: each.get("value") for each in env}
    assert plain["TAILRACE_PROFILE"] == "prod"
    assert plain["TAILRACE_PROFILES"] == "/opt/tailrace/job/profiles.yaml"
    assert plain["KAFKA_PASSWORD"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"model.registry: must be a URI that pods reach"),
        (("--in-image", "--blue-green"), "writes outputs twice: runtime.delivery must be at_least_once"),
        (("--in-image", "--namespace", "A B"), "--namespace must be a name"),
    ],
)
def test_what_could_not_work_is_refused(job: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rendered(job, *words)


def test_metrics_go_to_a_collector_that_the_network_lets_pods_reach(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k8s, "footprint", lambda _: (2**28, 2**28))
    found = rendered(job, "--in-image", "--otlp", "http://collector.ops:4318/v1/metrics")
    options = found["FlinkDeployment"]["spec"]["flinkConfiguration"]
    assert options["metrics.reporter.otel.exporter.endpoint"] == "http://collector.ops:4318/v1/metrics"
    assert options["metrics.reporter.prom.port"] == "9249"
    rules = found["NetworkPolicy"]["spec"]["egress"]
    assert 4318 in {each["port"] for rule in rules for each in rule.get("ports", [])}
    with pytest.raises(InputError, match="--otlp must be"):
        rendered(job, "--in-image", "--otlp", "collector:4318")
