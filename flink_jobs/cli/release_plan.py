"""`tailrace release plan`: how many labels, and how long, until the gate knows."""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.connection import Brokers, Job, kafka_settings
from flink_jobs.cli.release_options import parse_part
from flink_jobs.errors import InputError
from flink_jobs.reports.comparisons import read_comparisons
from flink_jobs.reports.sample_size import measured, plan_report
from flink_jobs.system.terminal import open_console
from udfs.rollout.gate import Automatic, Gate


def plan(
    source: Annotated[
        str,
        typer.Argument(
            metavar="COMPARISONS", help="Comparisons topic, or a file of its records (JSON lines)."
        ),
    ],
    detect: Annotated[
        str, typer.Option(help="Part of the champion's loss to be shown, as comparisons.gate.quality.")
    ] = "5%",
    confidence: Annotated[str, typer.Option(help="As comparisons.gate.confidence.")] = "99%",
    power: Annotated[str, typer.Option(help="Share of equal versions that it is shown of by then.")] = "90%",
    labels: Annotated[int, typer.Option(min=2, help="As comparisons.gate.labels.")] = 500,
    rate: Annotated[
        float | None, typer.Option(help="Records a second; default: as measured.", show_default=False)
    ] = None,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Say how many labels and records, and how long, it takes to show that a version is no worse.

    [bold]Examples[/]

      tailrace release plan flight-delay.comparisons --detect 2%

      tailrace release plan flight-delay.comparisons --rate 500
    """
    if rate is not None and rate <= 0:
        raise InputError(f"--rate must be above 0; got {rate:g}")
    gate = Gate(
        quality=parse_part(detect, "--detect", 1e-4, 1.0),
        confidence=parse_part(confidence, "--confidence", 0.5, 0.9999),
        labels=labels,
    )
    records = read_comparisons(source, kafka_settings(brokers, job))
    if not records:
        raise InputError(f"{source} holds no comparisons yet; a window of the job must close first")
    found = measured(records, rate)
    console = open_console()
    for part in plan_report(found, gate, Automatic(), parse_part(power, "--power", 0.5, 0.9999)):
        console.print(part)
