"""From the bytes of a batch to typed columns, strictly, with an exact reason for each record that is refused.

A decoder has a quick way for a whole batch and a careful one for a record. Both accept the same records and
give the same values (a property test holds them to it), so outcomes do not depend on how batches fall.

    decoded = decode_batch(JsonDecoder(contract), [b'{"amount": 1}', b"oops"])
    decoded.table, decoded.rows, decoded.problems     # 1 row, [0], {1: Problem("decode", "not_json", …)}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.contract import Contract
from udfs.records.problems import Problem, RejectedError

SMALLEST_BATCH = 32


class Decoder(Protocol):
    """What a format has to offer to join. `contract` names the fields to extract."""

    contract: Contract

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """The contract's columns for all records, or None when a record needs the careful way."""
        ...

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """One record as a mapping; raises RejectedError. Types are checked by the contract, not here."""
        ...


@dataclass(frozen=True)
class Decoded:
    """Row i of `table` is record `rows[i]` of the batch, which is valid; `problems` has the others."""

    table: pa.Table
    rows: npt.NDArray[np.int64]
    problems: dict[int, Problem]


def decode_batch(decoder: Decoder, raws: Sequence[bytes | None]) -> Decoded:
    """Decodes and checks a batch; never raises for what a record contains."""
    parts: list[tuple[pa.Table, npt.NDArray[np.int64]]] = []
    problems: dict[int, Problem] = {}
    _decode_span(decoder, raws, 0, len(raws), parts, problems)
    if len(parts) == 1:
        return Decoded(*parts[0], problems)
    tables = [table for table, _ in parts] or [decoder.contract.arrow_schema().empty_table()]
    rows = np.concatenate([rows for _, rows in parts]) if parts else np.zeros(0, dtype=np.int64)
    return Decoded(pa.concat_tables(tables).combine_chunks(), rows, problems)


def _decode_span(
    decoder: Decoder,
    raws: Sequence[bytes | None],
    start: int,
    stop: int,
    parts: list[tuple[pa.Table, npt.NDArray[np.int64]]],
    problems: dict[int, Problem],
) -> None:
    """Halves a span until the quick way works or the span is small, so that one bad record costs little."""
    table = decoder.decode_columns(raws[start:stop])
    if table is not None:
        parts.append(_split_violations(decoder, table, raws, start, problems))
    elif stop - start > SMALLEST_BATCH:
        middle = (start + stop) // 2
        _decode_span(decoder, raws, start, middle, parts, problems)
        _decode_span(decoder, raws, middle, stop, parts, problems)
    else:
        parts.append(_decode_records(decoder, raws, start, stop, problems))


def _split_violations(
    decoder: Decoder,
    table: pa.Table,
    raws: Sequence[bytes | None],
    start: int,
    problems: dict[int, Problem],
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    bad = decoder.contract.violations(table)
    if not bad.any():
        return table, np.arange(start, start + table.num_rows)
    for i in np.flatnonzero(bad).tolist():
        problem = _explain(decoder, raws[start + i])
        problems[start + i] = problem
    return table.filter(pa.array(~bad)), start + np.flatnonzero(~bad)


def _explain(decoder: Decoder, raw: bytes | None) -> Problem:
    try:
        problem = decoder.contract.check(decoder.decode_record(raw))
    except RejectedError as rejected:
        return rejected.problem
    return problem or Problem("contract", "wrong_type", "the record does not fit the schema")


def _decode_records(
    decoder: Decoder, raws: Sequence[bytes | None], start: int, stop: int, problems: dict[int, Problem]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    names = [field.name for field in decoder.contract.fields]
    records: list[dict[str, object]] = []
    rows: list[int] = []
    for i in range(start, stop):
        try:
            record = decoder.decode_record(raws[i])
            problem = decoder.contract.check(record)
        except RejectedError as rejected:
            problem = rejected.problem
        if problem:
            problems[i] = problem
        else:
            records.append({name: record.get(name) for name in names})
            rows.append(i)
    schema = decoder.contract.arrow_schema()
    columns = [pa.array([record[name] for record in records], type=schema.field(name).type) for name in names]
    return pa.Table.from_arrays(columns, schema=schema), np.array(rows, dtype=np.int64)
