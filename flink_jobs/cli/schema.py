"""`tailrace schema`: the JSON Schema of job files, and a source section by a schema registry."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.errors import InputError
from flink_jobs.run.proposed import Proposed
from flink_jobs.run.registered import newest_at, proposed_fields, proposed_row
from flink_jobs.spec.json_schema import job_schema_text
from flink_jobs.system.addresses import WEB_URL
from flink_jobs.system.certificates import read_pem
from flink_jobs.system.terminal import plain
from udfs.records.registry_params import RegistryParams

schema = typer.Typer(invoke_without_command=True)
_SPOKEN = {"avro": "Avro", "protobuf": "Protobuf", "json_schema": "JSON behind an id"}
PASSWORD, TOKEN = "REGISTRY_PASSWORD", "REGISTRY_TOKEN"


@schema.callback()
def _print(context: typer.Context) -> None:
    """Print the JSON Schema of job files, for editors.

    [bold]schema import[/] writes the source section of a job from a schema registry.

    [bold]Example[/]

      tailrace schema > job.schema.json
    """
    if context.invoked_subcommand is None:
        print(job_schema_text(), end="")


@schema.command("import")
def import_(
    subject: Annotated[str, typer.Argument(help="The subject, mostly the topic with -value.")],
    registry: Annotated[
        str, typer.Option(metavar="URL", help="Confluent's API; of Apicurio, with /apis/ccompat/v7.")
    ],
    topic: Annotated[
        str | None,
        typer.Option(
            help="The topic. Default: the subject without -value, or without the record's name.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(help="The message, of a Protobuf file with several.", show_default=False),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(help=f"User name; the password comes from {PASSWORD}.", show_default=False),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the registry's authority.", show_default=False)
    ] = None,
) -> None:
    """Print the source section of a job file for the newest schema of a subject.

    It may be Avro, Protobuf or JSON Schema. Fields of records below become columns by their path; what cannot
    be a column stands as a comment. A token comes from REGISTRY_TOKEN, if there is one.

    [bold]Example[/]

      tailrace schema import payments-value --registry http://localhost:8081
    """
    if not re.fullmatch(WEB_URL, registry):
        raise InputError(f"--registry must be a URL: http://host:port or https://host/path; got {registry!r}")
    params = RegistryParams(
        registry,
        username,
        _variable(PASSWORD) if username else None,
        None if username else os.environ.get(TOKEN) or None,
        read_pem(ca_file) if ca_file else None,
    )
    found = newest_at(params, subject, record)
    called, name = _named(subject, topic, found.record)
    access = [f"url: {json.dumps(registry)}", *called]
    if record and not any(each.startswith("record:") for each in called):
        access.append(f"record: {json.dumps(record)}")
    if username:
        access += [f"username: {json.dumps(username)}", f'password: "${{{PASSWORD}}}"']
    elif params.token:
        access.append(f'token: "${{{TOKEN}}}"')
    if ca_file:
        access.append(f"ca_file: {json.dumps(str(ca_file))}")
    print(f"# {plain(subject)}, version {found.version}")
    print(f"source:\n  topic: {json.dumps(name)}\n  format: {found.format}")
    print(f"  schema_registry: {{{', '.join(access)}}}")
    print(
        "  # The event time is that of Kafka's record, or event_time: {header: NAME}: "
        f"Flink can't read {_SPOKEN[found.format]}."
    )
    changed = proposed_row(found.schema)
    if changed:
        print("  envelope:\n    kind: debezium\n    fields:")
        for field in changed[0]:
            print(f"      {plain(_line(field))}")
    print("  schema:")
    for field in changed[1] if changed else proposed_fields(found.schema):
        print(f"    {plain(_line(field))}")


def _named(subject: str, topic: str | None, record: str | None) -> tuple[list[str], str]:
    """How the job file says which subject it is, by strategy or by name, and the topic."""
    if record and subject == record:
        if topic is None:
            raise InputError("--topic must be given, as the subject is called as the record is")
        return ["strategy: record", f"record: {json.dumps(record)}"], topic
    if record and subject.endswith(f"-{record}"):
        before = subject.removesuffix(f"-{record}")
        if topic in (None, before):
            return ["strategy: topic_record", f"record: {json.dumps(record)}"], before
    name = topic or subject.removesuffix("-value")
    return [] if subject == f"{name}-value" else [f"subject: {json.dumps(subject)}"], name


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"{name} must be set, as --username is given; got nothing")
    return value


def _line(field: Proposed) -> str:
    kind = json.dumps(field.written) if field.written else field.type
    if kind is None:
        return f"# {field.path or 'The record'}: {field.found}, which cannot be a column"
    path = f", field: {field.path}" if field.name != field.path else ""
    whole = f"{{type: {kind}{', required: true' if field.required else ''}{path}}}"
    line = f"{field.name}: {whole if path or field.required else kind}"
    exact = (field.written or "").startswith("decimal")
    return (
        f"{line}  # exact; to be summed or fed, also a {{type: double, field: {field.path}}}"
        if exact
        else line
    )
