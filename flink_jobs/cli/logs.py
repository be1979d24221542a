"""`tailrace logs`: what a job's processes wrote, from wherever the cluster runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from flink_jobs.cli.clusters import Address, cluster_at
from flink_jobs.errors import WorkError
from flink_jobs.run.cluster import Cluster
from flink_jobs.run.log_lines import last_lines, worker_lines
from flink_jobs.system.terminal import say


def logs(
    job: Annotated[str, typer.Argument(help="Id, beginning of an id, or name.", show_default=False)],
    worker: Annotated[
        bool, typer.Option("--worker", help="Show what Python workers wrote, and nothing of Flink's.")
    ] = False,
    lines: Annotated[
        int, typer.Option(metavar="N", min=1, help="Lines of each process, the last ones.")
    ] = 50,
    cluster: Address = None,
) -> None:
    """Show the logs of the processes that run a job, the JobManager's last.

    Neither holds records or secrets. A cluster gives its logs by REST only where it writes them into files.

    [bold]Examples[/]

      tailrace logs flight-delay

      tailrace logs flight-delay --worker --lines 500
    """
    found = cluster_at(cluster)
    target = found.find(job)
    for place in _places(found, target.id, worker=worker):
        text = _text(found, place)
        shown = worker_lines(text) if worker else text.splitlines()
        say(f"==> {place} <==")
        for line in last_lines(shown, lines):
            say(line)


def _places(cluster: Cluster, job_id: str, *, worker: bool) -> Iterator[str]:
    """The REST paths of the logs: of the TaskManagers that have the job's tasks, and of the JobManager."""
    seen: dict[str, None] = {}
    for vertex in cluster.get(f"/jobs/{job_id}")["vertices"]:
        found = cluster.get(f"/jobs/{job_id}/vertices/{vertex['id']}/taskmanagers")
        seen |= {each["taskmanager-id"]: None for each in found["taskmanagers"] if "taskmanager-id" in each}
    there = {each["id"] for each in cluster.get("/taskmanagers")["taskmanagers"]}
    yield from (f"/taskmanagers/{name}/log" for name in seen if name in there)
    if not worker:
        yield "/jobmanager/log"


def _text(cluster: Cluster, place: str) -> str:
    try:
        return cluster.text(place)
    except WorkError as error:
        return f"not to be had: {error}"
