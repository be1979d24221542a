"""`tailrace jars`: the jars of the Kafka connector, of the local broker and of its schema registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.errors import WorkError
from flink_jobs.system.fetch_jars import REPOSITORY_VARIABLE, fetch, wanted, wrong_jars
from flink_jobs.system.fetch_registry import fetch_registry
from flink_jobs.system.jars import jar_folder
from flink_jobs.system.terminal import open_console, say

jars = typer.Typer(no_args_is_help=True, help="Fetch and verify the jars that come with no Python package.")
Into = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="FOLDER",
        help="Where they are. Default: TAILRACE_JARS, else the user's cache.",
        show_default=False,
        file_okay=False,
    ),
]


@jars.command("fetch")
def _fetch(
    repository: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=REPOSITORY_VARIABLE,
            help="A Maven repository to fetch from without Maven, be it a mirror of your own.",
            show_default=False,
        ),
    ] = None,
    into: Into = None,
    schema_registry: Annotated[
        bool,
        typer.Option(
            "--schema-registry",
            help="Fetch the registry of [bold]tailrace up --schema-registry[/] too, 110 MB.",
        ),
    ] = False,
) -> None:
    """Fetch the jars, 50 MB, with Maven or from a repository, and check each against its SHA-256.

    [bold]Examples[/]

      tailrace jars fetch

      tailrace jars fetch --repository https://repository.example.org/maven

      tailrace jars fetch --schema-registry
    """
    folder = into or jar_folder()
    with open_console(stderr=True).status("fetching jars"):
        fetched = fetch(folder, repository)
    say(f"{'Fetched' if fetched else 'Already there'}: {folder}")
    if schema_registry:
        with open_console(stderr=True).status("fetching the schema registry"):
            fetched = fetch_registry(folder, repository)
        say(f"{'Fetched' if fetched else 'Already there'}: {folder / 'registry'}")


@jars.command("verify")
def _verify(into: Into = None) -> None:
    """Check that the folder has just the jars of this version of Tailrace.

    [bold]Examples[/]

      tailrace jars verify
    """
    folder, listed = into or jar_folder(), wanted()
    if wrong := wrong_jars(folder, listed):
        raise WorkError("\n".join([f"{folder} is not as it must be; run `tailrace jars fetch`:", *wrong]))
    say(f"{len(listed)} jars are right: {folder}")
