"""`tailrace jobs` and `stop`: what runs on a Flink cluster."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer
from rich.table import Column, Table

from flink_jobs.cli.connection import environment, flink_access
from flink_jobs.cli.lineage import report_end, report_ended
from flink_jobs.errors import InputError, TailraceError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.plan.state import PARAMETER, JobState
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.savepoints import leave_state, parse_parameter, savepoint_uri
from flink_jobs.run.vitals import Vitals, answers_of, vitals
from flink_jobs.system.processes import wait_until
from flink_jobs.system.terminal import literal, open_console, print_json, say

POLL_SECONDS = 0.5
_END_SECONDS = 20.0
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

    [bold]waiting[/] are the records that wait, [bold]bad[/] the share of late and dead ones since the last
    restart, [bold]saved[/] the age of the newest checkpoint; [bold]tailrace job[/] tells more.

    [bold]Examples[/]

      tailrace jobs

      tailrace jobs --all --json --cluster http://flink:8081
    """
    asked = cluster_at(cluster)
    known = asked.jobs()
    report_ended(asked, known)
    found = [(job, _look(asked, job)) for job in known if every or job.state not in ENDED]
    if as_json:
        print_json([_as_json(job, seen) for job, seen in found])
    elif found:
        open_console().print(_table(found, time.time()))
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
        state = parse_parameter(found.parameters(target.id).get(PARAMETER))
        found.cancel(target.id)
        await_state(found, target.id)
        _leave_word(state)
        report_end(target.name, target.id, "ABORT")
        print(f"cancelled {target.id}")
    else:
        say(stopped(found, target, savepoint, drain=drain))


def savepoint(
    job: Annotated[str, typer.Argument(help="Id, beginning of an id, or name.", show_default=False)],
    directory: Annotated[
        str | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Folder or URI that the cluster reaches. Default: the cluster's own.",
            show_default=False,
        ),
    ] = None,
    cluster: Address = None,
) -> None:
    """Take a savepoint of a job that goes on, and print its path.

    [bold]Examples[/]

      tailrace savepoint flight-delay

      tailrace savepoint flight-delay --dir s3://bucket/savepoints
    """
    found = cluster_at(cluster)
    target = found.find(job)
    _require_running(target)
    state = parse_parameter(found.parameters(target.id).get(PARAMETER))
    taken = found.savepoint(target.id, _savepoint_directory(found, directory))
    _leave_account(taken, state)
    say(taken)


def stopped(cluster: Cluster, target: JobInfo, directory: str | None, *, drain: bool = False) -> str:
    """Stops a running job with a savepoint, beside which its account is left; the savepoint's path."""
    state = parse_parameter(cluster.parameters(target.id).get(PARAMETER))
    taken = cluster.stop(target.id, _savepoint_directory(cluster, directory), drain=drain)
    _leave_account(taken, msgspec.structs.replace(state, drained=drain) if state else None)
    wait_until(lambda: cluster.state(target.id) in ENDED, _END_SECONDS, interval=0.1)
    _leave_word(state)
    report_end(target.name, target.id, "COMPLETE")
    return taken


def _leave_word(state: JobState | None) -> None:
    """Says at the brokers that the job has ended, where its file is here; else the next one has to ask."""
    if state and state.file:
        from flink_jobs.cli.run import leave_word  # Start-up: a Kafka client.  # noqa: PLC0415

        with suppress(TailraceError):
            job = load_job(Path(state.file), environment())
            if job.job == state.job:  # the file may be another's by now
                leave_word(job)


def _leave_account(savepoint: str, state: JobState | None) -> None:
    if state and not leave_state(savepoint_uri(savepoint), state):
        why = "plan --savepoint will know nothing of it, as its account cannot be written from here"
        structlog.get_logger().warning("savepoint_without_account", savepoint=savepoint, reason=why)


def cluster_at(given: str | None) -> Cluster:
    """The cluster of --cluster, of the profile, of the environment, or of a running `tailrace up`."""
    return Cluster(flink_access(given))


def _savepoint_directory(cluster: Cluster, given: str | None) -> str | None:
    """The directory as a URI; None is the cluster's own, if it has one."""
    if given is not None:
        return savepoint_uri(given)
    settings = cluster.settings()
    if not any(settings.get(key) for key in _SAVEPOINT_DIR):
        raise InputError(
            f"a folder for the savepoint must be given, as {cluster.url} has no {_SAVEPOINT_DIR[0]}"
        )
    return None


def _require_running(job: JobInfo) -> None:
    if job.state in ENDED:
        raise InputError(f"job {job.id} ({job.name}) must be running; it is {job.state.lower()}")


def await_state(cluster: Cluster, job: str) -> None:
    """Waits until a cancelled job has ended."""
    if not wait_until(lambda: cluster.state(job) in ENDED, 60, interval=0.2):
        raise WorkError(f"job {job} has not ended 60 s after it was cancelled")


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
