"""The `features` section of a job file: windows, lookup tables and derived columns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.aggregates import AggregateText
from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.paths import TableFile
from flink_jobs.spec.scalars import ColumnName, Expression, PositiveDuration, format_duration, matching, whole
from flink_jobs.spec.section import OneOrMoreReferences, Reference, Section
from flink_jobs.spec.source import PII
from udfs.records.personal import Treatment
from udfs.types import ColumnType

WindowKind = Literal["over", "rows", "tumble", "hop", "session"]
WINDOW_KINDS: tuple[WindowKind, ...] = ("over", "rows", "tumble", "hop", "session")
GROUP_WINDOW_KINDS = frozenset({"tumble", "hop", "session"})

FileColumn = Annotated[str, matching(r"(?=.*\S).{1,200}", "the name of a column of the file")]


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
    """A column of a lookup's file, and its type."""

    column: FileColumn = Field(description="Column of the file.")
    type: ColumnType | None = Field(
        default=None,
        description="Its type. Default: in Parquet the column's own, in CSV that of the model's input "
        "that it feeds, else what its values look like.",
    )
    pii: Treatment | None = Field(default=None, description=PII)


def _column_of(value: object) -> object:
    """A column's name alone, as the section."""
    if not isinstance(value, str | dict):
        raise wrong("the name of a column of the file, or a mapping of column and type", describe(value))
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
            errors[index,] = wrong("the name of a column of the file", describe(name))
        elif name in select[:index]:
            errors[index,] = wrong("a column listed once", f"{describe(name)} again")
    if errors:
        raise wrong_at(errors)
    return {name: name for name in select}


class Lookup(Section):
    """A static table, joined by key."""

    file: TableFile = Field(description="Parquet or CSV file, relative to the job file.")
    by: Reference = Field(description="Column of the job that holds the key.")
    key: FileColumn = Field(
        default="", validate_default=False, description="Column of the file with the key; default: as by."
    )
    select: Annotated[
        dict[ColumnName, Annotated[SelectedColumn, BeforeValidator(_column_of)]], BeforeValidator(_mapping_of)
    ] = Field(
        description="Columns to take: a list, or a mapping of new name: column of the file, or of new name: "
        "{column, type}."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_key(cls, data: Any) -> Any:
        named = isinstance(data, dict) and isinstance(data.get("by"), str)
        return {"key": data["by"], **data} if named else data

    @model_validator(mode="after")
    def _check_types(self) -> Lookup:
        types: dict[str, ColumnType] = {}
        for name, taken in self.select.items():
            if taken.type and types.setdefault(taken.column, taken.type) != taken.type:
                expected = f"{types[taken.column]}, as {taken.column} is elsewhere in this lookup"
                raise wrong_at({("select", name, "type"): wrong(expected, taken.type)})
        return self

    @property
    def columns(self) -> dict[str, str]:
        """New name to column of the file."""
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
        default_factory=dict, description="Static tables, joined by key."
    )
    derive: dict[ColumnName, Expression] = Field(
        default_factory=dict, description="New column name: SQL expression over fields, windows and lookups."
    )
