"""`tailrace package`: the environment of the workers as an archive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.run.environment import pack_environment
from flink_jobs.system.terminal import open_console, say


def package(
    folder: Annotated[
        Path, typer.Argument(help="Where the archive is written.", show_default=False, file_okay=False)
    ],
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment", metavar="FOLDER", help="The environment. Default: this one.", show_default=False
        ),
    ] = None,
    python_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the workers' machines have Python: /usr/local of /usr/local/bin/python3.11.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Pack a virtual environment for workers that have none; prints what the job file says then.

    The archive goes where all machines of the cluster read, such as a bucket. They need the same version of
    Python, without packages.

    [bold]Examples[/]

      tailrace package dist --python-prefix /usr/local
    """
    with open_console(stderr=True).status("packing"):
        archive = pack_environment(environment or Path(sys.prefix), folder, python_prefix)
    say(str(archive))
    say(
        "After copying it to a place that all machines read:\n\n"
        "runtime:\n"
        "  python: environment/bin/python\n"
        f'  flink: {{python.archives: "s3://bucket/{archive.name}#environment"}}',
        error=True,
    )
