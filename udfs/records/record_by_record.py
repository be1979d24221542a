"""A batch that is read record by record, for what no reader of whole batches knows."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from udfs.records.decode import Decoder
from udfs.records.plain import is_plain
from udfs.records.problems import RejectedError


def read_each(decoder: Decoder, raws: Sequence[bytes | None]) -> pa.Table | None:
    """The columns of all records, or None if one of them is not valid."""
    try:
        records = [decoder.decode_record(raw) for raw in raws]
    except RejectedError:
        return None
    contract = decoder.contract
    return contract.columns(records) if is_plain(contract, records) else None
