"""Keeps on disk which rows are being predicted, so that whoever comes after a process that died can tell.

notes = InFlight(folder)
with notes.of(ranges):          # a few stores into mapped memory; nothing is flushed
    model.predict(rows)
InFlight(folder).left_behind    # in a later process: the ranges at which earlier ones died

A process holds a lock on its file for as long as it lives: a file without one was left behind.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_SIZE = 4096
_COUNT, _RANGE = struct.Struct("<q"), struct.Struct("<qqq")
_MOST = (_SIZE - _COUNT.size) // _RANGE.size
# Ranges that are older count no more: their records have had an outcome, or are gone from the topic.
_KEPT = 1_000


class Range(NamedTuple):
    """Offsets of a partition, or with the partition -1 event times in ms, both ends included."""

    partition: int
    low: int
    high: int


class InFlight:
    """The notes of this process, and what others left behind. Raises OSError when there is no place."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} must be owned by the user of the process")
        self.left_behind = _left_behind(folder)
        self._path = folder / f"{uuid.uuid4().hex}.live"
        self._file = self._path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(_SIZE)
        self._notes = mmap.mmap(self._file.fileno(), _SIZE)

    @contextmanager
    def of(self, ranges: Sequence[Range]) -> Iterator[None]:
        """Notes the ranges while the block runs."""
        for place, found in enumerate(ranges[:_MOST]):
            _RANGE.pack_into(self._notes, _COUNT.size + place * _RANGE.size, *found)
        _COUNT.pack_into(self._notes, 0, min(len(ranges), _MOST))
        try:
            yield
        finally:
            _COUNT.pack_into(self._notes, 0, 0)

    def close(self) -> None:
        """Leaves nothing behind."""
        self._notes.close()
        self._file.close()
        self._path.unlink(missing_ok=True)


def _left_behind(folder: Path) -> list[Range]:
    """Reads the files of dead processes; those that died in a prediction are kept for all who come later."""
    found: list[Range] = []
    for path in sorted(folder.glob("*.live")):
        with suppress(OSError):
            _bury(path)
    for path in sorted(folder.glob("*.died"), key=lambda file: file.stat().st_mtime)[-_KEPT:]:
        with suppress(OSError, struct.error):
            found += _read(path.read_bytes())
    return found


def _bury(path: Path) -> None:
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = file.read()
        if len(data) == _SIZE and _read(data):
            path.rename(path.with_suffix(".died"))
        else:
            path.unlink()


def _read(data: bytes) -> list[Range]:
    (count,) = _COUNT.unpack_from(data)
    return [Range(*_RANGE.unpack_from(data, _COUNT.size + i * _RANGE.size)) for i in range(min(count, _MOST))]
