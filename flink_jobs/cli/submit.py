"""`tailrace submit`: sends a job to a Flink cluster, and watches its start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer

from flink_jobs.cli.clusters import Address, cluster_at
from flink_jobs.cli.connection import environment
from flink_jobs.cli.lineage import reported
from flink_jobs.cli.progress import Progress
from flink_jobs.cli.remote import POLL_SECONDS, await_state, stopped
from flink_jobs.cli.run import (
    TakeOver,
    leave_word,
    prepare,
    require_an_end,
    require_unclaimed,
    show_traceback,
    warn_of_gone,
)
from flink_jobs.errors import InputError, JobFailedError, WorkError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import has_records, topic_id
from flink_jobs.plan import Plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.state import PARAMETER, JobState, as_refusal, judge, leaves, refusals, state_of
from flink_jobs.plan.topics import output_topics
from flink_jobs.plan.validate import validated_plan
from flink_jobs.run.cluster import ENDED, Cluster, failure_reason, worker_traceback
from flink_jobs.run.program import Target, start
from flink_jobs.run.savepoints import checkpoints_of, judged, leave_state, parse_parameter, savepoint_uri
from flink_jobs.system.terminal import open_console, say

START_SECONDS = 180.0
SETTLED_SECONDS = 5.0
_CHECKPOINTS = "execution.checkpointing.dir"


WarmUp = Annotated[
    bool,
    typer.Option(
        "--warm-up",
        help="Read the source once more, from one window's length before, to fill new windows. Nothing is "
        "written twice.",
    ),
]


def submit(
    file: Annotated[Path, typer.Argument(help="The job file.", show_default=False)],
    cluster: Address = None,
    savepoint: Annotated[
        str | None,
        typer.Option(help="Savepoint or checkpoint to go on from: a path or URI.", show_default=False),
    ] = None,
    allow_empty: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What of the savepoint may be left behind: a window, or drift, comparisons, …; repeatable.",
            show_default=False,
        ),
    ] = None,
    bounded: Annotated[
        bool, typer.Option("--bounded", help="End where the topic ends now, instead of waiting for more.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Write predictions once more beside those that are there already."),
    ] = False,
    warm_up: WarmUp = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended.")] = False,
    take_over: TakeOver = False,
) -> None:
    """Send a job to a Flink cluster; prints its id, and returns when all its tasks run.

    A job that fails while it starts is cancelled, and the reason is shown. With [bold]--savepoint[/] it is
    said first what of it goes on; what the job has no place for must be named by [bold]--allow-empty[/].
    Without one, a job that begins at the start of its topic and has outputs already is refused, as all of
    them would be there twice: [bold]tailrace resume[/] goes on where it was, and [bold]--again[/] insists.
    So is one that runs already, here or elsewhere: with [bold]--take-over[/] the one here is stopped, and
    this one goes on from its savepoint.

    [bold]Examples[/]

      tailrace submit conf/flight_delay.yaml --cluster http://flink:8081

      tailrace submit conf/flight_delay.yaml --savepoint s3://bucket/savepoints/savepoint-1f2e
    """
    require_an_end(bounded=bounded, goes_on=savepoint is not None)
    if warm_up and not (savepoint or take_over):
        raise InputError("--warm-up is for a job that goes on: --savepoint PATH must be given with it")
    found = cluster_at(cluster)
    if take_over and (stopped_at := _stop_other(found, file, allow_empty or [], bounded=bounded)):
        savepoint = savepoint or stopped_at
    plan = prepare(file, bounded=bounded, cluster=found)
    source_id = topic_id(client_settings(plan.job), plan.job.source.topic)
    left = False
    if warm_up:
        plan = _warmed(plan, savepoint)
    if savepoint:
        left = check_savepoint(plan, savepoint, allow_empty or [], source_id)
    elif not again:
        require_no_outputs(plan)
    require_unclaimed(plan.job, take_over=take_over)
    warn_of_gone(plan.job, savepoint)
    console = open_console(stderr=True, soft_wrap=True)
    path = str(file.absolute())
    target = Target(
        found.access,
        savepoint and savepoint_uri(savepoint),
        bool(allow_empty) or left,
        path,
        source_id,
    )
    unit = "windows" if plan.job.score == "per_window" else "records"
    try:
        with Progress(console, unit) as line:
            line.say(f"submitting to {found.url}")
            job = start(plan, target).id
            say(job, flush=True)
            with reported(plan, job, goes_on=not wait):
                line.say(f"waiting for {job} to run")
                _await_start(found, job)
                _leave_state(found, plan, job, state_of(plan, path, source_id))
                structlog.get_logger().info("job_running", job=plan.job.job, id=job, cluster=found.url)
                if wait:
                    _await_end(found, job, line)
    except JobFailedError as error:
        leave_word(plan.job)
        show_traceback(error)
        raise


def _stop_other(cluster: Cluster, file: Path, allowed: Sequence[str], *, bounded: bool) -> str | None:
    """Stops the job of the file's name, if the cluster runs it, and gives the savepoint."""
    name = load_job(file, environment()).job
    target = next((job for job in cluster.jobs() if job.name == name and job.state not in ENDED), None)
    if target is None:
        return None
    require_an_end(bounded=bounded, goes_on=True)
    check_file(file, name, parse_parameter(cluster.parameters(target.id).get(PARAMETER)), allowed)
    taken = stopped(cluster, target, None)
    structlog.get_logger().info("stopped", job=name, id=target.id, savepoint=taken)
    return taken


def check_file(path: Path, name: str, state: JobState | None, allowed: Sequence[str]) -> None:
    """Raises InputError before a running job is stopped for a file that it cannot go on with."""
    plan = validated_plan(path, environ=environment())
    if plan.job.job != name:
        raise InputError(f"{path} must be the file of {name}; got that of {plan.job.job}")
    refused = refusals(judge(state, state_of(plan)), allowed) if state else []
    if refused:
        raise InputError(f"{name} cannot go on with {path}: {'; '.join(map(as_refusal, refused))}")


def require_no_outputs(plan: Plan) -> None:
    """Raises InputError where what the job will write is there already, as after a JobManager was lost."""
    job = plan.job
    if job.source.start != "earliest":
        return
    settings = client_settings(job)
    written = [topic for topic in output_topics(job).values() if has_records(settings, topic)]
    if written:
        raise InputError(
            f"{job.job} would read {job.source.topic} from its beginning and write everything once more: "
            f"there are records in {', '.join(written)} already. Go on where it was: tailrace resume "
            f"{job.job}, or submit --savepoint PATH; or write them again: --again"
        )


def _warmed(plan: Plan, savepoint: str | None) -> Plan:
    if savepoint is None:
        raise InputError("--warm-up: no job of this name runs here, so there is no savepoint to go on from")
    from flink_jobs.run.warm_up import warmed  # Start-up: seldom used.  # noqa: PLC0415

    return warmed(plan, savepoint)


def check_savepoint(plan: Plan, savepoint: str, allowed: Sequence[str], source_id: str) -> bool:
    """Says what becomes of the savepoint's parts; raises InputError where one has no place to go.

    Whether there is state that the job has no more, and needs not. `source_id` is Kafka's id of the source.
    """
    log = structlog.get_logger()
    verdicts = judged(plan, savepoint, lambda: source_id)
    if verdicts is None:
        log.warning("savepoint_without_account", savepoint=savepoint)
        return False
    for verdict in verdicts:
        if verdict.outcome != "goes on":
            log.info("savepoint", part=verdict.part, outcome=verdict.outcome, reason=verdict.why)
    if refused := refusals(verdicts, allowed):
        raise InputError(f"the job cannot go on from {savepoint}: {'; '.join(map(as_refusal, refused))}")
    return leaves(verdicts)


def _leave_state(cluster: Cluster, plan: Plan, job: str, state: JobState) -> None:
    directory = plan.options.get(_CHECKPOINTS) or cluster.settings().get(_CHECKPOINTS)
    if directory and (folder := checkpoints_of(directory, job)):
        leave_state(folder, state)


def _await_start(cluster: Cluster, job: str) -> None:
    """Returns when all tasks have run for a few seconds; a job that fails before is cancelled.

    Workers load the model with their first records, which is when most jobs fail that fail at all.
    """
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
    if cluster.state(job) not in ENDED:
        cluster.cancel(job)
        await_state(cluster, job)


def _await_end(cluster: Cluster, job: str, line: Progress) -> None:
    known = None
    while (state := cluster.state(job)) not in ENDED:
        line.show(cluster.counts(job))
        if (cause := cluster.failure(job)) and cause != known:
            known = cause
            structlog.get_logger().warning("job_failed", id=job, reason=failure_reason(cause))
        time.sleep(POLL_SECONDS)
    if state == "FAILED":
        raise _failed(job, cluster.failure(job) or "unknown")


def _failed(job: str, trace: str) -> JobFailedError:
    return JobFailedError(f"job {job} failed: {failure_reason(trace)}", worker_traceback(trace))
