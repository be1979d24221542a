"""The `features` section of a job file: windows, lookup tables and derived columns."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.aggregates import AggregateText
from flink_jobs.spec.contract import PII
from flink_jobs.spec.database import Database
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.event_time import EventTime, Isolation
from flink_jobs.spec.paths import TableFile
from flink_jobs.spec.scalars import (
    ColumnName,
    Duration,
    Expression,
    PositiveDuration,
    format_duration,
    matching,
    whole,
)
from flink_jobs.spec.section import OneOrMoreReferences, Section, Topic, one_or_more
from udfs.records.personal import Treatment
from udfs.types import ColumnType, TableType

WindowKind = Literal["over", "rows", "tumble", "hop", "session"]
WINDOW_KINDS: tuple[WindowKind, ...] = ("over", "rows", "tumble", "hop", "session")
GROUP_WINDOW_KINDS = frozenset({"tumble", "hop", "session"})

TableColumn = Annotated[str, matching(r"(?=.*\S).{1,200}", "the name of a column of the table")]


class Window(Section):
    """Aggregates by key, over the rows before each event or over groups of rows."""

    by: OneOrMoreReferences = Field(description="Field, or list of fields, whose values make the key.")
    over: PositiveDuration | None = Field(
        default=None, description="The rows of the last so long, this one included."
    )
    rows: Annotated[int, whole(1, 10_000)] | None = Field(
        default=None, description="The last so many rows, this one included."
    )
    tumble: PositiveDuration | None = Field(default=None, description="Windows side by side, each so long.")
    hop: PositiveDuration | None = Field(
        default=None, description="Overlapping windows, each so long; see every."
    )
    every: PositiveDuration | None = Field(
        default=None, description="Time between the starts of hop windows."
    )
    session: PositiveDuration | None = Field(
        default=None, description="Windows that end after so long a silence."
    )
    select: Annotated[dict[ColumnName, AggregateText], Field(min_length=1)] = Field(
        description="New column name: aggregate."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Window:
        given = [kind for kind in WINDOW_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise wrong(
                "a window with exactly one of over, rows, tumble, hop or session",
                " and ".join(given) or "none",
            )
        if self.every is None and self.hop is not None:
            raise wrong_at(
                {("every",): wrong("given with hop, as the time between window starts", "nothing")}
            )
        if self.every is not None:
            self._check_every(self.every)
        return self

    def _check_every(self, every: int) -> None:
        found = format_duration(every)
        if self.hop is None:
            raise wrong_at({("every",): wrong("left out, as it is for hop windows only", found)})
        if self.hop % every:
            raise wrong_at(
                {("every",): wrong(f"a duration that divides hop ({format_duration(self.hop)})", found)}
            )

    @model_validator(mode="after")
    def _check_by(self) -> Window:
        repeated: dict[Location, PydanticCustomError] = {
            ("by", index): wrong("a field listed once", f"{name!r} again")
            for index, name in enumerate(self.by)
            if name in self.by[:index]
        }
        if repeated:
            raise wrong_at(repeated)
        return self

    @property
    def kind(self) -> WindowKind:
        return next(kind for kind in WINDOW_KINDS if getattr(self, kind) is not None)

    @property
    def size(self) -> int:
        """Milliseconds, or the number of rows for `rows`; the gap for `session`."""
        size: int = getattr(self, self.kind)
        return size


class SelectedColumn(Section):
    """A column of a lookup's table, and its type."""

    column: TableColumn = Field(description="Column of the table; of a topic a path, a.b.c.")
    type: TableType | None = Field(
        default=None,
        description="Its type; a topic's column needs one. Default: in Parquet the column's own, in "
        "CSV that of the model's input that it feeds, else what its values look like.",
    )
    pii: Treatment | None = Field(default=None, description=PII)


def _column_of(value: object) -> object:
    """A column's name alone, as the section."""
    if not isinstance(value, str | dict):
        raise wrong("the name of a column of the table, or a mapping of column and type", describe(value))
    return {"column": value} if isinstance(value, str) else value


def _mapping_of(select: object) -> object:
    """A list of columns as a mapping of each to itself."""
    if not select or not isinstance(select, dict | list):
        raise wrong("a list of columns, or a mapping of new name: column")
    if isinstance(select, dict):
        return select
    errors: dict[Location, PydanticCustomError] = {}
    for index, name in enumerate(select):
        if not isinstance(name, str):
            errors[index,] = wrong("the name of a column of the table", describe(name))
        elif name in select[:index]:
            errors[index,] = wrong("a column listed once", f"{describe(name)} again")
    if errors:
        raise wrong_at(errors)
    return {name: name for name in select}


class TableTime(EventTime):
    """Since when rows of a topic's table are as they are, and how far out of order they may come."""

    idle: PositiveDuration = Field(
        default="5s",
        validate_default=True,
        description="A partition silent for so long holds no record back.",
    )


LookupKind = Literal["file", "topic", "database"]
LOOKUP_KINDS: tuple[LookupKind, ...] = ("file", "topic", "database")
# The keys that only one kind of lookup has.
_OWN_KEYS: dict[str, LookupKind] = {
    "envelope": "topic",
    "event_time": "topic",
    "wait": "topic",
    "retention": "topic",
    "isolation": "topic",
    "table": "database",
    "query": "database",
    "every": "database",
}
TABLE_NAME = r"[A-Za-z_][A-Za-z0-9_$]{0,127}(\.[A-Za-z_][A-Za-z0-9_$]{0,127})?"
# What a topic's JSON can hold.
_JSON_TYPES = ("string", "double", "long", "boolean")


class Lookup(Section):
    """A table, joined by key: a file's, a database's, or a topic's as of each record's event time."""

    file: TableFile | None = Field(
        default=None, description="Parquet or CSV file, relative to the job file, or a URI."
    )
    topic: Topic | None = Field(
        default=None, description="Kafka topic whose JSON records are the changes of a table."
    )
    database: Database | None = Field(
        default=None, description="SQLite or PostgreSQL, of which a table is read again and again."
    )
    table: Annotated[str, matching(TABLE_NAME, "the name of a table, or schema.table")] | None = Field(
        default=None, description="Of a database: the table."
    )
    query: Annotated[str, matching(r"(?=[\s\S]*\S)[\s\S]{1,10000}", "a query")] | None = Field(
        default=None, description="Of a database: a SELECT instead of a table."
    )
    every: PositiveDuration = Field(
        default="10m", validate_default=True, description="Of a database: how often it is read again."
    )
    by: OneOrMoreReferences = Field(
        description="Column of the job that holds the key, or with a topic a list of columns."
    )
    key: Annotated[
        tuple[TableColumn, ...], Field(strict=False, min_length=1), BeforeValidator(one_or_more)
    ] = Field(
        default=(), validate_default=False, description="Columns of the table with the key; default: as by."
    )
    select: Annotated[
        dict[ColumnName, Annotated[SelectedColumn, BeforeValidator(_column_of)]],
        BeforeValidator(_mapping_of),
    ] = Field(
        description="Columns to take: a list, or a mapping of new name: column of the table, or of new name: "
        "{column, type}."
    )
    envelope: Literal["none", "debezium"] = Field(
        default="none", description="Of a topic: rows as they are, or Debezium's changes of them."
    )
    event_time: TableTime = Field(
        default_factory=TableTime,
        description="Of a topic: since when a row is as it is; default: its timestamp.",
    )
    wait: Duration = Field(
        default="0s",
        validate_default=True,
        description="Of a topic: how long after its event time a record waits for changes that come late.",
    )
    retention: PositiveDuration | None = Field(
        default=None,
        description="Of a topic: a row is unknown so long after its last change; default: never.",
    )
    isolation: Isolation = Field(
        default="read_committed", description="Of a topic: whether records of aborted transactions are read."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_key(cls, data: Any) -> Any:
        named = isinstance(data, dict) and isinstance(data.get("by"), str | list)
        return {"key": data["by"], **data} if named else data

    @model_validator(mode="after")
    def _check_kind(self) -> Lookup:
        given = [kind for kind in LOOKUP_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise wrong(f"a lookup with exactly one of {' or '.join(LOOKUP_KINDS)}", found)
        errors: dict[Location, PydanticCustomError] = {
            (key,): wrong(f"left out, as it is for lookups of a {kind}", "a value")
            for key, kind in _OWN_KEYS.items()
            if key in self.model_fields_set and kind != self.kind
        }
        if self.kind == "database" and (self.table is None) == (self.query is None):
            errors["database",] = wrong(
                "with exactly one of table or query", "both" if self.table else "none"
            )
        errors |= self._key_errors() | self._type_errors()
        if errors:
            raise wrong_at(errors)
        return self

    def _key_errors(self) -> dict[Location, PydanticCustomError]:
        if self.kind != "topic" and len(self.by) > 1:
            return {("by",): wrong(f"one column, as the table is a {self.kind}'s", f"{len(self.by)}")}
        if len(self.by) != len(self.key):
            return {("key",): wrong(f"as many columns as by, {len(self.by)}", f"{len(self.key)}")}
        return {
            ("by", index): wrong("a column listed once", f"{name!r} again")
            for index, name in enumerate(self.by)
            if name in self.by[:index]
        }

    def _type_errors(self) -> dict[Location, PydanticCustomError]:
        if self.kind == "file":
            return {}
        kinds = _JSON_TYPES if self.kind == "topic" else get_args(TableType)
        expected = f"{{type: {' or '.join(kinds)}}}, as a {self.kind} does not say its types"
        return {
            ("select", name): wrong(expected, taken.type or "no type")
            for name, taken in self.select.items()
            if taken.type not in kinds
        }

    @model_validator(mode="after")
    def _check_types(self) -> Lookup:
        types: dict[str, ColumnType] = {}
        for name, taken in self.select.items():
            if taken.type and types.setdefault(taken.column, taken.type) != taken.type:
                expected = f"{types[taken.column]}, as {taken.column} is elsewhere in this lookup"
                raise wrong_at({("select", name, "type"): wrong(expected, taken.type)})
        return self

    @property
    def kind(self) -> LookupKind:
        return next(kind for kind in LOOKUP_KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> dict[str, str]:
        """New name to column of the table."""
        return {name: taken.column for name, taken in self.select.items()}

    @property
    def types(self) -> dict[str, ColumnType]:
        """The types that are declared, by new name."""
        return {name: taken.type for name, taken in self.select.items() if taken.type}


class Features(Section):
    """What the model sees besides the fields of the record."""

    windows: Annotated[dict[ColumnName, Window], Field(max_length=100)] = Field(
        default_factory=dict, description="Aggregates by key."
    )
    lookups: Annotated[dict[ColumnName, Lookup], Field(max_length=100)] = Field(
        default_factory=dict, description="Tables, joined by key."
    )
    derive: dict[ColumnName, Expression] = Field(
        default_factory=dict, description="New column name: SQL expression over fields, windows and lookups."
    )
