"""Joins rows with a static table (of a Parquet or CSV file, or of a database) by key, in the worker.

The table is loaded once per process and shared by its threads. It is read again when its file changes, and
once more where it may have changed within a step of the store's clock. A file that cannot be used leaves the
old table in place and is logged once. `lookup_file` reads the files; those at a URI beside the scoring, which
waits for no store.
`lookup_database` has tables of databases.
"""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from udfs.features.lookup_file import (
    LookupContent,
    LookupTableError,
    Stamp,
    file_content,
    is_settled,
    parse_lookup,
    place_of,
    stamp_of,
)
from udfs.store import without_secrets
from udfs.types import ColumnType

__all__ = ["KeyedTable", "LookupTable", "LookupTableError", "lookup_table"]

CHECK_SECONDS = 10.0
# How often a file is read whose store tells neither a time nor an etag.
UNTOLD_SECONDS = 60.0

log = structlog.get_logger(__name__)


class KeyedTable(ABC):
    """The selected columns of a table by key. Thread-safe.

    `failures` counts how often it could not be read again; `types` are those of the columns by new name.
    """

    def __init__(self, content: LookupContent) -> None:
        self._content = content
        self.types: Mapping[str, ColumnType] | None = content.types
        self.failures = 0

    def join(self, keys: pa.Array) -> tuple[dict[str, pa.Array], int]:
        """The selected columns for each of `keys` (string or long), null where the key is null or unknown.

        Arrays are of ARROW[type]; the second value counts the rows without an entry. Keys of another type
        than the table's are compared as text.
        """
        self.refresh()
        content = self._content
        known = content.keys
        if keys.type != known.type:
            keys, known = keys.cast(pa.string()), known.cast(pa.string())
        at = pc.index_in(keys, value_set=known, skip_nulls=True)
        return {name: column.take(at) for name, column in content.columns.items()}, at.null_count

    @abstractmethod
    def refresh(self) -> None:
        """Sees to it that the table is read again when it is time."""


class LookupTable(KeyedTable):
    """That of one file; `clock` counts seconds, `wall` those since 1970.

    `key` is the file's key column, `select` maps new names to the file's columns, `types` gives the type of
    each new name (default: as found at first; a new file must keep them). Raises LookupTableError when the
    file cannot be used at first.
    """

    def __init__(
        self,
        path: str | Path,
        key: str,
        select: Mapping[str, str],
        types: Mapping[str, ColumnType] | None = None,
        check_seconds: float = CHECK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.key, self.select, self.types = place_of(path), key, dict(select), types
        self._check_seconds, self._clock, self._wall = check_seconds, clock, wall
        self._lock = threading.Lock()
        self._checked = clock()
        self._tried: Stamp | None = None
        self._digest = b""
        self._found = self._read_at = clock()
        self._settled = False
        self._seen: Stamp | None = None
        super().__init__(self._read())

    def _read(self) -> LookupContent:
        return self._parsed(*self._bytes())

    def _bytes(self) -> tuple[bytes, Stamp]:
        """The file, with what is to be remembered of this reading."""
        data, stamp = file_content(self.path)
        self._read_at = self._clock()
        if stamp != self._tried:
            self._tried, self._seen, self._found = stamp, stamp, self._read_at
        age = self._wall() - stamp.mtime_ns / 1e9
        self._settled = is_settled(stamp, self._read_at - self._found, age)
        self._digest = hashlib.sha256(data).digest()
        return data, stamp

    def _parsed(self, data: bytes, stamp: Stamp) -> LookupContent:
        return parse_lookup(self.path, data, stamp, self.key, self.select, self.types)

    def refresh(self) -> None:
        if self._clock() - self._checked < self._check_seconds or not self._lock.acquire(blocking=False):
            return
        self._checked = self._clock()
        if isinstance(self.path, str):
            threading.Thread(target=self._look, name="lookup", daemon=True).start()
        else:
            self._look()

    def _look(self) -> None:
        """Holds the lock, and leaves it."""
        try:
            self._reload_if_changed()
        except LookupTableError as error:
            self.failures += 1
            log.error("lookup.kept_old_table", path=without_secrets(self.path), reason=str(error))
        finally:
            self._lock.release()

    def _reload_if_changed(self) -> None:
        stamp = stamp_of(self.path)
        if stamp == self._tried:
            if stamp is None or self._settled or not self._due(stamp):
                return
        elif not self._rests(stamp):
            return
        if stamp is None:
            self._tried = None
            raise LookupTableError(self.path, "a file", "nothing there")
        before = self._digest
        data, stamp = self._bytes()
        if self._digest == before:
            return
        self._content = self._parsed(data, stamp)
        log.info("lookup.reloaded", path=without_secrets(self.path), rows=len(self._content.keys))

    def _due(self, stamp: Stamp) -> bool:
        """Of a store that tells no time a file is read again, but not at each look."""
        return stamp.mtime_ns > 0 or self._clock() - self._read_at >= UNTOLD_SECONDS

    def _rests(self, stamp: Stamp | None) -> bool:
        """A replaced file is complete; one overwritten in place is once two checks find it the same."""
        replaced = stamp is None or self._tried is None or stamp.inode != self._tried.inode
        rests = replaced or stamp == self._seen
        self._seen = stamp
        return rests


_tables: dict[object, KeyedTable] = {}
_tables_lock = threading.Lock()


def lookup_table(
    path: str | Path,
    key: str,
    select: Mapping[str, str],
    types: Mapping[str, ColumnType] | None = None,
    check_seconds: float = CHECK_SECONDS,
) -> KeyedTable:
    """The process's LookupTable for these arguments, loaded by the first caller. Raises LookupTableError."""
    identity = (str(path), key, tuple(select.items()), tuple((types or {}).items()), check_seconds)
    return shared_table(identity, lambda: LookupTable(path, key, select, types, check_seconds))


def shared_table(identity: object, make: Callable[[], KeyedTable]) -> KeyedTable:
    """The process's table of this identity, made by the first caller."""
    with _tables_lock:
        if identity not in _tables:
            _tables[identity] = make()
        return _tables[identity]
