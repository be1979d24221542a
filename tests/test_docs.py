"""README and docs say what is so: their commands and snippets run, their tables are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flink_jobs import stack
from flink_jobs.jars import PROJECT
from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.loader import load_job_text
from flink_jobs.processes import free_port
from flink_jobs.registry import Registry
from flink_jobs.runtime import PROFILES
from flink_jobs.testing import Broker
from flink_jobs.training import load_trainer
from tests.flight_model import FlightFiles, add_version, flight_files
from udfs import problems
from udfs.formats import MODEL_FILES, TOLERANCES
from udfs.manifest import Manifest

__all__ = ["flight_files"]

README = (PROJECT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((PROJECT / "docs").glob("*.md"))}
PAGES = {"README.md": README, **DOCS}
Workspace = tuple[Path, dict[str, str]]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The lines of console blocks that a person types."""
    return [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line[:2] == "$ "]


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, or after any other line that begins so."""
    lines = text[re.search(rf"^{re.escape(heading)}", text, re.MULTILINE).start() :].splitlines()  # type: ignore[union-attr]
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def sections() -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """(heading, documented key to default, properties of the schema) for each table of docs/job-file.md."""
    schema = json.loads((PROJECT / "conf" / "job.schema.json").read_text())
    kinds = {
        "## Top level": None,
        "## `kafka`\n": "Kafka",
        "## `kafka.security`": "Security",
        "## `source`\n": "Source",
        "## `source.event_time`": "EventTime",
        "## `source.schema`": "SchemaField",
        "## `features`\n": "Features",
        "## `features.windows`": "Window",
        "## `features.lookups`": "Lookup",
        "## `model`": "Model",
        "## `predictions`": "Predictions",
        "## `drift`\n": "Drift",
        "## `drift.sequential`": "Sequential",
        "## `alerts`\n": "Alerts",
        "## `alerts.webhook`": "Webhook",
        "## `alerts.rules`": "AlertRule",
        "## `shadows`": "Shadows",
        "## `comparisons`\n": "Comparisons",
        "## `comparisons.gate`": "GateRules",
        "## `comparisons.automatic`": "AutomaticSteps",
        "## `runtime`\n": "Runtime",
        "## `runtime.checkpoint`": "Checkpoint",
    }
    documented = {*filter(None, kinds.values()), "DeadLetters", "Late", "Variable"}
    assert documented == set(schema["$defs"])
    for heading, kind in kinds.items():
        rows = table(DOCS["job-file.md"], heading)
        definition = schema["$defs"][kind] if kind else schema
        yield heading, {names(row[0])[0]: row[1] for row in rows}, definition["properties"]


def test_every_key_of_a_job_file_is_documented_with_its_default() -> None:
    for heading, documented, properties in sections():
        assert documented.keys() == properties.keys(), heading
        for key, cell in documented.items():
            default = properties[key].get("default")
            if default not in (None, [], {}, ""):
                shown = json.dumps(default) if not isinstance(default, str) else default
                assert names(cell) == [shown], f"{heading} {key}"


def test_every_stage_and_reason_is_documented() -> None:
    rows = table(DOCS["outputs.md"], "| stage | reason")
    documented = [(names(row[0])[0], names(row[1])[0]) for row in rows]
    stages = {
        "decode": problems.DECODE_REASONS,
        "contract": problems.CONTRACT_REASONS,
        "feature": problems.FEATURE_REASONS,
        "inference": problems.INFERENCE_REASONS,
    }
    assert documented == [(stage, reason) for stage, reasons in stages.items() for reason in reasons]


def test_latency_profiles_are_documented() -> None:
    rows = table(DOCS["operations.md"], "## Latency")
    fields = ("bundle", "bundle_ms", "arrow_rows", "buffer_ms", "linger_ms", "checkpoint_ms")
    expected = [[str(getattr(profile, field)) for profile in PROFILES.values()] for field in fields]
    assert [row[1:] for row in rows] == expected
    header = next(line for line in DOCS["operations.md"].splitlines() if line.startswith("| |"))
    assert names(header) == list(PROFILES)


def test_formats_and_manifest_are_documented() -> None:
    formats = {names(row[0])[0]: (names(row[2])[0], float(row[3])) for row in _format_rows()}
    assert formats == {name: (MODEL_FILES[name], TOLERANCES[name]) for name in MODEL_FILES}
    keys = [key for row in table(DOCS["models.md"], "## Manifest") for key in names(row[0])]
    assert sorted(keys) == sorted(Manifest.__struct_fields__)


def _format_rows() -> list[list[str]]:
    return table(DOCS["models.md"], "## Formats")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = PROJECT if page == "README.md" else PROJECT / "docs"
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[page])
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_job_file_explained_in_the_readme_is_one(tmp_path: Path) -> None:
    job = load_job_text(blocks(README, "yaml")[0], "README.md", tmp_path, {})
    assert job.job == "flight-delay"


@pytest.fixture
def workspace(tmp_path: Path, flight_files: FlightFiles) -> Workspace:
    """A checkout's files that commands name, and the environment to run them in."""
    (tmp_path / "conf").mkdir()
    for file in ("flight_delay.yaml", "flight_delay_live.yaml"):
        shutil.copy(PROJECT / "conf" / file, tmp_path / "conf")
    shutil.copytree(flight_files.models, tmp_path / "models")
    shutil.copytree(flight_files.tables, tmp_path / ".tailrace" / "demo")
    venv = Path(sys.executable).parent
    (tmp_path / ".venv").symlink_to(venv.parent)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TAILRACE_")}
    jars = os.environ.get("TAILRACE_JARS", str(PROJECT / ".jars"))
    return tmp_path, {**kept, "PATH": f"{venv}:{os.environ['PATH']}", "TAILRACE_JARS": jars}


def run_script(lines: list[str], workspace: Workspace, **environ: str) -> str:
    """Runs the lines as one bash script that ends at the first failure; returns its output."""
    folder, inherited = workspace
    script = "set -euxo pipefail\n" + "\n".join(lines)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**inherited, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_commands_of_the_docs(workspace: Workspace) -> None:
    """All but those that need a broker."""
    pages = [page for name, page in DOCS.items() if name not in ("training.md", "backtest.md")]
    lines = [line for page in pages for line in commands(page) if " run " not in line]
    assert len(lines) == 16
    output = run_script(lines, workspace)
    assert "conf/flight_delay.yaml: ok (model flight_delay version 1, 16 inputs)" in output
    assert "│ now │ 1       │ promote │ 1 " in output
    assert "flight_delay version 2 (onnx, binary)" in output
    assert "signed by a trusted key" in output


@pytest.mark.timeout(600)
def test_a_backtest_of_the_docs(workspace: Workspace) -> None:
    """The commands and the snippet, on the first flights of July and a second version of the model."""
    add_version(Registry(workspace[0] / "models"))
    make, compare = commands(DOCS["backtest.md"])
    (snippet,) = blocks(DOCS["backtest.md"], "python")
    (workspace[0] / "snippet.py").write_text(snippet)
    output = run_script([make, f"{compare} --limit 4000", "python snippet.py"], workspace, COLUMNS="150")
    assert re.search(r"^AUC +0\.\d{4} \(0\.\d{4} to 0\.\d{4}\) .* (A|B) is better", output, re.MULTILINE)
    assert "4,000 records, late is known of" in output
    assert "1000 1000 0 ['prediction', 'score']" in output
    assert "<h2>By origin</h2>" in (workspace[0] / ".tailrace" / "backtest.html").read_text()


@pytest.mark.timeout(600)
def test_a_day_on_the_cluster_of_the_readme(workspace: Workspace) -> None:
    """The commands as they stand, but for ports and memory, and with an edit before the job goes on."""
    kafka, flink = free_port(), free_port()
    ports = f"--kafka-port {kafka} --flink-port {flink}"
    lines = [f"{line} {ports}" if line == "tailrace up" else line for line in commands(README)]
    day = lines[: lines.index("tailrace down") + 1]
    resume = next(
        i for i, line in enumerate(day) if line.startswith("tailrace submit") and "savepoint" in line
    )
    day.insert(resume, "sed -i 's/include: .flight_id,/include: [flight_id, hour,/' conf/flight_delay.yaml")
    add_version(Registry(workspace[0] / "models"))
    day = [line for line in day if not line.startswith("tailrace train ")]
    for patient in ("release compare", "release promote"):
        day.insert(next(i for i, line in enumerate(day) if patient in line), "sleep 25")
    # It has learned so little that the gate would never let it pass.
    day = [line.replace(" --if conf/flight_delay_live.yaml", "") for line in day]
    day = [line.replace("--seconds 600", "--seconds 120") for line in day]
    try:
        output = run_script(day, workspace, TAILRACE_BROKERS=f"127.0.0.1:{kafka}")
    finally:
        stack.down(workspace[0] / ".tailrace")
    assert "release 2: champion 1, shadow 2, from 20" in output
    assert "shadow 2 to 1" in output
    assert "release 5: champion 1, from 20" in output
    assert "28485 records written to flights.departed" in output
    read = [line for line in output.splitlines() if '"topic": "flight-delay.predictions"' in line]
    assert len([line for line in read if '"offset"' in line]) == 2
    assert "flight-delay │ running" in output or re.search(r"flight-delay\s.*running", output)


def test_training_as_documented(tmp_path: Path, kafka: ClientSettings, workspace: Workspace) -> None:
    """The files and commands of docs/training.md; what the job computed is what an hour is."""
    page = DOCS["training.md"]
    root = workspace[0]
    shutil.rmtree(root / "models")
    for block in (*blocks(page, "yaml"), *blocks(page, "python")):
        path = root / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    create_topics(kafka, {"payments.drift": 1})
    output = run_script(commands(page), workspace, TAILRACE_BROKERS=kafka.brokers)
    assert "best of 5 trials: log_loss" in output
    assert "card_fraud version 1 is registered" in output
    assert "card_fraud version 1: no window to judge by" in output
    (features,) = (root / ".tailrace" / "features").glob("*.parquet")
    computed = pq.read_table(features).to_pandas()
    sent = load_trainer(root / "models" / "card_fraud").history().to_pandas()
    assert computed["@row"].tolist() == list(range(len(sent))) == list(range(4000))
    assert computed["amount"].tolist() == sent["amount"].tolist()
    for row in range(0, 4000, 37):
        age = sent["paid_at"][row] - sent["paid_at"]
        near = (sent["card"] == sent["card"][row]) & (age >= 0) & (age <= 3_600_000)
        assert computed["spent_1h"][row] == pytest.approx(sent["amount"][near].sum())


def test_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: Broker, workspace: Workspace
) -> None:
    """The snippets of the README, as the files that their first lines name."""
    for block in (*blocks(README, "python"), *blocks(README, "yaml")[1:]):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    lines = commands(README)
    own = lines[lines.index("python train.py") :]
    assert own[-1] == "pytest test_payments.py"
    run_script(own[:-1], workspace)
    monkeypatch.chdir(tmp_path)
    snippet: dict[str, Any] = {}
    exec((tmp_path / "test_payments.py").read_text(), snippet)
    snippet["test_payments"](broker)
