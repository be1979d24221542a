"""README and docs say what is so: their commands and snippets run, their tables are complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.history.expected import fixtures_of, read_fixtures
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.flink_options import PROFILES
from flink_jobs.spec import JobSpec
from flink_jobs.spec.project import Project
from flink_jobs.system.jars import PROJECT
from flink_jobs.testing import Broker
from tests.helpers.pages import (
    DOCS,
    PAGES,
    README,
    Workspace,
    blocks,
    commands,
    flight_files,
    names,
    run_script,
    table,
    workspace,
)
from udfs.model.format_table import FORMATS
from udfs.model.manifest import Manifest
from udfs.records import problems

__all__ = ["flight_files", "workspace"]


# Their commands run in tests of their own.
APART = (
    *("training.md", "backtest.md", "formats.md"),
    *("install.md", "kubernetes.md", "projects.md"),
)


def sections() -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """(heading, documented key to default, properties of the schema) for each table of docs/job-file.md."""
    schema = json.loads((PROJECT / "conf" / "job.schema.json").read_text())
    kinds = {
        "## Top level": None,
        "## `kafka`\n": "Kafka",
        "## `kafka.security`\n": "Security",
        "## `kafka.security.oauth`": "OAuthLogin",
        "## `kafka.security.kerberos`": "KerberosLogin",
        "## `source`\n": "Source",
        "## `source.event_time`": "EventTime",
        "## `source.schema_registry`": "SchemaRegistry",
        "## `source.schema`": "SchemaField",
        "## `source.key`": "RecordKey",
        "## `source.headers`": "HeaderField",
        "## `source.csv`": "Csv",
        "## `source.envelope`": "Envelope",
        "## `features`\n": "Features",
        "## `features.windows`": "Window",
        "## `features.lookups`": "Lookup",
        "## `features.lookups.database`": "Database",
        "## `features.lookups.event_time`": "TableTime",
        "## `model`": "Model",
        "## `predictions`": "Predictions",
        "## `privacy`\n": "Privacy",
        "## `privacy.declassify`": "Declassified",
        "## `drift`\n": "Drift",
        "## `drift.sequential`": "Sequential",
        "## `alerts`\n": "Alerts",
        "## `alerts.webhook`": "Webhook",
        "## `alerts.rules`": "AlertRule",
        "## `shadows`": "Shadows",
        "## `comparisons`\n": "Comparisons",
        "## `comparisons.gate`": "GateRules",
        "## `comparisons.labels`": "Labels",
        "## `comparisons.automatic`": "AutomaticSteps",
        "## `quality`": "Quality",
        "## `lifecycle`\n": "Lifecycle",
        "## `lifecycle.train`\n": "TrainAgain",
        "## `lifecycle.train.drift`": "OnDrift",
        "## `lifecycle.train.quality`": "OnQuality",
        "## `lifecycle.shadow`": "ShadowStage",
        "## `lifecycle.canary`": "CanaryStage",
        "## `lifecycle.freeze`": "Freeze",
        "## `runtime`\n": "Runtime",
        "## `runtime.checkpoint`": "Checkpoint",
    }
    further = {"Accounting", "DeadLetters", "ElementField", "Late", "SelectedColumn", "Unsafe", "Variable"}
    documented = {*filter(None, kinds.values()), *further}
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
    assert formats == {name: (entry.model_file, entry.tolerance) for name, entry in FORMATS.items()}
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


def test_lookups_of_the_docs_are_those_of_a_job(tmp_path: Path) -> None:
    """The adversary is an example that validate refuses, by what it tells without a broker or a database."""
    (tmp_path / "db-ca.pem").write_text("")
    source = "source: {topic: in, schema: {card: string, tailnum: string, account: string}}"
    for block in blocks(DOCS["lookups.md"], "yaml"):
        text = f"job: a\n{source}\nmodel: {{name: m}}\n{block}"
        job = load_job_text(text, "job.yaml", tmp_path, {"DB_PASSWORD": "x"})
        assert job.features.lookups.keys() <= lookups_with_columns(job)


def lookups_with_columns(job: JobSpec) -> set[str]:
    """The lookups of which the job has columns."""
    origins = [column.origin for column in job_columns(job).columns.values()]
    return {origin.split()[1] for origin in origins if origin.startswith("lookup ")}


def test_records_of_the_docs_are_fixtures(tmp_path: Path) -> None:
    path, (lines, tabled) = tmp_path / "payments.test.jsonl", blocks(DOCS["operations.md"], "json")
    path.write_text(lines)
    expected = [each.expect for each in read_fixtures(fixtures_of(tmp_path / "payments.yaml"))]
    assert expected[1:] == [{"dead": "wrong_type"}, {"dead": "not_json"}]
    path.write_text(tabled)
    assert [(each.table, each.expect) for each in read_fixtures(path)] == [
        ("cards", None),
        (None, {"limit": 500}),
    ]


def test_commands_of_the_docs(workspace: Workspace) -> None:
    """All but those of pages that others run: with a broker, a schema registry, or outside of a checkout."""
    pages = [page for name, page in DOCS.items() if name not in APART]
    lines = [line for page in pages for line in commands(page) if " run " not in line]
    assert len(lines) == 21
    output = run_script(lines, workspace)
    assert "conf/flight_delay.yaml: ok (model flight_delay version 1, 16 inputs)" in output
    assert "1 now    promote  always  1 " in output
    assert "flight_delay version 2 (onnx, binary)" in output
    assert "signed by a trusted key" in output
    assert "true up to release 1, " in output


def test_a_project_of_two_jobs(workspace: Workspace) -> None:
    folder, _ = workspace
    page = DOCS["projects.md"]
    (folder / "tailrace.yaml").write_text(blocks(page, "yaml")[0])
    output = run_script(commands(page), workspace)
    assert "conf/flight_delay.yaml: ok (model flight_delay version 1, 16 inputs)" in output
    assert "conf/flight_delay_live.yaml: ok (model flight_delay version" in output
    assert json.loads((folder / "problems.json").read_text())["diagnostics"] == []
    assert (folder / "conf" / "flight_delay.yaml").read_text().count("version: 1\n") == 1
    keys = [names(row[0])[0] for row in table(page, "| key")]
    assert keys == list(Project.model_fields)


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
