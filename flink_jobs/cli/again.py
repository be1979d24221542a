"""`tailrace restart` and `resume`: a job goes on from its own state, with the job file that it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import structlog
import typer

from flink_jobs.cli.clusters import Address, cluster_at
from flink_jobs.cli.connection import environment
from flink_jobs.cli.remote import stopped
from flink_jobs.cli.run import TakeOver
from flink_jobs.cli.submit import WarmUp, check_file, submit
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.plan.state import PARAMETER, JobState
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.run.preflight import transaction_timeout
from flink_jobs.run.retained import Retained, newest, remembered, retained_in
from flink_jobs.run.savepoints import parse_parameter, savepoint_uri
from flink_jobs.spec.scalars import format_duration
from flink_jobs.system.log import configure_logging
from udfs.times import now_ms

_FOLDERS = (
    "execution.checkpointing.dir",
    "state.checkpoints.dir",
    "execution.checkpointing.savepoint-dir",
    "state.savepoints.dir",
)
JobFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="The job file. Default: the one it was submitted from.",
        show_default=False,
    ),
]
AllowEmpty = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="What of the state may be left behind: a window, or drift, comparisons, …; repeatable.",
        show_default=False,
    ),
]


def restart(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name, id, or beginning of an id.", show_default=False)
    ],
    file: JobFile = None,
    savepoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder or URI for the savepoint between. Default: the cluster's own.",
            show_default=False,
        ),
    ] = None,
    allow_empty: AllowEmpty = None,
    warm_up: WarmUp = False,
    cluster: Address = None,
) -> None:
    """Stop a job with a savepoint and submit its file again, which goes on from it.

    The file may have changed: it is checked first, and the job is not stopped for one that is wrong.

    [bold]Examples[/]

      tailrace restart flight-delay

      tailrace restart flight-delay --file conf/flight_delay.yaml
    """
    configure_logging()
    found = cluster_at(cluster)
    target = found.find(name)
    state = parse_parameter(found.parameters(target.id).get(PARAMETER))
    path = _readable(file, state.file if state else "", target.name)
    check_file(path, target.name, state, allow_empty or [])
    taken = stopped(found, target, savepoint)
    structlog.get_logger().info("stopped", job=target.name, savepoint=taken)
    submit(path, cluster=cluster, savepoint=taken, allow_empty=allow_empty, warm_up=warm_up)


def resume(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job's name.", show_default=False)],
    file: JobFile = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Checkpoint or savepoint to go on from. Default: the newest that the job left.",
            show_default=False,
        ),
    ] = None,
    allow_empty: AllowEmpty = None,
    warm_up: WarmUp = False,
    take_over: TakeOver = False,
    cluster: Address = None,
) -> None:
    """Submit a job that is gone, from the newest checkpoint or savepoint that it left.

    For after the loss of a JobManager, or of the whole cluster. They are looked for in what the cluster
    remembers, in its folders of checkpoints and savepoints, and in the job's own with [bold]--file[/].

    [bold]Examples[/]

      tailrace resume flight-delay

      tailrace resume flight-delay --from s3://bucket/checkpoints/1f2e/chk-812
    """
    configure_logging()
    found = cluster_at(cluster)
    for job in found.jobs():
        if job.name == name and job.state not in ENDED:
            raise InputError(
                f"{name} runs already, as {job.id}; tailrace restart {name} stops and resumes it"
            )
    left = Retained(from_, None) if from_ else newest(_left(found, name, file), name)
    if left is None:
        places = ", ".join(sorted(set(_folders(found, file)))) or "no folder that the cluster names"
        raise InputError(f"{name} left no checkpoint and no savepoint; looked in {places}")
    path = _readable(file, left.file or _remembered_file(found, name), name)
    structlog.get_logger().info("resuming", job=name, savepoint=left.path, file=str(path))
    _warn_of_transactions(left, path)
    submit(
        path,
        cluster=cluster,
        savepoint=left.path,
        allow_empty=allow_empty,
        warm_up=warm_up,
        take_over=take_over,
    )


def _warn_of_transactions(left: Retained, path: Path) -> None:
    """Who dies between a checkpoint and its commit, and comes back too late, loses records."""
    job = load_job(path, environment())
    timeout = transaction_timeout(job)
    if job.runtime.delivery == "exactly_once" and left.outlived(timeout, now_ms()):
        structlog.get_logger().warning(
            "transactions_may_have_ended",
            savepoint=left.path,
            after=format_duration(timeout),
            check=f"tailrace accounts {path}",
        )


def _left(cluster: Cluster, name: str, file: Path | None) -> Iterator[Retained]:
    """What the cluster remembers, and what is in its folders."""
    for job in cluster.jobs():
        if job.name == name and (last := remembered(cluster.get(f"/jobs/{job.id}/checkpoints"))):
            yield last._replace(path=savepoint_uri(last.path), state=_account(cluster, job.id))
    for folder in _folders(cluster, file):
        try:
            yield from (each._replace(path=savepoint_uri(each.path)) for each in retained_in(folder, name))
        except InputError as error:
            structlog.get_logger().warning("not_searched", reason=str(error))


def _folders(cluster: Cluster, file: Path | None) -> list[str]:
    settings = cluster.settings()
    found = [settings[key] for key in _FOLDERS if settings.get(key)]
    if file:
        own = load_job(file, environment()).runtime.checkpoint.dir
        found += [str(own)] if own else []
    return [savepoint_uri(folder) for folder in found]


def _account(cluster: Cluster, job_id: str) -> JobState | None:
    return parse_parameter(cluster.parameters(job_id).get(PARAMETER))


def _remembered_file(cluster: Cluster, name: str) -> str:
    states = (_account(cluster, job.id) for job in cluster.jobs() if job.name == name)
    return next((state.file for state in states if state and state.file), "")


def _readable(given: Path | None, known: str, name: str) -> Path:
    """The job file. Raises InputError where it is not known or not here."""
    path = given or (Path(known) if known else None)
    if path is None:
        raise InputError(f"--file FILE must be given: it is not known which job file {name} came from")
    if not path.is_file():
        raise InputError(f"--file FILE must be given: {name} came from {path}, which is not here")
    return path
