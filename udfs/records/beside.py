"""Columns from what a record has beside its value: its key, and its headers.

Each is decoded by itself; a record is valid if all of it is, and its first problem counts: of the value, the
key, then the headers in the order of the job. One that is not there has no fields.

>>> from udfs.records.contract import Field
>>> header = BesideParams(Contract((Field("tenant", "string", required=True),)), header="x-tenant")
>>> decoded = BesideDecoder(header, 100).decode([b"acme", None])
>>> decoded.table.to_pylist(), decoded.problems[1].message
([{'tenant': 'acme'}], "header 'x-tenant': required string is missing")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.contract import Contract
from udfs.records.decode import Decoded, Decoder, decode_batch
from udfs.records.formats import FormatParams, make_decoder
from udfs.records.problems import Problem
from udfs.records.raws import Raws, as_array


class BesideParams(msgspec.Struct, frozen=True):
    """Fields of the header of that name, or of the key."""

    contract: Contract
    written: FormatParams = FormatParams("text")
    header: str | None = None


class BesideDecoder:
    """Decodes the keys of a batch, or one of its headers."""

    def __init__(self, params: BesideParams, max_bytes: int) -> None:
        inner = make_decoder(params.contract, max_bytes, params.written)
        self._decoder = _WhereGiven(inner)
        self._where = "key" if params.header is None else f"header {params.header!r}"
        self._path = params.contract.fields[0].path_text if params.written.name == "text" else ""

    def decode(self, raws: Sequence[bytes | None]) -> Decoded:
        """As `decode_batch`; problems say where they are."""
        decoded = decode_batch(self._decoder, raws)
        problems = {row: self._placed(problem) for row, problem in decoded.problems.items()}
        return Decoded(decoded.table, decoded.rows, problems)

    def _placed(self, problem: Problem) -> Problem:
        text = problem.message
        if self._path and text.startswith(self._path):
            message = self._where + text.removeprefix(self._path)
        else:
            message = f"{self._where} {text}" if text.startswith("$") else f"{self._where}: {text}"
        return msgspec.structs.replace(problem, message=message)


class _WhereGiven:
    """A decoder for which nothing is a record without fields."""

    def __init__(self, inner: Decoder) -> None:
        self.contract = inner.contract
        self._inner = inner

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        values = as_array(raws)
        if not values.null_count:
            return self._inner.decode_columns(Raws(values))
        given: npt.NDArray[np.bool_] = values.is_valid().to_numpy(zero_copy_only=False)
        present = values.drop_null()
        if len(present):
            table = self._inner.decode_columns(Raws(present))
        else:
            table = self.contract.arrow_schema().empty_table()
        return None if table is None else table.take(pa.array(np.cumsum(given) - 1, mask=~given))

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        return {} if raw is None else self._inner.decode_record(raw)


def joined(value: Decoded, beside: Sequence[Decoded]) -> Decoded:
    """The records that are valid in all their parts, with all columns."""
    problems = dict(value.problems)
    for part in beside:
        problems = {**part.problems, **problems}
    rows = value.rows
    if problems:
        rows = rows[~np.isin(rows, list(problems))]
    columns, names = [], []
    for part in (value, *beside):
        table = part.table
        if len(part.rows) != len(rows):
            table = table.take(pa.array(np.searchsorted(part.rows, rows)))
        columns += table.columns
        names += table.column_names
    return Decoded(pa.table(dict(zip(names, columns, strict=True))).combine_chunks(), rows, problems)
