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
from udfs.records.fields import Field
from udfs.records.framing import check_size, reject, text_of
from udfs.records.problems import Problem, RejectedError
from udfs.records.raws import as_array
from udfs.types import ARROW, ColumnType

# As JSON writes them, so that a text has one meaning.
_LONG = r"-?(0|[1-9][0-9]*)"
_PATTERNS: dict[ColumnType, str] = {
    "long": _LONG,
    "double": rf"{_LONG}(\.[0-9]+)?([eE][+-]?[0-9]+)?",
    "boolean": "true|false",
}
_PARSE: dict[ColumnType, Callable[[str], object]] = {
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

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """The column of the whole batch, or None if any text is not plainly one value."""
        values = as_array(raws)
        if not len(values) or values.null_count or pc.max(pc.binary_length(values)).as_py() > self.max_bytes:
            return None
        try:
            texts = values.cast(pa.string())
            if not are_values(self._field.type, texts):
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
        return {self._field.name: parsed(self._field, text_of(raw))}


def are_values(kind: ColumnType, texts: pa.Array) -> bool:
    """Whether all texts, but for nulls, are values of the type."""
    pattern = _PATTERNS.get(kind)
    return not pattern or pc.all(pc.match_substring_regex(texts, rf"\A({pattern})\z")).as_py() is not False


def parsed(field: Field, text: str) -> object:
    """The value that a text is; raises RejectedError for one of another type."""
    pattern = _PATTERNS.get(field.type)
    if pattern and not re.fullmatch(pattern, text):
        found = f"{field.path_text}: expected {field.type}, got another text"
        raise RejectedError(Problem("contract", "wrong_type", found))
    return _PARSE[field.type](text)
