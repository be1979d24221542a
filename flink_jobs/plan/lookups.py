"""Looks into the file of a lookup table before a job starts, and says how a topic's table is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.plan.expressions.types import closest
from flink_jobs.spec import JobSpec, Lookup
from flink_jobs.system.certificates import read_pem
from udfs.features.lookup_database import DatabaseParams
from udfs.features.lookup_file import LookupTableError, place_of, read_lookup
from udfs.types import ColumnType


class LookupFileError(InputError):
    """A lookup's file does not do; `part` says which key of the job file is wrong: file, key or select."""

    def __init__(self, error: LookupTableError) -> None:
        self.part, self.expected, self.found = error.part, error.expected, error.found
        self.wanted = f"{error.expected} (lookup {error.part} of {error.path})"
        self.suggestion = closest(error.name, error.choices) if error.name else None
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        super().__init__(f"{error}{hint}")


def describe_lookup(
    path: str | Path,
    key: str,
    select: Mapping[str, str],
    types: Mapping[str, ColumnType] | None = None,
    hints: Mapping[str, ColumnType] | None = None,
) -> dict[str, ColumnType]:
    """The type of each column in `select` (new name -> column of the file).

    `types` are declared; `hints` what columns of a CSV file are if they can be. Raises LookupFileError: the
    file is missing or unreadable, a column is not there, not of its declared type or of one that has no
    counterpart, or a key occurs twice.
    """
    try:
        return read_lookup(place_of(path), key, select, types, hints).types
    except LookupTableError as error:
        raise LookupFileError(error) from None


def topic_lookups(job: JobSpec) -> dict[str, Lookup]:
    """The lookups whose tables are topics, in the order in which records meet them."""
    return {name: lookup for name, lookup in job.features.lookups.items() if lookup.topic}


def file_lookups(job: JobSpec) -> dict[str, Path]:
    """The files of lookups on this machine."""
    found = {name: lookup.file for name, lookup in job.features.lookups.items()}
    return {name: file for name, file in found.items() if isinstance(file, Path)}


def database_params(lookup: Lookup) -> DatabaseParams | None:
    """How workers read a lookup's database. Raises InputError for a PEM file that cannot be read."""
    database = lookup.database
    if database is None:
        return None
    host, port, name = database.server
    return DatabaseParams(
        file=str(database.file) if database.file else None,
        host=host,
        port=port,
        name=name,
        username=database.username or "",
        password=database.password.get_secret_value() if database.password else None,
        ca=read_pem(database.ca_file) if database.ca_file else None,
        table=lookup.table,
        query=lookup.query,
        every_ms=lookup.every,
    )


def table_name(lookup: str) -> str:
    """What the SQL table of a topic's changes is called."""
    return f"table_{lookup}"
