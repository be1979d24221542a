"""`tailrace stop` and `savepoint`: of jobs on a Flink cluster."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer

from flink_jobs.cli.clusters import Address, cluster_at
from flink_jobs.cli.connection import environment
from flink_jobs.cli.lineage import report_end
from flink_jobs.errors import InputError, TailraceError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.plan.state import PARAMETER, JobState
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.savepoints import leave_state, parse_parameter, savepoint_uri
from flink_jobs.system.processes import wait_until
from flink_jobs.system.terminal import say

POLL_SECONDS = 0.5
_END_SECONDS = 20.0
_SAVEPOINT_DIR = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")


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
