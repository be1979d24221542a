"""Finds where a job that runs no more left its state: checkpoints and savepoints, and whose they are.

found = newest(retained_in("s3://bucket/checkpoints", "fraud"), "fraud")
found.path, found.file
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.plan.state import FILE, JobState, parse_state
from flink_jobs.run.cluster import newest_done
from udfs.errors import StoreError
from udfs.store import Store, is_uri, open_store

_METADATA = "_metadata"
_NUMBERED = re.compile(r"chk-(\d+)")


class Retained(NamedTuple):
    """A checkpoint or savepoint: when it was done, in ms since the epoch, if that is known; whose it is."""

    path: str
    at: int | None
    state: JobState | None = None

    def outlived(self, timeout_ms: int, now: int) -> bool:
        """Whether transactions that were prepared with it may have been ended by the brokers since.

        Those of a savepoint were committed when the job stopped.
        """
        checkpoint = _NUMBERED.fullmatch(self.path.rpartition("/")[2])
        return checkpoint is not None and self.at is not None and now - self.at > timeout_ms

    @property
    def file(self) -> str:
        """The job file, as the machine that submitted it calls it; empty where that is not known."""
        return self.state.file if self.state else ""


def retained_in(directory: str, job: str) -> list[Retained]:
    """The newest checkpoint of each run of the job that kept its state here, and the job's savepoints.

    Raises InputError for a folder that cannot be read.
    """
    try:
        return list(_found(open_store(directory), directory.rstrip("/"), job))
    except (StoreError, OSError) as error:
        raise InputError(f"{directory} cannot be read from here: {error}") from None


def _found(store: Store, directory: str, job: str) -> Iterator[Retained]:
    for folder in store.folders("", FILE):
        state = _state(store, folder)
        if state is None or state.job != job:
            continue
        numbers = [
            int(found[1]) for name in store.folders(folder, _METADATA) if (found := _NUMBERED.fullmatch(name))
        ]
        path = f"{directory}/{folder}"
        if numbers:
            path += f"/chk-{max(numbers)}"
        elif _METADATA not in store.names(folder):
            continue
        yield Retained(path, _time(path), state)


def _state(store: Store, folder: str) -> JobState | None:
    try:
        return parse_state(store.read(f"{folder}/{FILE}"))
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _time(path: str) -> int | None:
    """When it was written, where it is a folder of this machine."""
    local = path.removeprefix("file://")
    if is_uri(local):
        return None
    return round(Path(local, _METADATA).stat().st_mtime * 1000)


def lost_jobs(cluster: Path) -> list[str]:
    """The names of the jobs that ran when the JobManager of a local cluster was lost.

    `cluster` is the folder of a SessionCluster. By Flink's own archive these jobs have not ended, and they
    were submitted since that JobManager was started.
    """
    started = _written(cluster / "jobmanager.started")
    ended = {path.name for path in (cluster / "ended").rglob("*")}
    found = []
    for file in (cluster / "checkpoints").glob(f"*/{FILE}"):
        if file.parent.name in ended or _written(file) < started:
            continue
        with suppress(OSError, msgspec.DecodeError):
            found.append(parse_state(file.read_bytes()).job)
    return sorted(set(found))


def _written(file: Path) -> float:
    """Seconds since the epoch; for one that is not there the end of time."""
    try:
        return file.stat().st_mtime
    except OSError:
        return math.inf


def remembered(checkpoints: Mapping[str, Any]) -> Retained | None:
    """What the cluster remembers of a job that has ended: its newest checkpoint or savepoint."""
    last = newest_done(checkpoints, kept=True)
    return Retained(str(last["external_path"]), int(last["latest_ack_timestamp"])) if last else None


def newest(found: Iterable[Retained], job: str) -> Retained | None:
    """The one to go on from. Raises InputError where there are several and it is not known when they were."""
    every = list({each.path: each for each in found}.values())
    if len(every) > 1 and any(each.at is None for each in every):
        places = ", ".join(sorted(each.path for each in every))
        raise InputError(f"{job} left its state in several places; name one with --from: {places}")
    return max(every, key=lambda each: each.at or 0, default=None)
