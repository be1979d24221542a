"""Finds the rows on which a model takes its process down, such as by a crash in native code.

The ranges of rows in flight are noted (`udfs.scoring.in_flight`). After a process that died, rows of these
ranges are first predicted in a process of their own, at once, and if that dies too, one by one: those at
which it dies become dead letters. Records come again in other batches, which is why ranges are noted.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from udfs.scoring.in_flight import InFlight, Range
from udfs.scoring.shadow import ShadowParams, read_frame, start_server, to_ipc, write_frame

FOLDER = "TAILRACE_CRASHES"
START_SECONDS, ANSWER_SECONDS = 120.0, 60.0
log = structlog.get_logger(__name__)


class ModelCrashedError(Exception):
    """The model takes its process down on a row."""


@dataclass(frozen=True)
class Crashes:
    """Of n rows, those that take the process down; `alone`: they do so only together, so each goes alone.

    `unexplained`: those that do so only when their prediction is explained.
    """

    rows: frozenset[int] = frozenset()
    alone: bool = False
    unexplained: frozenset[int] = frozenset()

    def check(self, start: int, stop: int) -> None:
        """Raise `ModelCrashedError` for a span that must not be predicted as it is."""
        parted = self.alone or any(start <= row < stop for row in self.unexplained)
        if (parted and stop - start > 1) or any(start <= row < stop for row in self.rows):
            raise ModelCrashedError("the process that predicts ended on this record")


class CrashGuard:
    """One for each scorer. Without a place for its notes it does nothing, and says so once."""

    def __init__(self, job: str) -> None:
        self._notes: InFlight | None = None
        try:
            self._notes = InFlight(folder_of(job))
        except OSError as error:
            log.warning("crashes.not_noted", error=str(error))
        self._suspects = self._notes.left_behind if self._notes else []
        if self._suspects:
            log.error("crashes.found", ranges=len(self._suspects), last=list(self._suspects[-1]))

    @contextmanager
    def predicting(self, featured: pa.Table) -> Iterator[None]:
        """Notes the rows while they are predicted."""
        if self._notes is None:
            yield
            return
        with self._notes.of(_ranges(featured)):
            yield

    def crashes(self, version: ShadowParams | None, featured: pa.Table) -> Crashes:
        """Which of the rows take a process down; only those near an earlier death are tried."""
        if not self._suspects or version is None:
            return Crashes()
        places = np.flatnonzero(self._suspicious(featured))
        if not len(places):
            return Crashes()
        return _tried(version, featured.take(pa.array(places)), places)

    def close(self) -> None:
        if self._notes:
            self._notes.close()

    def _suspicious(self, featured: pa.Table) -> npt.NDArray[np.bool_]:
        partition, number = _coordinates(featured)
        found = np.zeros(featured.num_rows, dtype=np.bool_)
        for suspect in self._suspects:
            within = (number >= suspect.low) & (number <= suspect.high)
            found |= (partition == suspect.partition) & within
        return found


def folder_of(job: str) -> Path:
    """Where the notes of a job are: the same in each of its processes on this machine."""
    root = os.environ.get(FOLDER) or f"{tempfile.gettempdir()}/tailrace-crashes-{os.getuid()}"
    return Path(root) / hashlib.sha256(job.encode()).hexdigest()[:16]


def _coordinates(featured: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if "_offset" in featured.column_names:
        return featured.column("_partition").to_numpy(), featured.column("_offset").to_numpy()
    times = featured.column("event_time").cast(pa.int64()).to_numpy()
    return np.full(len(times), -1), times


def _ranges(featured: pa.Table) -> list[Range]:
    partition, number = _coordinates(featured)
    if not len(partition):
        return []
    if partition[0] == partition[-1] and (partition == partition[0]).all():
        return [Range(int(partition[0]), int(number.min()), int(number.max()))]
    parts = [(int(part), number[partition == part]) for part in np.unique(partition)]
    return [Range(part, int(found.min()), int(found.max())) for part, found in parts]


def _tried(version: ShadowParams, rows: pa.Table, places: npt.NDArray[np.intp]) -> Crashes:
    with closing(Trial(version)) as trial:
        if trial.survives(rows):
            return Crashes()
        deadly = [i for i in range(rows.num_rows) if not trial.survives(rows.slice(i, 1))]
    unexplained = _only_explained(version, rows, deadly) if version.explain else set()
    log.error("crashes.tried", rows=rows.num_rows, dead=len(deadly), unexplained=len(unexplained))
    dead = frozenset(int(places[i]) for i in deadly if i not in unexplained)
    return Crashes(dead, not deadly, frozenset(int(places[i]) for i in unexplained))


def _only_explained(version: ShadowParams, rows: pa.Table, deadly: list[int]) -> set[int]:
    """The deadly rows that are predicted without a death."""
    with closing(Trial(msgspec.structs.replace(version, explain=0))) as trial:
        return {i for i in deadly if trial.survives(rows.slice(i, 1))}


class Trial:
    """A process that predicts, and that may die of it; then another is started."""

    def __init__(self, version: ShadowParams) -> None:
        self._version = version
        self._columns = list(dict.fromkeys(column for _, column, _ in version.inputs))
        self._process: subprocess.Popen[bytes] | None = None

    def survives(self, rows: pa.Table) -> bool:
        """Whether the process answers, with predictions or errors."""
        process = self._process or self._start()
        try:
            assert process.stdin is not None
            with _killed_after(process, ANSWER_SECONDS):
                write_frame(process.stdin, to_ipc(rows.select(self._columns)))
                assert process.stdout is not None
                read_frame(process.stdout)
        except (EOFError, OSError):
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = self._process = start_server()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with _killed_after(process, START_SECONDS):
                write_frame(process.stdin, msgspec.msgpack.encode(self._version))
                refused = read_frame(process.stdout)
        except EOFError as error:
            raise OSError(f"the process that tries rows has ended: {error}") from error
        if refused:
            raise OSError(f"the process that tries rows has no model: {refused.decode(errors='replace')}")
        return process


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
