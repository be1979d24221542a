"""What the commands show of labels, and what a job file with labels becomes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from sklearn.ensemble import IsolationForest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, describe, make_plan
from tests.helpers import models
from tests.helpers.following import add
from tests.helpers.quality import compared, of_numbers

runner = CliRunner()
JOB = """
job: payments
source: {{topic: payments, schema: {{amount: {{type: double, required: true}}, id: long}}}}
features: {{derive: {{half: amount / 2}}}}
model: {{name: fraud, registry: {root}}}
comparisons: {labels}
"""
LABELS = "{labels: {topic: chargebacks, on: id, key: payment, field: fraud, wait: 6h}}"


def plan(root: Path, labels: str = LABELS) -> Plan:
    return make_plan(load_job_text(JOB.format(root=root, labels=labels), "job.yaml", root))


def shown(tmp_path: Path, *words: str) -> str:
    file = tmp_path / "comparisons.jsonl"
    if not file.exists():
        file.write_bytes(msgspec.json.encode(compared(0.1)) + b"\n" + msgspec.json.encode(compared(0.1)))
    done = runner.invoke(app, ["release", "compare", str(file), *words], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_shows_how_right_versions_were(tmp_path: Path) -> None:
    output = shown(tmp_path)
    assert "Labels: 8,010 read, 8,000 joined to their records, 10 rejected" in output
    lines = [line.split() for line in output.splitlines() if line.startswith("2 ")]
    assert lines[1][:3] == ["2", "canary", "4,000"]
    assert lines[1][6].startswith("+0.0")
    assert lines[1][7].startswith("±")
    assert "…" not in output


def test_json_has_the_numbers(tmp_path: Path) -> None:
    total = json.loads(shown(tmp_path, "--json"))
    assert total["labels"] == {"read": 8010, "rejected": 10, "joined": 8000}
    (pair,) = total["pairs"]
    assert (pair["labels"]["measure"], pair["labels"]["n"]) == ("log_loss", 4000)
    assert total["versions"][1]["labels"]["n"] == 4000
    assert "rmse" not in total["versions"][1]["labels"]


def test_the_table_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "comparisons.jsonl").write_bytes(msgspec.json.encode(of_numbers().window))
    output = shown(tmp_path)
    assert "RMSE MAE worse by p" in " ".join(output.split())
    assert "log loss" not in output


def test_a_plan_reads_the_labels(tmp_path: Path) -> None:
    add(tmp_path)
    made = plan(tmp_path)
    assert [table.options["topic"] for table in made.tables[:2]] == ["payments", "chargebacks"]
    assert "labels: fraud, by id, up to 6h after the record" in describe.as_text(made)
    assert made.views.functions["read_label"].params.key == "payment"  # type: ignore[union-attr]
    assert made.controller is not None
    assert (made.controller.gate.quality, made.controller.gate.labels) == (0.05, 500)


def test_without_labels_nothing_is_added(tmp_path: Path) -> None:
    add(tmp_path)
    made = plan(tmp_path, "{}")
    assert made.views.labels == ()
    assert "event_time," not in str(made.views.views["scored"])
    assert made.controller is not None
    assert made.controller.gate.quality is None
    assert "read_label" not in made.views.functions


def test_labels_need_a_key_and_a_loss(tmp_path: Path) -> None:
    add(tmp_path)
    with pytest.raises(InputError, match="must be a string, long or boolean; got half, a double"):
        plan(tmp_path, LABELS.replace("on: id", "on: half"))
    other = tmp_path / "odd"
    models.write(
        other, "fraud", IsolationForest(n_estimators=2), pa.table({"amount": [1.0, 2.0]}), None, "anomaly"
    )
    with pytest.raises(InputError, match="left out for a model whose output is anomaly"):
        plan(other)


@pytest.mark.parametrize(
    ("value", "got"), [("20%", "'20%'"), ("1", "1"), ("0", "0"), ("true", "True"), ("surely", "'surely'")]
)
def test_a_confidence_that_is_none_is_named(tmp_path: Path, value: str, got: str) -> None:
    add(tmp_path)
    with pytest.raises(InputError) as error:
        plan(tmp_path, f"{{gate: {{confidence: {value}}}}}")
    assert "comparisons.gate.confidence: must be a number from 0.5 to 0.9999, or per cent such as 99%" in str(
        error.value
    )
    assert f"got {got}" in str(error.value)


def test_a_confidence_in_per_cent_reaches_the_gate(tmp_path: Path) -> None:
    add(tmp_path)
    made = plan(tmp_path, "{gate: {confidence: 99.9%}}")
    assert made.controller is not None
    assert made.controller.gate.confidence == pytest.approx(0.999)
