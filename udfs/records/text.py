"""Text that is one value: a record's key as Kafka's string serializer writes it, or a header.

>>> from udfs.records.contract import Field
>>> decoder = TextDecoder(Contract((Field("tries", "long"),)), 100)
>>> decoder.decode_record(b"12")
{'tries': 12}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.contract import Contract
from udfs.records.framing import check_size, reject, text_of
from udfs.records.problems import Problem, RejectedError
from udfs.records.raws import as_array
from udfs.types import ARROW, ColumnType

# As JSON writes them, so that a text has one meaning.
_LONG = r"-?(0|[1-9][0-9]*)"
PATTERNS: dict[ColumnType, str] = {
    "long": _LONG,
    "double": rf"{_LONG}(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "boolean": "true|false",
}
PARSE: dict[ColumnType, Callable[[str], object]] = {
    "string": str,
    # Longer ones are beyond 64 bits, and may be too long for int.
    "long": lambda text: int(text[:21]),
    "double": float,
    "boolean": lambda text: text == "true",
}


class TextDecoder:
    """Decodes UTF-8 of at most `max_bytes` bytes; the contract has one field."""

    def __init__(self, contract: Contract, max_bytes: int) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        (self._field,) = contract.fields
        self._pattern = PATTERNS.get(self._field.type, "")
        self._parse = PARSE[self._field.type]

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """The column of the whole batch, or None if any text is not plainly one value."""
        values = as_array(raws)
        if not len(values) or values.null_count or pc.max(pc.binary_length(values)).as_py() > self.max_bytes:
            return None
        try:
            texts = values.cast(pa.string())
            if (
                self._pattern
                and not pc.all(pc.match_substring_regex(texts, f"^({self._pattern})\\z")).as_py()
            ):
                return None
            column = texts.cast(ARROW[self._field.type])
        except pa.ArrowInvalid:
            return None
        return pa.Table.from_arrays([column], schema=self.contract.arrow_schema())

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The one field; raises RejectedError with the reason."""
        if raw is None:
            reject("tombstone", "there is no value")
        check_size(raw, self.max_bytes)
        text = text_of(raw)
        if self._pattern and not re.fullmatch(self._pattern, text):
            found = f"{self._field.path_text}: expected {self._field.type}, got another text"
            raise RejectedError(Problem("contract", "wrong_type", found))
        return {self._field.name: self._parse(text)}
