"""The command `tailrace`: one sub-command per thing that a person does.

Exit codes: 0, 1 (the work failed), 2 (the input is wrong), 130 (interrupted). `commands` lists them all.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import metadata
from typing import Annotated

import typer

from flink_jobs.cli.commands import Commands
from flink_jobs.errors import TailraceError
from flink_jobs.system.masks import PROCESS

app = typer.Typer(
    name="tailrace",
    cls=Commands,
    help="Scores Kafka streams with machine-learning models on Apache Flink, from one YAML file per job.",
    epilog="Begin with: tailrace up, tailrace validate JOB.yaml, tailrace run JOB.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def main() -> None:
    """Runs the command line: a user's mistake becomes a message and an exit code, not a traceback."""
    with PROCESS.learning():
        try:
            app()
        except TailraceError as error:
            _show(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            # Whoever asks once more must not get the traceback of an end that is under way.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            print("interrupted", file=sys.stderr)
            sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tailrace {metadata.version('tailrace')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="Where Kafka, Flink and the models are, of conf/profiles.yaml; else TAILRACE_PROFILE.",
            show_default=False,
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    global _debug
    _debug = debug
    if profile:
        os.environ["TAILRACE_PROFILE"] = profile


def _show(error: TailraceError) -> None:
    from rich.text import Text  # noqa: PLC0415  # Start-up: only errors need it

    from flink_jobs.system.terminal import open_console, say  # noqa: PLC0415  # Start-up: only errors need it

    if _debug:
        say(PROCESS.hide("".join(traceback.format_exception(error))).rstrip("\n"), error=True)
    message = Text.assemble(("error: ", "bold red"), PROCESS.hide(str(error)))
    open_console(stderr=True, soft_wrap=True).print(message)
