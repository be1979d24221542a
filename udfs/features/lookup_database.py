"""Joins rows with a table of a database by key: loaded when the job starts, and again at an interval.

planes = DatabaseParams(file="planes.db", table="planes")
DatabaseTable(planes, "tail", {"built": "year"}, {"built": "long"}).join(pa.array(["N1"]))

A reload runs beside the scoring, which goes on with the table that it has; one that fails leaves that in
place, is logged and counted. Databases are only read: SQLite has an authorizer that allows nothing else,
PostgreSQL transactions that are read only, of one statement.
"""

from __future__ import annotations

import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import structlog

from udfs.features.lookup import KeyedTable, shared_table
from udfs.features.lookup_file import LookupContent, LookupTableError, distinct_keys
from udfs.tables.columns import ColumnError, as_type
from udfs.tables.text import from_text
from udfs.types import ColumnType

log = structlog.get_logger(__name__)
# How long a database may take to answer, and a whole query.
CONNECT_SECONDS, QUERY_SECONDS = 10, 60
_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_STEPS = 10_000
Rows = Sequence[Sequence[Any]]


class DatabaseParams(msgspec.Struct, frozen=True):
    """SQLite's `file`, or PostgreSQL's `host` and the rest; and a `table` of it, or a `query`.

    `ca` is PEM text: the server must be known by it, and talked to in secret.
    """

    file: str | None = None
    host: str = ""
    port: int = 5432
    name: str = ""
    username: str = ""
    password: str | None = None
    ca: str | None = None
    table: str | None = None
    query: str | None = None
    every_ms: int = 600_000

    @property
    def place(self) -> str:
        """Where it is, as messages say it."""
        return self.file or f"postgresql://{self.host}:{self.port}/{self.name}"

    def __repr__(self) -> str:
        return f"DatabaseParams({self.place!r})"


class DatabaseTable(KeyedTable):
    """That of one database; `clock` counts seconds, `beside` runs a reload.

    Raises LookupTableError when the table cannot be used at first.
    """

    def __init__(
        self,
        params: DatabaseParams,
        key: str,
        select: Mapping[str, str],
        types: Mapping[str, ColumnType],
        clock: Callable[[], float] = time.monotonic,
        beside: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._params, self._key, self._select, self._wanted = params, key, dict(select), dict(types)
        self._clock, self._beside = clock, beside or _in_a_thread
        self._busy = threading.Lock()
        super().__init__(self._read())
        self._read_at = clock()

    def refresh(self) -> None:
        due = self._clock() - self._read_at >= self._params.every_ms / 1000
        if due and self._busy.acquire(blocking=False):
            self._read_at = self._clock()
            self._beside(self._reload)

    def _reload(self) -> None:
        try:
            self._content = self._read()
            log.info("lookup.reloaded", path=self._params.place, rows=len(self._content.keys))
        except LookupTableError as error:
            self.failures += 1
            log.error("lookup.kept_old_table", path=self._params.place, reason=str(error))
        finally:
            self._busy.release()

    def _read(self) -> LookupContent:
        return read_database(self._params, self._key, self._select, self._wanted)


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="lookup-reload", daemon=True).start()


def database_table(
    params: DatabaseParams, key: str, select: Mapping[str, str], types: Mapping[str, ColumnType]
) -> KeyedTable:
    """The process's table for these arguments, loaded by the first caller. Raises LookupTableError."""
    identity = (params, key, tuple(select.items()), tuple(types.items()))
    return shared_table(identity, lambda: DatabaseTable(params, key, select, types))


def read_database(
    params: DatabaseParams, key: str, select: Mapping[str, str], types: Mapping[str, ColumnType]
) -> LookupContent:
    """Key and columns of `select` (new name -> column), each as its type in `types`.

    Rows without a key are left out. Raises LookupTableError.
    """
    names = list(dict.fromkeys((key, *select.values())))
    rows = (_of_sqlite if params.file else _of_postgresql)(params, statement(params, names))
    columns_of = zip(*rows, strict=True) if rows else ([] for _ in names)
    by_name = dict(zip(names, columns_of, strict=True))
    kept = [row for row, value in enumerate(by_name[key]) if value is not None]
    keys = distinct_keys(params.place, key, _inferred(params, key, [by_name[key][row] for row in kept]))
    columns = {
        name: _typed(params, column, [by_name[column][row] for row in kept], types[name])
        for name, column in select.items()
    }
    return LookupContent(None, keys, columns, dict(types))


def statement(params: DatabaseParams, names: Sequence[str]) -> str:
    """The query of these columns, of the table or of the query; all names are quoted.

    >>> statement(DatabaseParams(file="a.db", table="main.planes"), ["tail", 'od"d'])
    'SELECT q."tail", q."od""d" FROM "main"."planes" AS q'
    """
    # SQLite takes a quoted name that is no column for a text, unless it is said of what.
    columns = ", ".join(f"q.{quoted(name)}" for name in names)
    if params.table is not None:
        return f"SELECT {columns} FROM {'.'.join(map(quoted, params.table.split('.')))} AS q"
    return f"SELECT {columns} FROM (\n{params.query}\n) AS q"


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _of_sqlite(params: DatabaseParams, text: str) -> Rows:
    assert params.file is not None
    deadline = time.monotonic() + QUERY_SECONDS
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(Path(params.file)))}?mode=ro", uri=True, timeout=CONNECT_SECONDS
        )
    except sqlite3.Error as error:
        raise LookupTableError(params.place, "a readable SQLite database", str(error), "database") from None
    try:
        connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
        )
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        return connection.execute(text).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _refused(params, str(error)) from None
    finally:
        connection.close()


def _of_postgresql(params: DatabaseParams, text: str) -> Rows:
    try:
        from pg8000.exceptions import Error  # Optional: the extra `postgresql`.  # noqa: PLC0415
        from pg8000.native import Connection  # Optional, as above.  # noqa: PLC0415
    except ImportError:
        expected = "one that a driver is installed for: pip install 'tailrace[postgresql]' where workers run"
        raise LookupTableError(params.place, expected, "no pg8000", "database") from None
    secured = ssl.create_default_context(cadata=params.ca) if params.ca else None
    try:
        connection = Connection(
            params.username,
            host=params.host,
            port=params.port,
            database=params.name,
            password=params.password,
            timeout=QUERY_SECONDS + CONNECT_SECONDS,
            ssl_context=secured,
            application_name="tailrace",
            startup_params={
                "default_transaction_read_only": "on",
                "statement_timeout": str(QUERY_SECONDS * 1000),
            },
        )
    except (Error, OSError) as error:
        raise LookupTableError(params.place, "a database that answers", _said(error), "database") from None
    try:
        # Not run(): that takes colons for parameters, and several statements at once.
        rows: Rows = connection.execute_unnamed(text).rows or []
        return rows
    except (Error, OSError) as error:
        raise _refused(params, _said(error)) from None
    finally:
        connection.close()


def _said(error: Exception) -> str:
    """What the server says, in a line."""
    told = error.args[0] if error.args else ""
    text = told.get("M", "") if isinstance(told, dict) else str(error)
    return (text.splitlines() or [type(error).__name__])[0][:200]


def _refused(params: DatabaseParams, found: str) -> LookupTableError:
    part = "table" if params.table is not None else "query"
    return LookupTableError(params.place, "one that the database can read", found, part)


def _inferred(params: DatabaseParams, name: str, values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        found = f"{name!r} of {' and '.join(sorted({type(value).__name__ for value in values}))}"
        expected = "a column of one kind of value; cast it in a query"
        raise LookupTableError(params.place, expected, found, "select") from None


def _typed(params: DatabaseParams, name: str, values: Sequence[Any], wanted: ColumnType) -> pa.Array:
    """SQLite has neither booleans nor times: 0 and 1 are the one, ISO texts the other."""
    if wanted == "boolean" and all(value in (None, 0, 1) for value in values):
        values = [None if value is None else bool(value) for value in values]
    if wanted == "double":
        values = [float(value) if isinstance(value, Decimal) else value for value in values]
    array = _inferred(params, name, values)
    try:
        if wanted == "timestamp" and pa.types.is_string(array.type):
            return from_text(array, wanted)
        return as_type(array, wanted)
    except ColumnError as error:
        expected = f"a column of {error.expected}"
        raise LookupTableError(params.place, expected, f"{name!r}: {error.found}", "select") from None
