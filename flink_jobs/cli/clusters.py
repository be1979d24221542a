"""`tailrace jobs`: what runs on a Flink cluster. It is called often, and loads nothing of job files."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Column, Table

from flink_jobs.cli.connection import flink_access
from flink_jobs.errors import WorkError
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.vitals import Vitals, answers_of, vitals
from flink_jobs.system.terminal import literal, open_console, print_json

Address = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Flink's REST address, http://host:port or https://host/path. Default: that of the profile, "
        "TAILRACE_CLUSTER, or a running `tailrace up`.",
        show_default=False,
    ),
]


def jobs(
    cluster: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show jobs that have ended too.")] = False,
) -> None:
    """List the jobs on a Flink cluster, the newest first.

    [bold]waiting[/] are the records that wait, [bold]bad[/] the share of late and dead ones since the last
    restart, [bold]saved[/] the age of the newest checkpoint; [bold]tailrace job[/] tells more.

    [bold]Examples[/]

      tailrace jobs

      tailrace jobs --all --json --cluster http://flink:8081
    """
    asked = cluster_at(cluster)
    known = asked.jobs()
    if os.environ.get("OPENLINEAGE_URL"):
        from flink_jobs.cli.lineage import report_ended  # Start-up: loads pydantic.  # noqa: PLC0415

        report_ended(asked, known)
    found = [(job, _look(asked, job)) for job in known if every or job.state not in ENDED]
    if as_json:
        print_json([_as_json(job, seen) for job, seen in found])
    elif found:
        open_console().print(_table(found, time.time()))
    else:
        print("No jobs." if every else "No running jobs; --all shows those that have ended.")


def cluster_at(given: str | None) -> Cluster:
    """The cluster of --cluster, of the profile, of the environment, or of a running `tailrace up`."""
    return Cluster(flink_access(given))


def _look(cluster: Cluster, job: JobInfo) -> Vitals | None:
    """How a job does, without asking brokers; None where it has ended, or ends meanwhile."""
    if job.state in ENDED:
        return None
    try:
        return vitals(answers_of(cluster, job.id), None, round(time.time() * 1000))
    except WorkError:
        return None


def _as_json(job: JobInfo, seen: Vitals | None) -> dict[str, object]:
    found = {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "started": datetime.fromtimestamp(job.started / 1000, UTC).isoformat(),
        "duration_ms": job.duration,
    }
    return (
        found | {"standing": seen.state, "healthy": seen.healthy, "vitals": asdict(seen)} if seen else found
    )


def _table(found: list[tuple[JobInfo, Vitals | None]], now: float) -> Table:
    """Eight digits of an id are enough for `tailrace stop`; names are folded, never cut. Fits 80 columns."""
    table = Table(Column("name", overflow="fold", min_width=12), box=None, pad_edge=False)
    for column in ("job", "state", "for", "restarts", "waiting", "in/s", "bad", "saved"):
        table.add_column(column, no_wrap=True)
    for job, seen in found:
        since = rough(int(seen.uptime_s)) if seen and seen.uptime_s else rough(job.duration // 1000)
        state = seen.state if seen else job.state.lower()
        table.add_row(literal(job.name), job.id[:8], state, since, *_short(seen, now))
    return table


def _short(seen: Vitals | None, now: float) -> tuple[str, ...]:
    """Restarts, records that wait, records a second, share of dead and late ones, age of the checkpoint."""
    if seen is None:
        return ("",) * 5
    bad = None if seen.dead_share is None else seen.dead_share + (seen.late_share or 0)
    return (
        "–" if seen.restarts is None else str(seen.restarts),
        "–" if seen.pending is None else compact(seen.pending),
        "–" if seen.rate_in is None else compact(round(seen.rate_in)),
        "–" if bad is None else f"{bad:.1%}",
        "–" if seen.checkpoint is None else rough(max(0, int(now - seen.checkpoint.at / 1000))),
    )


def compact(count: int) -> str:
    """A count in few characters.

    >>> compact(950), compact(12_340), compact(5_600_000)
    ('950', '12k', '5600k')
    """
    for limit, unit in ((10_000, ""), (10_000_000, "k"), (10_000_000_000, "M")):
        if count < limit:
            return f"{count / max(1, limit // 10_000):.0f}{unit}"
    return f"{count / 1_000_000_000:.0f}G"


def rough(seconds: int) -> str:
    """A duration in its two largest units."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
