"""`tailrace migrate`: job files in the words of today."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.connection import environment
from flink_jobs.errors import InputError
from flink_jobs.jobfile import read_job
from flink_jobs.jobfile.migrate import VERSION, migrated, same_data
from flink_jobs.system.terminal import say


def migrate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Job files.", show_default=False)],
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; show what would change, and exit with 1 if anything."),
    ] = False,
) -> None:
    """Rewrite job files for the keys of this version of Tailrace; comments and layout stay.

    A file without [bold]version[/] gets it. Whatever else is wrong with it, [bold]tailrace validate[/] says.

    [bold]Examples[/]

      tailrace migrate job.yaml

      tailrace migrate --check jobs/*.yaml
    """
    changed = 0
    for file in files:
        read_job(file, environment())  # a file that is none, or a project's own mistakes
        before = _text(file)
        after = migrated(before)
        if after == before:
            say(f"{file}: as of version {VERSION}")
            continue
        if not same_data(before, after):
            raise InputError(f"{file}: must be YAML that can be rewritten in place; nothing was written")
        changed += 1
        if check:
            diff = difflib.unified_diff(
                before.splitlines(), after.splitlines(), str(file), str(file), "", "", 1, ""
            )
            say("\n".join(diff))
        else:
            file.write_text(after, encoding="utf-8", newline="")
            say(f"{file}: now of version {VERSION}")
    if check and changed:
        raise typer.Exit(1)


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: must be a readable job file; {error}") from None
