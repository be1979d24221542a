"""`tailrace init`: the first files of a job, from what a model wants and what a topic has."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import structlog
import typer

from flink_jobs.cli.connection import Brokers, environment, kafka_settings, models_place
from flink_jobs.cli.models_shared import open_registry
from flink_jobs.errors import InputError
from flink_jobs.history.expected import fixtures_of
from flink_jobs.kafka import latest_records
from flink_jobs.plan.validate import validated_plan
from flink_jobs.run.registered import newest_at, proposed_fields
from flink_jobs.system.log import configure_logging
from flink_jobs.system.terminal import say
from flink_jobs.training.starter import (
    GuessedField,
    Start,
    golden_records,
    guessed_fields,
    job_file,
    relative_registry,
    trainer_file,
)
from udfs.model.loading import verified_files
from udfs.model.manifest import GOLDEN_FILE
from udfs.records.registry_params import RegistryParams
from udfs.tables import reader_of

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def init(
    name: Annotated[
        str, typer.Argument(help="The job's name; NAME.yaml is written here.", show_default=False)
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="The model.", show_default=False)],
    registry: Annotated[
        str,
        typer.Option(
            "--registry", envvar="TAILRACE_MODELS", callback=models_place, help="Folder or URI of all models."
        ),
    ] = "models",
    topic: Annotated[
        str | None,
        typer.Option(
            help="The source, of which the newest records are looked at. Default: NAME.", show_default=False
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="Take the fields from this subject's schema instead.", show_default=False),
    ] = None,
    schema_registry: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the subject is.", show_default=False)
    ] = None,
    brokers: Brokers = None,
) -> None:
    """Write the first files of a job: NAME.yaml, NAME.test.jsonl, and the model's train.py.

    The fields are those of the topic's newest records, or of a subject, and those that the model wants; what
    looks like the event time is taken for it. The test has golden rows of the model. What is there already is
    left as it is. The job file is checked as [bold]tailrace validate[/] does.

    [bold]Examples[/]

      tailrace init payments --model card_fraud --topic payments

      tailrace init payments --model card_fraud --subject payments-value --schema-registry http://localhost:8081
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"NAME must be lower-case letters, digits, '.', '_' and '-'; got {name!r}")
    if (subject is None) != (schema_registry is None):
        raise InputError("--subject and --schema-registry must be given together")
    configure_logging()
    path = Path(f"{name}.yaml")
    if path.exists():
        raise InputError(f"{path} must not be there yet: init overwrites nothing")
    models = open_registry(registry)
    version = models.resolve(model, "champion").version
    manifest, files = verified_files(models.location(model, version))
    fields, source = _fields(topic, subject, schema_registry, brokers)
    place = relative_registry(registry, Path.cwd())
    start = Start(name, topic or name, model, place, manifest.signature, fields, source)
    _write(path, job_file(start))
    validated_plan(path, environ=environment())
    if source:
        say("no records to test: they would have to be in the format of the topic")
    else:
        golden = pq.read_table(reader_of(files[GOLDEN_FILE]))
        _write(fixtures_of(path), golden_records(start, golden))
    folder = Path(registry, model)
    if "://" not in registry and (text := trainer_file(start, os.path.relpath(path, folder))):
        _write(folder / "train.py", text)


def _fields(
    topic: str | None, subject: str | None, schema_registry: str | None, brokers: str | None
) -> tuple[dict[str, GuessedField], tuple[str, ...]]:
    """The fields, and further lines of the source section."""
    if subject and schema_registry:
        found = newest_at(RegistryParams(schema_registry), subject)
        proposed = [each for each in proposed_fields(found.schema) if each.type]
        fields = {
            each.name: GuessedField(
                each.type, each.required, None, each.path if each.path != each.name else ""
            )
            for each in proposed
            if each.type
        }
        access = f"{{url: {schema_registry}, subject: {subject}}}"
        return fields, (f"  format: {found.format}", f"  schema_registry: {access}")
    if topic is None:
        return {}, ()
    records = latest_records(kafka_settings(brokers), topic, 100)
    if not records:
        structlog.get_logger().warning("no_records", topic=topic)
    return guessed_fields(each.value for each in records if each.value), ()


def _write(path: Path, text: str) -> None:
    if path.exists():
        say(f"{path} is there already, and left")
        return
    path.write_text(text, encoding="utf-8")
    say(f"wrote {path}")
