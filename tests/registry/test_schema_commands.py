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
from tests.helpers.protobuf_records import PAYMENT
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import SchemaRegistry

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
    assert "payments-value version 1, compatibility NONE, by which a next version may" in found.output
    assert "is required here: id, amount, at, x" in " ".join(found.output.split())

    without = {**SCHEMA, "fields": [FIELDS[0], {"name": "amount", "type": "string"}, *FIELDS[2:5]]}
    producer.write("payments-value", without, [])
    refused = CliRunner().invoke(app, [*validated, "--json"], catch_exceptions=False)
    assert refused.exit_code == 2
    assert "payments.yaml" in refused.output
    for part in ("source.schema.amount.type", "the writer has string", "source.schema.x", "$._x"):
        assert part in refused.output, part


DRAFT = "http://json-schema.org/draft-07/schema#"
DOCUMENT = {
    "$schema": DRAFT,
    "title": "shop.Order",
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "amount": {"type": ["number", "null"]}},
}
# By format and strategy: schema, record, message, subject, what is imported, and what validate says where
# amount is a boolean in the job.
REGISTERED = {
    ("protobuf", "record"): (
        PAYMENT,
        {"id": "7", "amount": 2.5},
        "shop.Payment",
        "shop.Payment",
        "    amount: double\n    user_country: {type: string, field: user.country}\n",
        "the writer has double",
    ),
    ("json_schema", "topic_record"): (
        DOCUMENT,
        {"id": 7, "amount": 2.5},
        "",
        "orders-shop.Order",
        "    id: {type: long, required: true}\n    amount: double\n",
        "it has null or number",
    ),
    ("protobuf", "topic"): (
        PAYMENT,
        {"id": "7"},
        "shop.Payment",
        "bills-value",
        '    tags: {type: "list<string>", required: true}\n',
        "the writer has double",
    ),
}
KINDS = {"protobuf": "PROTOBUF", "json_schema": "JSON"}


@pytest.mark.parametrize(("written_as", "strategy"), REGISTERED)
def test_other_formats_and_strategies_are_imported_and_checked(
    written_as: str,
    strategy: str,
    registry: Registry,
    producer: Producer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models", "m", "x")
    schema, row, message, subject, lines, told = REGISTERED[written_as, strategy]
    topic = "bills" if strategy == "topic" else "orders"
    producer.write(f"{topic}-value", schema, [row], (), KINDS[written_as], message, strategy)
    asked = ["schema", "import", subject, "--registry", registry.url]
    asked += ["--topic", topic] if strategy == "record" else []
    asked += ["--record", message] if message else []
    made = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert made.exit_code == 0, made.output
    assert lines in made.output
    assert (f"strategy: {strategy}, record: " in made.output) == (strategy != "topic")
    text = made.output.replace("amount: double", "amount: {type: double, required: true}") + REST
    Path("job.yaml").write_text(text)
    source = load_job_text(text, "job.yaml", tmp_path).source
    assert (source.topic, source.format, source.subject) == (topic, written_as, subject)
    validated = ["validate", "--registry", "job.yaml"]
    found = CliRunner().invoke(app, validated, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert f"{subject} version 1, compatibility NONE" in " ".join(found.output.split())

    Path("job.yaml").write_text(text.replace("amount: {type: double", "amount: {type: boolean"))
    found = CliRunner().invoke(app, [*validated, "--json"], catch_exceptions=False)
    assert found.exit_code == 2
    assert "source.schema.amount.type" in found.output
    assert told in found.output
    Path("job.yaml").write_text(text.replace(f"format: {written_as}", "format: avro"))
    found = CliRunner().invoke(app, validated, catch_exceptions=False)
    assert found.exit_code == 2
    assert f"source.format: must be {written_as}, as the registry has" in " ".join(found.output.split())


KEYED = """\
  key: {format: avro, fields: {card: {type: string, required: true, field: FIELD}}}
"""


def test_keys_are_checked_by_their_own_subject_and_what_is_not_there_is_told_with_its_line(
    registry: Registry, producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models", "m", "x")
    producer.write("keyed-value", SCHEMA, [])
    imported = ["schema", "import", "keyed-value", "--registry", registry.url]
    made = CliRunner().invoke(app, imported, catch_exceptions=False).output
    text = made.replace("amount: double", "amount: {type: double, required: true}")

    def validated(field: str) -> str:
        Path("job.yaml").write_text(text + KEYED.replace("FIELD", field) + REST)
        found = CliRunner().invoke(app, ["validate", "--registry", "job.yaml"], catch_exceptions=False)
        return " ".join(found.output.split())

    line = next(n for n, each in enumerate(text.splitlines(), 1) if "schema_registry" in each)
    at = f"job.yaml:{len(text.splitlines()) + 1}:9: source.key.format"
    assert f"{at}: must be one of the registry; got 'keyed-key'" in validated("id")
    key = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "string"}]}
    producer.write("keyed-key", key, [])
    assert "keyed-key version 1, compatibility NONE" in validated("id")
    assert "source.key.fields.card: must be a field of the Avro schema (id); got $.ids" in validated("ids")
    text = text.replace("{url:", "{subject: nowhere-value, url:")
    told = f"job.yaml:{line}:21: source.schema_registry.subject: must be one of the registry; got"
    assert f"{told} 'nowhere-value': the registry has no such schema" in validated("id")


def test_schemas_of_protobuf_as_text_are_refused_with_the_way_out(registry: Registry) -> None:
    text = 'syntax = "proto3"; package shop; message Sale { int64 id = 1; }'
    SchemaRegistry(RegistryParams(registry.url)).register("texts-value", text, "PROTOBUF")
    with pytest.raises(InputError, match=r"as text only: give schema_file, and framing: confluent"):
        CliRunner().invoke(
            app, ["schema", "import", "texts-value", "--registry", registry.url], catch_exceptions=False
        )


def test_which_message_of_several_must_be_said(registry: Registry, producer: Producer) -> None:
    producer.write("several-value", PAYMENT, [{"id": "1"}], (), "PROTOBUF", "shop.Payment")
    asked = ["schema", "import", "several-value", "--registry", registry.url]
    for more in ([], ["--record", "shop.Paid"]):
        with pytest.raises(InputError, match=r"messages of 'several-value' \(shop\.Other, shop\.Payment,"):
            CliRunner().invoke(app, [*asked, *more], catch_exceptions=False)


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
