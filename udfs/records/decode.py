"""From the bytes of a batch to typed columns, strictly, with an exact reason for each record that is refused.

A decoder has a quick way for a whole batch and a careful one for a record. Both accept the same records and
give the same values (a property test holds them to it), so outcomes do not depend on how batches fall.

Where a decoder raises anything but RejectedError, the records on which it does become dead letters.

>>> from udfs.records.contract import Field
>>> from udfs.records.json import JsonDecoder
>>> decoder = JsonDecoder(Contract((Field("amount", "double"),)))
>>> decoded = decode_batch(decoder, [b'{"amount": 1}', b"oops"])
>>> decoded.table.to_pylist(), decoded.rows.tolist(), decoded.problems[1].reason
([{'amount': 1.0}], [0], 'not_json')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.contract import Contract, Mask
from udfs.records.numbers import without_negative_zero
from udfs.records.problems import Problem, RejectedError, unexpected

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
    quick = _decode_quickly(decoder, raws[start:stop])
    if quick is not None:
        parts.append(_split_violations(decoder, *quick, raws, start, problems))
    elif stop - start > SMALLEST_BATCH:
        middle = (start + stop) // 2
        _decode_span(decoder, raws, start, middle, parts, problems)
        _decode_span(decoder, raws, middle, stop, parts, problems)
    else:
        parts.append(_decode_records(decoder, raws, start, stop, problems))


def _decode_quickly(decoder: Decoder, raws: Sequence[bytes | None]) -> tuple[pa.Table, Mask] | None:
    """The columns of all records and which break the contract; None where only the careful way can tell."""
    try:
        table = decoder.decode_columns(raws)
        if table is None:
            return None
        table = without_negative_zero(table)
        return table, decoder.contract.violations(table)
    except Exception:  # the careful way finds the records that it is about
        return None


def _split_violations(
    decoder: Decoder,
    table: pa.Table,
    bad: Mask,
    raws: Sequence[bytes | None],
    start: int,
    problems: dict[int, Problem],
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    if not bad.any():
        return table, np.arange(start, start + table.num_rows)
    for i in np.flatnonzero(bad).tolist():
        found = _decode_record(decoder, raws[start + i])
        unfit = Problem("contract", "wrong_type", "the record does not fit the schema")
        problems[start + i] = found if isinstance(found, Problem) else unfit
    return table.filter(pa.array(~bad)), start + np.flatnonzero(~bad)


def _decode_records(
    decoder: Decoder, raws: Sequence[bytes | None], start: int, stop: int, problems: dict[int, Problem]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    records: dict[int, Mapping[str, object]] = {}
    for i in range(start, stop):
        found = _decode_record(decoder, raws[i])
        if isinstance(found, Problem):
            problems[i] = found
        else:
            records[i] = found
    try:
        return decoder.contract.columns(records.values()), np.array(list(records), dtype=np.int64)
    except Exception:  # one by one, to find those that it is about
        return _to_table_one_by_one(decoder.contract, records, problems)


def _decode_record(decoder: Decoder, raw: bytes | None) -> Mapping[str, object] | Problem:
    """The record, or what is wrong with it."""
    try:
        record = decoder.decode_record(raw)
        return decoder.contract.check(record) or record
    except RejectedError as rejected:
        return rejected.problem
    except Exception as error:  # a decoder's own failure is an outcome of its record
        return unexpected("decode", error)


def _to_table_one_by_one(
    contract: Contract, records: Mapping[int, Mapping[str, object]], problems: dict[int, Problem]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    tables: dict[int, pa.Table] = {}
    for i, record in records.items():
        try:
            tables[i] = contract.columns([record])
        except Exception as error:  # what Arrow cannot hold is an outcome of its record
            problems[i] = unexpected("decode", error)
    table = pa.concat_tables([contract.arrow_schema().empty_table(), *tables.values()])
    return table, np.array(list(tables), dtype=np.int64)
