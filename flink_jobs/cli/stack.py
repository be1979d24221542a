"""`tailrace up`, `down`, `status`: the local broker and cluster for a day's work."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flink_jobs.cli.connection import token_url_of_profile
from flink_jobs.errors import InputError, TailraceError
from flink_jobs.local import stack
from flink_jobs.local.stack import Health
from flink_jobs.local.state import Stack, load
from flink_jobs.run.retained import lost_jobs
from flink_jobs.run.tokens import java_option
from flink_jobs.system.addresses import WEB_URL
from flink_jobs.system.terminal import open_console

Directory = Annotated[
    Path, typer.Option("--dir", help="Where the stack keeps its state, data and logs.", file_okay=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def up(
    kafka_port: Annotated[int, typer.Option(help="Port of the Kafka broker.")] = 9092,
    flink_port: Annotated[int, typer.Option(help="Port of Flink's REST interface and web page.")] = 8081,
    slots: Annotated[int, typer.Option(min=1, max=256, help="Parallel task slots.")] = 4,
    memory: Annotated[str, typer.Option(help="Memory of the TaskManager with its Python workers.")] = "3g",
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Publish metrics for Prometheus on this port and the next.", show_default=False),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send metrics to this OpenTelemetry collector, as http://localhost:4318/v1/metrics.",
            show_default=False,
        ),
    ] = None,
    schema_registry: Annotated[
        bool,
        typer.Option(
            "--schema-registry",
            help="Start a schema registry too; [bold]tailrace jars fetch --schema-registry[/] gets it.",
        ),
    ] = False,
    registry_port: Annotated[int, typer.Option(help="Port of the schema registry.")] = 8082,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Go on with the jobs that ran on a JobManager that has died."
        ),
    ] = True,
    directory: Directory = Path(".tailrace"),
) -> None:
    """Start a Kafka broker and a Flink cluster on this machine, and leave them running.

    They listen on 127.0.0.1 only, but for metrics, which Flink publishes on all interfaces. Data in topics
    and schemas survive [bold]tailrace down[/] and the next [bold]up[/]. What died is started again, and the
    rest left running; the jobs of a JobManager that died go on from their newest checkpoints.

    [bold]Examples[/]

      tailrace up

      tailrace up --kafka-port 19092 --flink-port 18081 --slots 2

      tailrace up --metrics-port 9249

      tailrace up --schema-registry
    """
    console = open_console()
    lost = _lost(directory)
    if otlp and not re.fullmatch(WEB_URL, otlp):
        raise InputError(f"--otlp must be http://host:port/path or https://host/path; got {otlp!r}")
    registry = registry_port if schema_registry else None
    options = stack.Options(
        kafka_port, flink_port, slots, memory, metrics_port, _java_options(), otlp, registry
    )
    with console.status("starting") as line:
        found, started = stack.up(directory, options, report=line.update)
    console.print(_what_was_done(found, started), style="green")
    _print_addresses(console, found)
    for name in lost:
        _bring_back(console, name, found.flink_url, resume=resume)


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Delete topics, checkpoints and logs too.")] = False,
    directory: Directory = Path(".tailrace"),
) -> None:
    """Stop what tailrace up started, and nothing else.

    [bold]Examples[/]

      tailrace down

      tailrace down --purge
    """
    console = open_console()
    with console.status("stopping"):
        stopped = stack.down(directory, purge=purge)
    console.print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    if purge:
        console.print("Deleted its data.")


def status(json_output: Json = False, directory: Directory = Path(".tailrace")) -> None:
    """Show what tailrace up started and whether it answers.

    Exits with 1 when something that should run does not.

    [bold]Examples[/]

      tailrace status

      tailrace status --json
    """
    found = load(directory)
    report = stack.health(found) if found else []
    if json_output:
        print(json.dumps(_as_json(found, report), indent=2))
    elif found:
        open_console().print(_table(report))
    else:
        open_console().print("Nothing is running here; [bold]tailrace up[/] starts it.")
    if not all(entry.healthy for entry in report):
        raise typer.Exit(1)


def _java_options() -> str:
    """What Flink needs to ask the token server of the profile."""
    url = token_url_of_profile()
    return java_option(url) if url else ""


def _what_was_done(found: Stack, started: Sequence[str]) -> str:
    if not started:
        return "Already running."
    whole = len(started) == len(found.services)
    return "Started." if whole else f"Started {', '.join(started)}; the rest ran on."


def _lost(directory: Path) -> list[str]:
    """The jobs that a JobManager has forgotten because it died; their checkpoints stay."""
    before = load(directory)
    services = before.services if before else ()
    died = any(each.name == "jobmanager" and not each.process.alive() for each in services)
    return lost_jobs(directory / "flink") if died else []


def _bring_back(console: Console, name: str, cluster: str, *, resume: bool) -> None:
    if resume:
        from flink_jobs.cli import again  # Start-up: brings all that plans a job.  # noqa: PLC0415

        console.print(f"{name} ran when the JobManager died; it goes on", markup=False)
        try:
            again.resume(name, cluster=cluster)
        except TailraceError as error:
            console.print(f"{name} does not go on: {error}", style="red", markup=False)
        else:
            return
    console.print(f"{name} left its state here; to go on: tailrace resume {name}", markup=False)


def _print_addresses(console: Console, found: Stack) -> None:
    console.print(f"Kafka  {found.brokers}", markup=False)
    console.print(f"Flink  {found.flink_url}", markup=False)
    if found.schema_registry:
        console.print(f"Schema registry  {found.schema_registry}", markup=False)
    if found.metrics:
        console.print(f"Metrics  {'  '.join(found.metrics)}", markup=False)


def _table(report: list[Health]) -> Table:
    table = Table("service", "pid", "address", "state")
    table.add_column("log", overflow="fold")
    for entry in report:
        service = entry.service
        table.add_row(service.name, str(service.process.pid), service.address, _state(entry), service.log)
    return table


def _state(entry: Health) -> str:
    if entry.healthy:
        return "[green]healthy[/]"
    return "[yellow]does not answer[/]" if entry.alive else "[red]dead[/]"


def _as_json(found: Stack | None, report: list[Health]) -> dict[str, object]:
    services = [
        {
            "name": entry.service.name,
            "pid": entry.service.process.pid,
            "address": entry.service.address,
            "log": entry.service.log,
            "alive": entry.alive,
            "healthy": entry.healthy,
        }
        for entry in report
    ]
    return {
        "running": bool(report),
        "brokers": found.brokers if found else None,
        "flink_url": found.flink_url if found else None,
        "metrics": list(found.metrics) if found else [],
        "schema_registry": found.schema_registry if found else None,
        "services": services,
    }
