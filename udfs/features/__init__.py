"""The columns that a model sees beyond the record's own: lookups and derived features."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from udfs.features.expressions import evaluate, nonfinite
from udfs.features.lookup import lookup_table
from udfs.isolate import isolate
from udfs.records.problems import Problem
from udfs.types import ColumnType


class LookupParams(msgspec.Struct, frozen=True):
    """A static table joined by a column; `select` maps new names to columns of the file, `types` to types."""

    path: str
    by: str
    key: str
    select: dict[str, str]
    types: dict[str, ColumnType]


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
        self._tables = [
            (lookup, lookup_table(lookup.path, lookup.key, lookup.select, lookup.types))
            for lookup in params.lookups
        ]
        self.misses = 0

    def compute(self, table: pa.Table) -> tuple[pa.Table, dict[int, Problem]]:
        """The wider table, and the problem of each row of which a feature cannot be computed (it is null)."""
        for lookup, source in self._tables:
            joined, misses = source.join(table.column(lookup.by).combine_chunks())
            self.misses += misses
            for name, column in joined.items():
                table = table.append_column(name, column)
        problems: dict[int, Problem] = {}
        for derived in self._params.derived:
            table = table.append_column(derived.name, self._derive(derived, table, problems))
        return table, problems

    def _derive(
        self, derived: DerivedParams, table: pa.Table, problems: dict[int, Problem]
    ) -> pa.ChunkedArray:
        spans, failures = isolate(lambda part: evaluate(derived.tree, part, part.num_rows), table)
        for row, error in failures.items():
            problems.setdefault(row, Problem("feature", "feature_error", f"{derived.name}: {error}"[:300]))
        pieces = {start: column for start, _, column in spans}
        kind = spans[0][2].type if spans else pa.null()
        pieces |= {row: pa.nulls(1, kind) for row in failures}
        column = pa.chunked_array([pieces[start] for start in sorted(pieces)], type=kind)
        single = column.combine_chunks()
        for row in np.flatnonzero(nonfinite(single)).tolist():
            message = f"{derived.name}: the result is not finite (division by zero?)"
            problems.setdefault(row, Problem("feature", "not_finite", message))
        return column
