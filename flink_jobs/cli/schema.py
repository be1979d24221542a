"""`tailrace schema`: the JSON Schema of job files, and a source section by a schema registry."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.errors import InputError
from flink_jobs.run.registered import Proposed, newest_at, proposed_fields
from flink_jobs.spec.json_schema import job_schema_text
from flink_jobs.system.addresses import WEB_URL
from flink_jobs.system.certificates import read_pem
from flink_jobs.system.terminal import plain
from udfs.records.registry_params import RegistryParams

schema = typer.Typer(invoke_without_command=True)
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
        str | None, typer.Option(help="The topic. Default: the subject without -value.", show_default=False)
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(help=f"User name; the password comes from {PASSWORD}.", show_default=False),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the registry's authority.", show_default=False)
    ] = None,
) -> None:
    """Print the source section of a job file for the newest Avro schema of a subject.

    Fields of records below become columns by their path; what cannot be a column stands as a comment. A token
    comes from REGISTRY_TOKEN, if there is one.

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
    found, _ = newest_at(params, subject)
    access = [f"url: {json.dumps(registry)}"]
    if topic and topic != subject.removesuffix("-value"):
        access.append(f"subject: {json.dumps(subject)}")
    if username:
        access += [f"username: {json.dumps(username)}", f'password: "${{{PASSWORD}}}"']
    elif params.token:
        access.append(f'token: "${{{TOKEN}}}"')
    if ca_file:
        access.append(f"ca_file: {json.dumps(str(ca_file))}")
    print(f"# {subject}, version {found.version}")
    print(f"source:\n  topic: {json.dumps(topic or subject.removesuffix('-value'))}\n  format: avro")
    print(f"  schema_registry: {{{', '.join(access)}}}")
    print(
        "  # The event time is that of Kafka's record, or event_time: {header: NAME}: Flink can't read Avro."
    )
    print("  schema:")
    for field in proposed_fields(found.node):
        print(f"    {plain(_line(field))}")


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise InputError(f"{name} must be set, as --username is given; got nothing")
    return value


def _line(field: Proposed) -> str:
    kind = json.dumps(field.written) if field.written else field.type
    if kind is None:
        return f"# {field.path}: {field.found}, which cannot be a column"
    path = f", field: {field.path}" if field.name != field.path else ""
    whole = f"{{type: {kind}{', required: true' if field.required else ''}{path}}}"
    line = f"{field.name}: {whole if path or field.required else kind}"
    exact = (field.written or "").startswith("decimal")
    return (
        f"{line}  # exact; to be summed or fed, also a {{type: double, field: {field.path}}}"
        if exact
        else line
    )
