"""`tailrace run`: a job on a minicluster in this process, watched until it ends."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import structlog
import typer

from flink_jobs.cli.connection import environment, flink_access
from flink_jobs.cli.lineage import reported
from flink_jobs.cli.progress import Progress, summary
from flink_jobs.errors import InputError, JobFailedError, TailraceError
from flink_jobs.kafka import (
    ClientSettings,
    claims,
    committed_offsets,
    count_committed,
    end_offsets,
    gone_offsets,
)
from flink_jobs.plan import Plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.plan.topics import output_topics
from flink_jobs.plan.validate import validated_plan
from flink_jobs.run import preflight
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.run.savepoints import savepoint_uri, stored_places
from flink_jobs.run.unclaimed import as_refusal, runs_elsewhere
from flink_jobs.spec import JobSpec
from flink_jobs.system.log import configure_logging
from flink_jobs.system.masks import PROCESS
from flink_jobs.system.terminal import open_console, say

# Where Flink unpacks what `flink_jobs.run.program` ships.
_SHIPPED = re.compile(r'"[^"]*/tailrace-udfs-[^"/]+/')
Offsets = dict[str, dict[int, int]]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over", help="Start even where a job of this name runs, which is stopped if it is here."
    ),
]


def run(
    file: Annotated[Path, typer.Argument(help="The job file.", show_default=False)],
    bounded: Annotated[
        bool, typer.Option("--bounded", help="End where the topic ends now, instead of waiting for more.")
    ] = False,
    savepoint: Annotated[
        str | None, typer.Option(help="Savepoint or checkpoint to go on from.", show_default=False)
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show a line of counts while it runs.")] = True,
    take_over: TakeOver = False,
) -> None:
    """Run a job on this machine, in a Flink of its own that ends with it.

    Missing output topics are created first. Ctrl-C ends the job after it has committed what it has read; a
    second Ctrl-C ends it at once. A failure ends it too, with the Python traceback of the worker.

    [bold]Examples[/]

      tailrace run conf/flight_delay.yaml

      tailrace run conf/flight_delay.yaml --bounded
    """
    require_an_end(bounded=bounded, goes_on=savepoint is not None)
    target = Target(savepoint=_local_savepoint(savepoint))
    with _terminated_like_interrupted():
        plan = prepare(file, bounded=bounded)
        warn_of_gone(plan.job, savepoint)
        _require_nowhere_else(plan.job)
        require_unclaimed(plan.job, take_over=take_over)
        interrupted = _run_and_count(plan, target, progress)
    if interrupted:
        raise typer.Exit(130)


def _run_and_count(plan: Plan, target: Target, progress: bool) -> bool:
    """Prints what the job committed; whether it was interrupted."""
    settings = client_settings(plan.job)
    before = _ends(settings, plan.job)
    console = open_console(stderr=True, soft_wrap=True)
    unit = "windows" if plan.job.score == "per_window" else "records"
    started = time.monotonic()
    with Progress(console, unit, shown=progress) as line:
        try:
            interrupted = _run(plan, target, line)
        finally:
            leave_word(plan.job)
        seconds = time.monotonic() - started
        line.say("counting what was written")
        counts = _written(settings, plan.job, before)
    print(f"{summary(counts, unit)}  in {seconds:.1f} s")
    return interrupted


def _require_nowhere_else(job: JobSpec) -> None:
    """Raises InputError where the cluster that commands would reach from here runs the job already."""
    try:
        cluster = Cluster(flink_access(None))
        others = cluster.jobs()
    except TailraceError:
        return  # there is none, or none that answers
    for other in others:
        if other.name == job.job and other.state not in ENDED:
            raise InputError(
                f"the job {job.job} already runs on {cluster.url} as {other.id}; two would write to the same "
                f"topics and transactions; stop it first: tailrace stop {other.id}"
            )


def require_unclaimed(job: JobSpec, *, take_over: bool) -> None:
    """Raises InputError where a job of this name commits offsets from elsewhere.

    One that has ended without a word, such as by a crash, is waited for.
    """
    if not take_over and runs_elsewhere(job):
        raise InputError(f"{as_refusal(job, 'runs')}. If it is something else that commits them: --take-over")


def leave_word(job: JobSpec) -> None:
    """Says for the next one that the job has ended; without it, that one has to wait."""
    with suppress(TailraceError):
        claims.say_stopped(client_settings(job), job.job, job.source.topic)


def prepare(file: Path, *, bounded: bool = False, cluster: Cluster | None = None) -> Plan:
    """The plan of a job file that can start: its topics are there. Logs what was done for it."""
    configure_logging()
    log = structlog.get_logger()
    plan = validated_plan(file, bounded=bounded, environ=environment())
    found = preflight.check(plan, cluster)
    for topic in found.created:
        log.info("topic_created", topic=topic, partitions=found.partitions)
    for warning in found.warnings:
        log.warning("preflight", message=warning)
    return plan


def require_an_end(*, bounded: bool, goes_on: bool) -> None:
    """Raises InputError for a job that would never end: Flink keeps the ends of partitions in a savepoint."""
    if bounded and goes_on:
        raise InputError(
            "--bounded and a savepoint cannot go together: Flink goes on with the partitions as the "
            "savepoint has them, without an end; leave --bounded out, and end it by tailrace stop --drain"
        )


def warn_of_gone(job: JobSpec, savepoint: str | None) -> None:
    """Says what the source has deleted since the job was there; Kafka's client passes over it silently."""
    if savepoint is None and job.source.start != "committed":
        return
    gone = gone_offsets(client_settings(job), _read_until(job, savepoint), job.source.topic)
    for partition, (first, stop) in gone.items():
        structlog.get_logger().warning(
            "records_gone",
            topic=job.source.topic,
            partition=partition,
            first=first,
            last=stop - 1,
            reason="the topic has deleted them before the job read them",
        )


def _read_until(job: JobSpec, savepoint: str | None) -> dict[int, int]:
    """The offset from which a job goes on, by partition.

    The group's may be that of another moment than the savepoint's, and is for savepoints that only the
    cluster can read.
    """
    with suppress(InputError):
        if savepoint and (places := stored_places(savepoint, job.source.topic)):
            return places
    return committed_offsets(client_settings(job), job.job, job.source.topic)


def _local_savepoint(given: str | None) -> str | None:
    """The same; raises InputError when it is no savepoint on this machine."""
    uri = given and savepoint_uri(given)
    if uri and uri.startswith("file://") and not Path(uri[7:], "_metadata").is_file():
        raise InputError(f"--savepoint must be a folder with a file _metadata; got {given}")
    return uri


def show_traceback(error: JobFailedError) -> None:
    """Prints the part of a worker's traceback that is not Flink's and Beam's own machinery."""
    if error.worker_traceback:
        say(PROCESS.hide(relevant(error.worker_traceback)), error=True)


def relevant(traceback: str) -> str:
    """A Python traceback from its first frame below PyFlink and Beam; shipped files by package."""
    head, *frames = _SHIPPED.sub('"', traceback).split('\n  File "')
    machinery = [i for i, frame in enumerate(frames) if _is_machinery(frame.split('"')[0])]
    kept = frames[machinery[-1] + 1 :] if machinery else frames
    return '\n  File "'.join([head, *(kept or frames[-1:])])


def _is_machinery(path: str) -> bool:
    return any(f"/{package}/" in path for package in ("pyflink", "apache_beam"))


def _run(plan: Plan, target: Target, line: Progress) -> bool:
    """Runs the job to its end; whether that came by an interrupt."""
    try:
        with start(plan, target) as running, reported(plan, running.id) as outcome:
            outcome.interrupted = _watch(running, line)
        return outcome.interrupted
    except JobFailedError as error:
        show_traceback(error)
        raise


def _watch(running: RunningJob, line: Progress) -> bool:
    try:
        running.wait(line.show)
    except KeyboardInterrupt:
        line.say("ending; Ctrl-C again to end at once")
        _end(running)
        return True
    return False


def _end(running: RunningJob) -> None:
    """Stops the job so that what it has read is committed; cancels it where that fails."""
    try:
        running.finish()
    except (TailraceError, KeyboardInterrupt):
        running.cancel()
    running.wait()


def _ends(settings: ClientSettings, job: JobSpec) -> Offsets:
    return {name: end_offsets(settings, topic) for name, topic in output_topics(job).items()}


def _written(settings: ClientSettings, job: JobSpec, before: Offsets) -> Counter[str]:
    """What the run committed, counted in the topics: the job's own counters end a moment before it does."""
    return Counter(
        {
            output.account: count_committed(settings, output.topic(job), since=before[output.name])
            for output in outputs_of(job)
            if output.account
        }
    )


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Inside, a TERM signal ends the job as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
