"""The columns that a model sees beyond the record's own: lookups and derived features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from udfs.features.expressions import evaluate, nonfinite
from udfs.features.lookup import KeyedTable, lookup_table
from udfs.features.lookup_database import DatabaseParams, database_table
from udfs.isolate import isolate, isolate_spans
from udfs.records.problems import Problem, unexpected
from udfs.store.artifacts import path_of
from udfs.types import ARROW, ColumnType


class LookupParams(msgspec.Struct, frozen=True):
    """A static table joined by a column; `select` maps new names to columns of it, `types` to types.

    It is that of the file at `path`, or of `database`.
    """

    path: str
    by: str
    key: str
    select: dict[str, str]
    types: dict[str, ColumnType]
    database: DatabaseParams | None = None


class DerivedParams(msgspec.Struct, frozen=True):
    """A derived feature: its name and its expression tree."""

    name: str
    tree: Any


class FeatureParams(msgspec.Struct, frozen=True):
    """Lookups come first, then derived features in the order of their dependencies."""

    lookups: tuple[LookupParams, ...] = ()
    derived: tuple[DerivedParams, ...] = ()


class FeatureBuilder:
    """Adds lookups and derived features to a table; counts keys that a lookup does not have."""

    def __init__(self, params: FeatureParams) -> None:
        self._params = params
        self._tables = [(lookup, _table_of(lookup)) for lookup in params.lookups]
        self.misses = 0

    @property
    def failures(self) -> int:
        """How often a table could not be read again."""
        return sum(table.failures for _, table in self._tables)

    def compute(self, table: pa.Table) -> tuple[pa.Table, dict[int, Problem]]:
        """The wider table, and the problem of each row of which a feature cannot be computed (it is null)."""
        problems: dict[int, Problem] = {}
        for lookup, source in self._tables:
            table = self._join(lookup, source, table, problems)
        for derived in self._params.derived:
            table = table.append_column(derived.name, self._derive(derived, table, problems))
        return table, problems

    def _join(
        self, lookup: LookupParams, source: KeyedTable, table: pa.Table, problems: dict[int, Problem]
    ) -> pa.Table:
        """The table with the lookup's columns; they are null where joining a row fails."""
        keys = table.column(lookup.by).combine_chunks()
        if not len(keys):
            joined, _ = source.join(keys)
            return _append(table, joined)
        spans, failures = isolate_spans(
            lambda start, stop: source.join(keys.slice(start, stop - start)), len(keys)
        )
        problems |= {row: unexpected("feature", error) for row, error in failures.items()}
        self.misses += sum(misses for _, _, (_, misses) in spans)
        if len(spans) == 1 and not failures:
            return _append(table, spans[0][2][0])
        found = {start: joined for start, _, (joined, _) in spans}
        names = source.types or {}
        pieces = {
            name: {start: joined[name] for start, joined in found.items()}
            | {row: pa.nulls(1, ARROW[names[name]]) for row in failures}
            for name in names
        }
        columns = {name: pa.concat_arrays([of[at] for at in sorted(of)]) for name, of in pieces.items()}
        return _append(table, columns)

    def _derive(
        self, derived: DerivedParams, table: pa.Table, problems: dict[int, Problem]
    ) -> pa.ChunkedArray:
        spans, failures = isolate(lambda part: evaluate(derived.tree, part, part.num_rows), table)
        for row, error in failures.items():
            problems.setdefault(row, Problem("feature", "feature_error", f"{derived.name}: {_cause(error)}"))
        pieces = {start: column for start, _, column in spans}
        kind = ARROW[derived.tree[1]]
        pieces |= {row: pa.nulls(1, kind) for row in failures}
        column = pa.chunked_array([pieces[start] for start in sorted(pieces)], type=kind)
        single = column.combine_chunks()
        for row in np.flatnonzero(nonfinite(single)).tolist():
            message = f"{derived.name}: the result is not finite (division by zero?)"
            problems.setdefault(row, Problem("feature", "not_finite", message))
        return column


def _table_of(lookup: LookupParams) -> KeyedTable:
    if lookup.database:
        return database_table(lookup.database, lookup.key, lookup.select, lookup.types)
    return lookup_table(path_of(lookup.path), lookup.key, lookup.select, lookup.types)


# What Arrow says of a failed computation without a value of the record.
_CAUSES = ("overflow", "divide by zero", "out of range")


def _cause(error: Exception) -> str:
    """What went wrong, without the error's own text: that may hold values of the record."""
    said = str(error).lower()
    return next((cause for cause in _CAUSES if cause in said), f"cannot be computed ({type(error).__name__})")


def _append(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table
