"""`tailrace job`: how one job on a cluster does, in our words."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from flink_jobs.cli.clusters import Address, cluster_at, rough
from flink_jobs.cli.connection import kafka_settings
from flink_jobs.cli.lineage import report_ended
from flink_jobs.errors import TailraceError, WorkError
from flink_jobs.kafka.lag import waiting
from flink_jobs.plan.state import PARAMETER, JobState
from flink_jobs.registry import Registry
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.savepoints import parse_parameter
from flink_jobs.run.vitals import Answers, Lag, Vitals, answers_of, read_up_to, vitals
from flink_jobs.system.terminal import open_console, print_json
from udfs.errors import ModelError, StoreError

WATCH_SECONDS = 2.0


def job(
    name: Annotated[str, typer.Argument(help="Name, id, or beginning of an id.", show_default=False)],
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    cluster: Address = None,
) -> None:
    """Show how a job does: state, lag, rates, failures, checkpoints, release.

    Lag is asked of the brokers of the profile, of TAILRACE_BROKERS, or of a running [bold]tailrace up[/].
    Exits with 1 when the job is not well: it waits for a TaskManager, restarts, or has failed.

    [bold]Examples[/]

      tailrace job flight-delay

      tailrace job flight-delay --watch
    """
    found = cluster_at(cluster)
    target = _newest(found, name)
    report_ended(found, [target])
    state = parse_parameter(found.parameters(target.id).get(PARAMETER))
    seen = look(found, target.id, state)
    if as_json:
        print_json({**as_data(seen), "release": release(state)})
    elif watch:
        _watch(found, target, state, seen)
    else:
        open_console().print(shown(seen, release(state), time.time()))
    if not seen.healthy:
        raise typer.Exit(1)


def look(cluster: Cluster, job_id: str, state: JobState | None) -> Vitals:
    """How the job does now."""
    answers = answers_of(cluster, job_id)
    return vitals(answers, _lag(answers, state), round(time.time() * 1000))


def release(state: JobState | None) -> str | None:
    """The version in force by the release log; None where that cannot be read from here."""
    if state is None or not state.model:
        return None
    try:
        use = int(state.use) if state.use.isdecimal() else state.use
        found = Registry(state.registry).resolve(state.model, use)
    except (TailraceError, ModelError, StoreError, OSError):
        return None
    of = f", release {found.number}" if found.number else ""
    return f"{state.model} version {found.version}{of}"


def as_data(seen: Vitals) -> dict[str, object]:
    """For programs: the fields of `Vitals`."""
    return {**asdict(seen), "waiting": seen.waiting}


def shown(seen: Vitals, release: str | None, now: float) -> Group:
    """A line for each thing to know. Fits 80 columns; nothing is cut."""
    table = Table(Column(style="bold", no_wrap=True), Column(overflow="fold"), box=None, show_header=False)
    for what, words in _lines(seen, release, now):
        table.add_row(what, Text(words))
    return Group(Text(f"{seen.name}  {seen.id}"), table)


def _lines(seen: Vitals, release: str | None, now: float) -> list[tuple[str, str]]:
    state = f"{seen.state} for {rough(int(seen.uptime_s))}" if seen.uptime_s else seen.state
    lines = [("state", f"{state}: {seen.words}" if seen.words else state)]
    lines.append(("restarts", "not known" if seen.restarts is None else f"{seen.restarts:,}"))
    if seen.failure:
        lines.append(("last failure", f"{_ago(seen.failure.at, now)}: {seen.failure.reason}"))
    lines.append(("lag", _lag_words(seen)))
    lines.append(("rate", f"{_rate(seen.rate_in)} in, {_rate(seen.rate_out)} out"))
    lines.append(("late, dead", f"{_share(seen.late_share)} late, {_share(seen.dead_share)} dead"))
    if seen.watermark_behind_s is not None:
        lines.append(("watermark", f"{rough(max(0, int(seen.watermark_behind_s)))} behind the clock"))
    lines.append(("checkpoint", _checkpoint(seen, now)))
    lines.append(("model", release or "release log not readable from here"))
    if seen.worker_bytes is not None:
        lines.append(("workers", size(seen.worker_bytes)))
    return lines


def _lag_words(seen: Vitals) -> str:
    if seen.lag is None:
        waits = "not known" if seen.pending is None else f"{seen.pending:,} records"
        return f"{waits} (no broker answers here)"
    longest = max((lag.seconds for lag in seen.lag), default=0.0)
    parts = [
        f"{lag.partition}: {lag.records:,} ({rough(int(lag.seconds))})" for lag in seen.lag if lag.records
    ]
    of = f"; by partition {', '.join(parts)}" if parts else ""
    return f"{seen.waiting:,} records, {rough(int(longest))}{of}"


def _checkpoint(seen: Vitals, now: float) -> str:
    if seen.checkpoint is None:
        return "none yet"
    failed = f", {seen.checkpoint.failed:,} failed" if seen.checkpoint.failed else ""
    return f"{_ago(seen.checkpoint.at, now)}, {size(seen.checkpoint.bytes)}{failed}"


def _ago(at: int, now: float) -> str:
    return f"{rough(max(0, int(now - at / 1000)))} ago"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}/s"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def size(count: int) -> str:
    """Bytes for people.

    >>> size(900), size(2_500_000), size(3 * 1024**3)
    ('900 B', '2.4 MB', '3.0 GB')
    """
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def _newest(cluster: Cluster, name: str) -> JobInfo:
    """The job that runs under this name, or the last one that did; or that of an id."""
    ended = [job for job in cluster.jobs() if job.name == name]
    running = [job for job in ended if job.state not in ENDED]
    return ended[0] if ended and not running else cluster.find(name)


def _lag(answers: Answers, state: JobState | None) -> list[Lag] | None:
    """What the brokers say; None where they do not, or where the job is not ours."""
    if state is None:
        return None
    try:
        settings = kafka_settings(None)
        waits = waiting(settings, state.topic, state.job, read_up_to(answers.metrics))
    except TailraceError:
        return None
    now = time.time()
    return [
        Lag(number, each.records, 0.0 if each.since is None else max(0.0, now - each.since / 1000))
        for number, each in waits.items()
    ]


def _watch(cluster: Cluster, target: JobInfo, state: JobState | None, seen: Vitals) -> None:
    with Live(shown(seen, release(state), time.time()), console=open_console()) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            try:
                seen = look(cluster, target.id, state)
            except WorkError as error:
                live.update(Text(str(error)))
            else:
                live.update(shown(seen, release(state), time.time()))
