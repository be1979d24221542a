"""`tailrace backtest`: two model versions on the same history, by the same job file."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import PydanticCustomError

from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.page import render
from flink_jobs.backtest.records import Backtest, encode
from flink_jobs.backtest.run import Request
from flink_jobs.backtest.run import backtest as run
from flink_jobs.backtest.table import print_report
from flink_jobs.cli.connection import environment
from flink_jobs.cli.progress import Progress
from flink_jobs.cli.run import show_traceback
from flink_jobs.errors import InputError, JobFailedError
from flink_jobs.jobfile import load_job
from flink_jobs.spec import JobSpec
from flink_jobs.spec.scalars import parse_duration
from flink_jobs.system.log import configure_logging
from flink_jobs.system.terminal import open_console


def backtest(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file.", show_default=False)],
    file: Annotated[
        Path,
        typer.Option(
            "--input",
            help="Records of the past: Parquet (a column per schema field, or a binary column value) or "
            "JSON lines, in the order in which they came.",
            show_default=False,
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            help="Twice, for A and B: a version, champion, latest, or MODEL:VERSION.", show_default=False
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(help="Column of the input (or of --labels) that was true.", show_default=False),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE:KEY", help="Parquet file of labels by a key column.", show_default=False),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Of a lookup whose table is a topic: its changes, Parquet or JSON lines.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column to compare segments by.", show_default=False)] = None,
    window: Annotated[str, typer.Option(help="Length of the windows over time.")] = "7d",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Only the first rows.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws behind the intervals.")] = 0,
    json: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write all of it as JSON.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write one page for a browser.", show_default=False)
    ] = None,
) -> None:
    """Compare two model versions on history, before one is released.

    Runs the job file once for each version, on Flink, with a Kafka broker of its own: windows, lookups and
    late records are as they would have been live. Needs no labels, but says which version is better only
    with them.

    [bold]Examples[/]

      tailrace backtest job.yaml --input july.parquet --model champion --model latest --label late

      tailrace backtest job.yaml --input july.parquet --model 3 --model 4 --labels landed.parquet:flight_id
      --by origin --html backtest.html
    """
    if len(model) != 2:
        raise InputError(f"--model must be given twice, for A and for B; got {len(model)}")
    for path in (json, html):
        _check_folder(path)
    request = _request(file, model, label, labels, by, window, limit, seed, _tables(table or ()))
    found = _run(load_job(job, environment()), request)
    if json:
        _write(json, encode(found))
    if html:
        _write(html, render(found).encode())
    chosen = sys.stdout.isatty() or "COLUMNS" in os.environ
    print_report(open_console(width=None if chosen else 150), found)


def _request(
    file: Path,
    model: list[str],
    label: str | None,
    labels: str | None,
    by: str | None,
    window: str,
    limit: int | None,
    seed: int,
    tables: Mapping[str, Path],
) -> Request:
    keyed = None
    if labels is not None:
        path, _, key = labels.rpartition(":")
        if not path or not key:
            raise InputError(f"--labels must be FILE:KEY, such as landed.parquet:flight_id; got {labels!r}")
        keyed = (Path(path), key)
    first, second = model
    return Request(file, first, second, label, keyed, by, _window_ms(window), limit, Draws(seed=seed), tables)


def _tables(given: Sequence[str]) -> dict[str, Path]:
    """Lookup to file."""
    found = {}
    for each in given:
        name, sign, file = each.partition("=")
        if not name or not sign or not file:
            raise InputError(f"--table must be NAME=FILE, such as cards=cards.parquet; got {each!r}")
        found[name] = Path(file)
    return found


def _window_ms(window: str) -> int:
    try:
        return parse_duration(window, minimum=1000)
    except PydanticCustomError:
        raise InputError(
            f"--window must be a duration such as 6h, 1d or 7d, from 1s; got {window!r}"
        ) from None


def _run(job: JobSpec, request: Request) -> Backtest:
    configure_logging()
    console = open_console(stderr=True, soft_wrap=True)
    unit = "windows" if job.score == "per_window" else "records"
    step = ""

    with Progress(console, unit) as line:

        def note(text: str) -> None:
            nonlocal step
            step = text
            line.say(text)
            if not console.is_terminal:
                console.print(text, markup=False)

        def show(counts: Counter[str]) -> None:
            if console.is_terminal:
                line.say(f"{step}: predicted {counts['predicted']:,}")

        try:
            return run(job, request, note, show)
        except JobFailedError as error:
            show_traceback(error)
            raise


def _check_folder(path: Path | None) -> None:
    """Rather at once than after all the work."""
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.absolute().parent}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    print(f"wrote {path}", file=sys.stderr)
