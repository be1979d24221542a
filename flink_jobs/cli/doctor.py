"""`tailrace doctor`: what is missing, here and around, before something fails for want of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.clusters import Address
from flink_jobs.cli.connection import (
    Brokers,
    Job,
    environment,
    flink_access,
    kafka_settings,
    models_place,
)
from flink_jobs.errors import TailraceError
from flink_jobs.jobfile import load_job
from flink_jobs.run import doctor as checks
from flink_jobs.run.doctor import Finding
from flink_jobs.system.terminal import print_json, say


def doctor(
    job: Job = None,
    brokers: Brokers = None,
    cluster: Address = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            callback=models_place,
            envvar="TAILRACE_MODELS",
            help="The registry of models, a folder or URI.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look at what Tailrace needs, here and around: a line each, with the fix where something is wrong.

    Python, packages, Java, jars, clocks, disk and rights; broker, models and cluster where they are named.
    With [bold]--job[/] also what that job may do at its brokers. Starts and changes nothing. Exits with 1
    when something is wrong.

    [bold]Examples[/]

      tailrace doctor

      tailrace --profile prod doctor --job conf/flight_delay.yaml --json
    """
    found = [*checks.on_this_machine(Path.cwd()), *_around(job, brokers, cluster, registry)]
    if as_json:
        print_json([each.as_data() for each in found])
    else:
        for each in found:
            say(_line(each))
    if any(each.status == "wrong" for each in found):
        raise typer.Exit(1)


def _around(
    job: Path | None, brokers: str | None, cluster: str | None, registry: str | None
) -> Iterator[Finding]:
    """What is named by an option, a profile or the environment."""
    environ = environment()
    profile = bool(environ.get("TAILRACE_PROFILE") or environ.get("TAILRACE_PROFILES"))
    named = bool(job or brokers or environ.get("TAILRACE_BROKERS") or profile)
    try:
        yield checks.broker(kafka_settings(brokers, job), named)
        if job:
            yield checks.broker_rights(load_job(job, environ))
    except TailraceError as error:
        yield Finding("broker", "wrong", str(error), "docs/connections.md")
    yield checks.models(registry or "models", registry is not None)
    try:
        access = flink_access(cluster)
    except TailraceError as error:
        asked = bool(cluster or os.environ.get("TAILRACE_CLUSTER"))
        yield Finding("cluster", "wrong" if asked else "not asked", str(error))
    else:
        yield from checks.cluster(access)


def _line(finding: Finding) -> str:
    fix = f"; fix: {finding.fix}" if finding.fix and finding.status != "ok" else ""
    found = " ".join(finding.found.split())
    return f"{finding.status:<9}  {finding.name:<12}  {found}{fix}"
