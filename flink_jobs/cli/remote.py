"""`tailrace submit`, `jobs`, `stop`: jobs on a Flink cluster."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from flink_jobs.cli.progress import Progress
from flink_jobs.cli.run import prepare, savepoint_uri, show_traceback
from flink_jobs.errors import InputError, JobFailedError, WorkError

if TYPE_CHECKING:
    from flink_jobs.run.cluster import Cluster, JobInfo

START_SECONDS = 180.0
SETTLED_SECONDS = 5.0
POLL_SECONDS = 0.5
_ADDRESS = re.compile(r"(http://)?[^\s:/@]+:[0-9]{1,5}/?")
_SAVEPOINT_DIR = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")

Address = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        envvar="TAILRACE_CLUSTER",
        help="Flink's REST address, http://host:port. Default: the cluster of a running `tailrace up`.",
        show_default=False,
    ),
]


def submit(
    file: Annotated[Path, typer.Argument(help="The job file.", show_default=False)],
    cluster: Address = None,
    savepoint: Annotated[
        str | None,
        typer.Option(help="Savepoint or checkpoint to go on from: a path or URI.", show_default=False),
    ] = None,
    bounded: Annotated[
        bool, typer.Option("--bounded", help="End where the topic ends now, instead of waiting for more.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended.")] = False,
) -> None:
    """Send a job to a Flink cluster; prints its id, and returns when all its tasks run.

    A job that fails while it starts is cancelled, and the reason is shown.

    [bold]Examples[/]

      tailrace submit conf/flight_delay.yaml --cluster http://flink:8081

      tailrace submit conf/flight_delay.yaml --savepoint s3://bucket/savepoints/savepoint-1f2e
    """
    import structlog

    from flink_jobs.run.program import Target, start

    found = _cluster(cluster)
    plan = prepare(file, bounded=bounded, cluster=found)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    unit = "windows" if plan.job.score == "per_window" else "records"
    try:
        with Progress(console, unit) as line:
            line.say(f"submitting to {found.url}")
            job = start(plan, Target(found.url, savepoint_uri(savepoint))).id
            print(job, flush=True)
            line.say(f"waiting for {job} to run")
            _await_start(found, job)
            structlog.get_logger().info("job_running", job=plan.job.job, id=job, cluster=found.url)
            if wait:
                _await_end(found, job, line)
    except JobFailedError as error:
        show_traceback(error)
        raise


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
    from flink_jobs.run.cluster import ENDED

    found = [job for job in _cluster(cluster).jobs() if every or job.state not in ENDED]
    if as_json:
        print(json.dumps([_as_json(job) for job in found], indent=2))
    elif found:
        Console(highlight=False).print(_table(found))
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
    cluster: Address = None,
) -> None:
    """Stop a job with a savepoint, whose path is printed; tailrace submit --savepoint goes on from it.

    [bold]Examples[/]

      tailrace stop flight-delay

      tailrace stop 1f2e --savepoint s3://bucket/savepoints

      tailrace stop flight-delay --cancel
    """
    if cancel and savepoint:
        raise InputError("only one of --savepoint and --cancel can be given")
    found = _cluster(cluster)
    target = found.find(job)
    _require_running(target)
    if cancel:
        found.cancel(target.id)
        _await_state(found, target.id)
        print(f"cancelled {target.id}")
    else:
        print(found.stop(target.id, _savepoint_directory(found, savepoint)))


def _cluster(given: str | None) -> Cluster:
    from flink_jobs.local.stack import load
    from flink_jobs.run.cluster import Cluster

    if given is None:
        stack = load()
        if stack is None or not stack.alive():
            raise InputError(
                "no cluster: give --cluster http://host:port, set TAILRACE_CLUSTER, or start one here with "
                "`tailrace up`"
            )
        given = stack.flink_url
    if not _ADDRESS.fullmatch(given):
        raise InputError(f"--cluster must be http://host:port, Flink's REST address; got {given!r}")
    return Cluster(given)


def _savepoint_directory(cluster: Cluster, given: str | None) -> str | None:
    """The directory as a URI; None is the cluster's own, if it has one."""
    if given is not None:
        return savepoint_uri(given)
    settings = cluster.settings()
    if not any(settings.get(key) for key in _SAVEPOINT_DIR):
        raise InputError(f"--savepoint DIR must be given, as {cluster.url} has no {_SAVEPOINT_DIR[0]}")
    return None


def _require_running(job: JobInfo) -> None:
    from flink_jobs.run.cluster import ENDED

    if job.state in ENDED:
        raise InputError(f"job {job.id} ({job.name}) must be running; it is {job.state.lower()}")


def _await_start(cluster: Cluster, job: str) -> None:
    """Returns when all tasks have run for a few seconds; a job that fails before is cancelled.

    Workers load the model with their first records, which is when most jobs fail that fail at all.
    """
    from flink_jobs.run.cluster import ENDED

    started, running = time.monotonic(), None
    while cluster.state(job) not in ENDED or cluster.failure(job):
        if cause := cluster.failure(job):
            _give_up(cluster, job)
            raise _failed(job, cause)
        now = time.monotonic()
        running = (running or now) if cluster.all_running(job) else None
        if running and now - running >= SETTLED_SECONDS:
            return
        if not running and now - started > START_SECONDS:
            raise WorkError(
                f"job {job} does not run after {START_SECONDS:.0f} s, and goes on trying; end it with: "
                f"tailrace stop {job} --cancel"
            )
        time.sleep(POLL_SECONDS)


def _give_up(cluster: Cluster, job: str) -> None:
    from flink_jobs.run.cluster import ENDED

    if cluster.state(job) not in ENDED:
        cluster.cancel(job)
        _await_state(cluster, job)


def _await_end(cluster: Cluster, job: str, line: Progress) -> None:
    import structlog

    from flink_jobs.run.cluster import ENDED, failure_reason

    known = None
    while (state := cluster.state(job)) not in ENDED:
        line.show(cluster.counts(job))
        if (cause := cluster.failure(job)) and cause != known:
            known = cause
            structlog.get_logger().warning("job_failed", id=job, reason=failure_reason(cause))
        time.sleep(POLL_SECONDS)
    if state == "FAILED":
        raise _failed(job, cluster.failure(job) or "unknown")


def _await_state(cluster: Cluster, job: str) -> None:
    from flink_jobs.run.cluster import ENDED
    from flink_jobs.system.processes import wait_until

    if not wait_until(lambda: cluster.state(job) in ENDED, 60, interval=0.2):
        raise WorkError(f"job {job} has not ended 60 s after it was cancelled")


def _failed(job: str, trace: str) -> JobFailedError:
    from flink_jobs.run.cluster import failure_reason, worker_traceback

    return JobFailedError(f"job {job} failed: {failure_reason(trace)}", worker_traceback(trace))


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
        table.add_row(job.id[:8], job.name, job.state.lower(), started, _rough(job.duration // 1000))
    return table


def _rough(seconds: int) -> str:
    """A duration in its two largest units."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"
