"""From a subject of a registry to a job file that validates, by the commands of docs/formats.md.

The adversary is a producer whose schema loses a field that the job names, before the job starts.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError, JobFileError, WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.system.jars import PROJECT
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry

DOCS = (PROJECT / "docs" / "formats.md").read_text()
USER = {
    "type": "record",
    "name": "User",
    "fields": [
        {"name": "country", "type": ["null", "string"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
FEE = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "amount", "type": ["null", "double"]},
    {"name": "fee", "type": ["null", FEE]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "user", "type": ["null", USER]},
    {"name": "_x", "type": "int"},
]
SCHEMA = {"type": "record", "name": "Payment", "fields": FIELDS}
REST = "job: paid\nmodel: {name: m, registry: models, inputs: {x: amount}}\n"
IMPORTED = """\
# payments-value, version 1
source:
  topic: "payments"
  format: avro
  schema_registry: {url: "URL"}
  # The event time is that of Kafka's record, or event_time: {header: NAME}: Flink can't read Avro.
  schema:
    id: {type: long, required: true}
    amount: double
    fee: "decimal(9, 2)"  # exact; to be summed or fed, also a {type: double, field: fee}
    at: {type: string, required: true}
    user_country: {type: string, field: user.country}
    user_tags: {type: "list<string>", field: user.tags}
    x: {type: long, required: true, field: _x}
"""


def documented(registry: Registry) -> list[list[str]]:
    """The commands of the page, after `tailrace`, for this registry."""
    commands = re.findall(r"(?m)^\$ tailrace (.*)$", DOCS)
    return [
        command.replace("http://localhost:8081", registry.url).split(" > ")[0].split() for command in commands
    ]


def test_a_job_file_is_made_of_a_subject_and_checked_against_it(
    registry: Registry, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models", "m", "x")
    producer.write("payments-value", SCHEMA, [])
    imported, validated = documented(registry)
    made = CliRunner().invoke(app, imported, catch_exceptions=False)
    assert made.output == IMPORTED.replace("URL", registry.url)
    required = made.output.replace("amount: double", "amount: {type: double, required: true}")
    (tmp_path / "payments.yaml").write_text(required + REST)
    found = CliRunner().invoke(app, validated, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "payments-value version 1, compatibility NONE" in found.output

    without = {**SCHEMA, "fields": [FIELDS[0], {"name": "amount", "type": "string"}, *FIELDS[2:5]]}
    producer.write("payments-value", without, [])
    refused = CliRunner().invoke(app, [*validated, "--json"], catch_exceptions=False)
    assert refused.exit_code == 2
    assert "payments.yaml" in refused.output
    for part in ("source.schema.amount.type", "the writer has string", "source.schema.x", "$._x"):
        assert part in refused.output, part


def test_what_the_registry_does_not_have_is_told(registry: Registry) -> None:
    for arguments, error, message in (
        (["nobody", "--registry", registry.url], InputError, "no such schema"),
        (["nobody", "--registry", "localhost"], InputError, "must be a URL"),
        (["nobody", "--registry", "http://127.0.0.1:1"], WorkError, "does not answer"),
        (
            ["nobody", "--registry", registry.url, "--username", "me"],
            InputError,
            "REGISTRY_PASSWORD must be set",
        ),
    ):
        with pytest.raises(error, match=message):
            CliRunner().invoke(app, ["schema", "import", *arguments], catch_exceptions=False)


def test_the_source_section_of_the_page_is_one(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    nested, beside, changes, events, section, message, lines, predictions = blocks
    for block in (
        beside,
        changes,
        events,
        message,
        lines,
        beside + predictions.replace("[city]", "[tenant]"),
    ):
        assert load_job_text(block + REST, "job.yaml", tmp_path, {}).source.columns
    job = load_job_text(section + REST, "job.yaml", tmp_path, {"REGISTRY_PASSWORD": "secret-one"})
    assert job.source.fields["country"].field == "user.address.country"
    assert (
        load_job_text(nested + REST.replace("amount", "at"), "job.yaml", tmp_path, {}).source.event_time.field
        == "at"
    )
    with pytest.raises(JobFileError, match=r"schema_registry\.password"):
        load_job_text(section.replace("${REGISTRY_PASSWORD}", "abc") + REST, "job.yaml", tmp_path, {})
