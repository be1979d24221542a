"""`tailrace jobs` and `stop`: what runs on a Flink cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import structlog
import typer
from rich.table import Column, Table

from flink_jobs.cli.connection import flink_access
from flink_jobs.errors import InputError, WorkError
from flink_jobs.plan.state import PARAMETER
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.savepoints import leave_state, parse_parameter, savepoint_uri
from flink_jobs.system.processes import wait_until
from flink_jobs.system.terminal import literal, open_console, say

POLL_SECONDS = 0.5
_SAVEPOINT_DIR = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")

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

    [bold]Examples[/]

      tailrace jobs

      tailrace jobs --all --json --cluster http://flink:8081
    """
    found = [job for job in cluster_at(cluster).jobs() if every or job.state not in ENDED]
    if as_json:
        print(json.dumps([_as_json(job) for job in found], indent=2))
    elif found:
        open_console().print(_table(found))
    else:
        print("No jobs." if every else "No running jobs; --all shows those that have ended.")


def stop(
    job: Annotated[str, typer.Argument(help="Id, beginning of an id, or name.", show_default=False)],
    savepoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder or URI for the savepoint that the cluster reaches. Default: the cluster's own.",
            show_default=False,
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End at once, without a savepoint to go on from.")
    ] = False,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain", help="Take windows for complete first, so that no record waits in the savepoint."
        ),
    ] = False,
    cluster: Address = None,
) -> None:
    """Stop a job with a savepoint, whose path is printed; tailrace submit --savepoint goes on from it.

    [bold]Examples[/]

      tailrace stop flight-delay

      tailrace stop 1f2e --savepoint s3://bucket/savepoints

      tailrace stop flight-delay --cancel
    """
    if cancel and (savepoint or drain):
        raise InputError(f"only one of --{'savepoint' if savepoint else 'drain'} and --cancel can be given")
    found = cluster_at(cluster)
    target = found.find(job)
    _require_running(target)
    if cancel:
        found.cancel(target.id)
        await_state(found, target.id)
        print(f"cancelled {target.id}")
    else:
        state = parse_parameter(found.parameters(target.id).get(PARAMETER))
        taken = found.stop(target.id, _savepoint_directory(found, savepoint), drain=drain)
        say(taken)
        if state and not leave_state(savepoint_uri(taken), msgspec.structs.replace(state, drained=drain)):
            why = "plan --savepoint will know nothing of it, as its account cannot be written from here"
            structlog.get_logger().warning("savepoint_without_account", savepoint=taken, reason=why)


def cluster_at(given: str | None) -> Cluster:
    """The cluster of --cluster, of the profile, of the environment, or of a running `tailrace up`."""
    return Cluster(flink_access(given))


def _savepoint_directory(cluster: Cluster, given: str | None) -> str | None:
    """The directory as a URI; None is the cluster's own, if it has one."""
    if given is not None:
        return savepoint_uri(given)
    settings = cluster.settings()
    if not any(settings.get(key) for key in _SAVEPOINT_DIR):
        raise InputError(f"--savepoint DIR must be given, as {cluster.url} has no {_SAVEPOINT_DIR[0]}")
    return None


def _require_running(job: JobInfo) -> None:
    if job.state in ENDED:
        raise InputError(f"job {job.id} ({job.name}) must be running; it is {job.state.lower()}")


def await_state(cluster: Cluster, job: str) -> None:
    """Waits until a cancelled job has ended."""
    if not wait_until(lambda: cluster.state(job) in ENDED, 60, interval=0.2):
        raise WorkError(f"job {job} has not ended 60 s after it was cancelled")


def _as_json(job: JobInfo) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "started": datetime.fromtimestamp(job.started / 1000, UTC).isoformat(),
        "duration_ms": job.duration,
    }


def _table(found: list[JobInfo]) -> Table:
    """Eight digits of an id are enough for `tailrace stop`, and leave room for the name; --json has all."""
    table = Table("job", Column("name", overflow="fold"), "state", "started", "for")
    for job in found:
        started = datetime.fromtimestamp(job.started / 1000).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(job.id[:8], literal(job.name), job.state.lower(), started, _rough(job.duration // 1000))
    return table


def _rough(seconds: int) -> str:
    """A duration in its two largest units."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
