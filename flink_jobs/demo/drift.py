"""What the demo says of drift: a table, a page to look at, and whether the windows' counts add up."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flink_jobs.demo.summary import JobOutcomes
from flink_jobs.kafka import ClientSettings
from flink_jobs.reports.drift.page import render
from flink_jobs.reports.drift.reader import DriftHistory, read
from flink_jobs.reports.drift.series import grouped
from flink_jobs.reports.drift.table import print_report
from flink_jobs.spec import JobSpec
from udfs.times import iso, now_ms


def read_reports(settings: ClientSettings, job: JobSpec) -> DriftHistory:
    """All committed drift and alert records."""
    assert job.drift is not None
    assert job.alerts is not None
    found = read(job.drift.topic, settings)
    found.alerts += read(job.alerts.topic, settings).alerts
    return found


def show_drift(console: Console, found: DriftHistory, outcomes: JobOutcomes, page: Path) -> bool:
    """Prints the table and writes the page; True if the windows hold each record once."""
    groups = grouped(found.drift)
    console.print()
    print_report(Console(highlight=False, width=110), groups, found.alerts)
    page.write_text(render(groups, found.alerts, made=iso(now_ms())), encoding="utf-8")
    console.print(f"\nMore of it: {page}")
    every = [record.records for record in found.drift if record.segment is None]
    counted = tuple(sum(getattr(r, kind) for r in every) for kind in ("predicted", "dead", "late"))
    right = (len(outcomes.predictions), len(outcomes.dead), len(outcomes.late))
    if counted != right:
        console.print(f"[red]wrong:[/] windows hold {counted} predicted, dead and late records, not {right}")
    return counted == right
