"""Numbers for keys: each distinct key has a slot, from 0 on.

slots = Slots(["card"])
slots.of(rows)   # array([0, 1, 0])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.windows.columns import Ints, kind_of, read_column, write_column


class Slots(dict[Any, int]):
    """Keys are Python's values: compared exactly, null is one of them, -0.0 is 0.0."""

    def __init__(self, by: Sequence[str]) -> None:
        super().__init__()
        self._by = by

    def __missing__(self, key: Any) -> int:
        self[key] = slot = len(self)
        return slot

    def of(self, rows: pa.Table) -> Ints:
        """The slot of each row; Python sees each distinct key of the rows once."""
        keys, codes = distinct_keys(rows, self._by)
        return np.array([self[key] for key in keys], dtype=np.int64)[codes]

    def keep(self, slots: Ints) -> None:
        """Only these slots remain, numbered anew in their order."""
        keys = list(self)
        self.clear()
        for slot in slots.tolist():
            self[keys[slot]] = len(self)


def distinct_keys(rows: pa.Table, by: Sequence[str]) -> tuple[list[Any], Ints]:
    """The distinct keys, and for each row which one it has; keys of several columns are tuples."""
    keys, codes = _distinct(rows.column(by[0]))
    if len(by) == 1:
        return keys, codes
    parts = [keys]
    of_part = [np.arange(len(keys))]
    for name in by[1:]:
        more, more_codes = _distinct(rows.column(name))
        pairs, codes = np.unique(codes * len(more) + more_codes, return_inverse=True)
        of_part = [at[pairs // len(more)] for at in of_part] + [pairs % len(more)]
        parts.append(more)
    return list(
        zip(*([part[i] for i in at] for part, at in zip(parts, of_part, strict=True)), strict=True)
    ), codes


def _distinct(column: pa.ChunkedArray) -> tuple[list[Any], Ints]:
    kind = kind_of(column.type)
    if kind == "double":
        column = write_column(read_column(column, kind), kind)
    elif isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = column.dictionary_encode(null_encoding="encode")
    return read_column(encoded.dictionary, kind).listed(), encoded.indices.to_numpy().astype(np.int64)
