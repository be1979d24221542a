"""`tailrace quality`: what the quality topic says, as a table or JSON lines."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from flink_jobs.cli.connection import Brokers, Job, kafka_settings
from flink_jobs.errors import InputError
from flink_jobs.reports.quality.reader import read
from flink_jobs.reports.quality.summary import grouped, of_segment
from flink_jobs.reports.quality.table import print_report
from flink_jobs.system.terminal import json_line, open_console, plain


def quality(
    source: Annotated[
        str, typer.Argument(metavar="QUALITY", help="Quality topic, or a file of its records (JSON lines).")
    ],
    segment: Annotated[
        str | None, typer.Option(help="Only the segment of this value.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="So many windows, the newest.")] = 14,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the newest revision of each window as JSON lines.")
    ] = False,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Show how right the model is, with labels and without, window after window.

    [bold]Examples[/]

      tailrace quality flight-delay.quality

      tailrace quality flight-delay.quality --segment EWR --last 30
    """
    records = read(source, kafka_settings(brokers, job))
    if not records:
        raise InputError(f"{source} must hold quality records; got none (are the windows still open?)")
    if segment is not None:
        values = sorted({str(r.segment.value) for r in records if r.segment})
        records = of_segment(records, segment)
        if not records:
            known = ", ".join(map(plain, values)) or "none"
            raise InputError(f"--segment must be a segment of {source} ({known}); got {plain(segment)!r}")
    if as_json:
        for record in records:
            print(json_line(msgspec.json.encode(record).decode()))
    else:
        print_report(open_console(), grouped(records), last)
