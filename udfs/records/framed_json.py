r"""JSON in Confluent's wire format, as its serializers write it: after the id of a schema.

>>> from udfs.records.contract import Field
>>> from udfs.records.json import JsonDecoder
>>> decoder = FramedJsonDecoder(JsonDecoder(Contract((Field("n", "long"),))), 100)
>>> decoder.decode_record(b'\x00\x00\x00\x00\x07{"n": 1}')
{'n': 1}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from udfs.records.contract import Contract
from udfs.records.framing import HEAD, check_value, schema_id
from udfs.records.json import JsonDecoder


class FramedJsonDecoder:
    """Decodes what follows the id by another decoder; the contract alone says what is valid."""

    def __init__(self, inner: JsonDecoder, max_bytes: int) -> None:
        self.contract: Contract = inner.contract
        self.max_bytes = max_bytes
        self._inner = inner

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        bodies: list[bytes] = []
        for raw in raws:
            if raw is None or len(raw) <= HEAD or raw[0] or len(raw) > self.max_bytes:
                return None
            bodies.append(raw[HEAD:])
        return self._inner.decode_columns(bodies)

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        value = check_value(raw, self.max_bytes)
        schema_id(value)
        return self._inner.decode_record(value[HEAD:])
