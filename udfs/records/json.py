"""JSON records: Arrow's columnar reader for a batch, the standard library's for a single record.

Stricter than either: one object per record, no duplicate declared key, no NaN, at most `MAX_DEPTH` levels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json

from udfs.records.binary import are_base64
from udfs.records.contract import Contract, ListField
from udfs.records.decimals import JsonNumber, may_have_exponents, texts_of
from udfs.records.framing import check_size, reject, text_of
from udfs.records.maps import Entries, MapField, entries_of, key_path
from udfs.records.problems import Problem, RejectedError
from udfs.records.raws import join_lines
from udfs.records.record_by_record import read_each

MAX_DEPTH = 100
_NEWLINE, _OPEN, _CLOSE, _BRACKET, _CLOSING, _QUOTE, _BACKSLASH = b'\n{}[]"\\'
MAX_INTEGER_DIGITS = 4300


# Reads an element of the list, at that path.
ReadElement = Callable[[object, str, ListField], object]


class JsonDecoder:
    """Decodes UTF-8 JSON objects of at most `max_bytes` bytes."""

    def __init__(self, contract: Contract, max_bytes: int = 512_000) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        self._schema = pa.schema([(each.name, each.written) for each in contract.every])
        self._quick = all(each.quick for each in contract.lists)
        self._parse = pyarrow.json.ParseOptions(
            explicit_schema=self._schema, unexpected_field_behavior="ignore", newlines_in_values=False
        )
        self._lists = {each.name: each for each in contract.lists}
        self._declared = frozenset(field.name for field in contract.fields) | {*self._lists}
        self._load = json.JSONDecoder(
            object_pairs_hook=_Pairs,
            parse_constant=_reject_constant,
            parse_int=parse_int,
            parse_float=JsonNumber if contract.decimals else None,
        ).decode

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly one valid object on one line."""
        if not self._quick:
            return read_each(self, raws)
        table = self._read_table(raws)
        return None if table is None else as_columns(table.select(self._schema.names), self.contract)

    def _read_table(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """The columns as they are written, the others too."""
        blob = join_lines(raws)
        if blob is None or not self._is_plain(blob, len(raws)):
            return None
        if self.contract.decimals and may_have_exponents(blob):
            return None
        options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(blob) + 1)
        try:
            table = pyarrow.json.read_json(pa.BufferReader(blob), options, self._parse)
        except pa.ArrowInvalid:
            return None
        return table if table.num_rows == len(raws) else None

    def _is_plain(self, blob: bytes, records: int) -> bool:
        """Whether line i of the blob is record i, whatever a hostile record contains, and all else is usual.

        Outside of strings `}` and `{` on two lines meet only between two documents, and inside strings a line
        break is not valid; so with this seen n - 1 times, n parsed documents are one per record.
        """
        if not (blob.startswith(b"{") and blob.endswith(b"}") and _is_utf8(blob)):
            return False
        text = np.frombuffer(blob, dtype=np.uint8)
        breaks = np.flatnonzero(text == _NEWLINE)
        if len(breaks) != records - 1:
            return False
        if not ((text[breaks - 1] == _CLOSE).all() and (text[breaks + 1] == _OPEN).all()):
            return False
        longest = np.diff(breaks, prepend=-1, append=len(blob)).max() - 1
        if longest > self.max_bytes or _may_have_constants(blob):
            return False
        brackets = np.count_nonzero(text == _OPEN) + np.count_nonzero(text == _BRACKET)
        return bool(brackets - records < MAX_DEPTH) or self._is_shallow(text, breaks)

    @staticmethod
    def _is_shallow(text: npt.NDArray[np.uint8], breaks: npt.NDArray[np.intp]) -> bool:
        """Whether no record has more levels than are allowed; surely so if it has fewer brackets."""
        opening = np.add((text == _OPEN), (text == _BRACKET), dtype=np.int64)
        starts = np.concatenate(([0], breaks + 1))
        if (np.add.reduceat(opening, starts) <= MAX_DEPTH).all():
            return True
        if (text == _BACKSLASH).any():
            return False
        # Without a backslash each quotation mark begins or ends a string, in which no bracket counts.
        outside = ~np.logical_xor.accumulate(text == _QUOTE)
        closing = np.add((text == _CLOSE), (text == _CLOSING), dtype=np.int64)
        return bool(np.cumsum((opening - closing) * outside).max() <= MAX_DEPTH)

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        if raw is None:
            reject("tombstone", "the record has no value")
        check_size(raw, self.max_bytes)
        text = text_of(raw)
        if not text.strip(" \t\r\n"):
            reject("empty", "the value is empty")
        document = self._parse_text(text)
        if not isinstance(document, _Pairs):
            reject("not_an_object", f"expected a JSON object, got {_json_type(document)}")
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
            reject("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")
        return self._select(document)

    def _parse_text(self, text: str) -> object:
        try:
            return self._load(text)
        except json.JSONDecodeError as error:
            reject("not_json", f"{error.msg.lower().removesuffix(' starting at')} at character {error.pos}")
        except RecursionError:
            reject("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")

    def _select(self, pairs: _Pairs) -> dict[str, object]:
        record: dict[str, object] = {}
        for name, value in pairs.items:
            if name not in self._declared:
                continue
            if name in record:
                reject("duplicate_key", f"$.{name}: stands more than once")
            record[name] = taken(value, f"$.{name}", self._lists.get(name))
        for _, value in pairs.items:
            _reject_constants(value)
        return record


def as_columns(table: pa.Table, contract: Contract) -> pa.Table | None:
    """A table of what is written as the contract's columns; None where a record needs the careful way."""
    for index, field in enumerate(contract.fields):
        if field.digits:
            try:
                made = texts_of(table.column(index), field.digits)
            except ValueError:
                return None
            table = table.set_column(index, field.name, made)
        elif field.type == "bytes" and not are_base64(table.column(index)):
            return None
    return table


def taken(
    value: object, path: str, as_list: ListField | None = None, element: ReadElement | None = None
) -> object:
    """A value as the contract checks it, `{}` for an object. Raises RejectedError."""
    if isinstance(value, _NotFinite):
        raise RejectedError(Problem("contract", "not_finite", f"{path}: got {value.text}"))
    if isinstance(value, str) and not _is_unicode(value):
        reject("invalid_utf8", f"{path}: has half of a surrogate pair")
    if isinstance(as_list, MapField) and isinstance(value, _Pairs):
        return _entries(value, path, as_list)
    if as_list and isinstance(value, list) and not as_list.wrong_length(len(value)):
        read = element or _element
        return [read(each, f"{path}[{place}]", as_list) for place, each in enumerate(value)]
    return {} if isinstance(value, _Pairs) else value


def _entries(pairs: _Pairs, path: str, of: MapField) -> Entries:
    names: set[str] = set()
    for name, _ in pairs.items:
        if name in names:
            reject("duplicate_key", f"{key_path(path, name)}: stands more than once")
        if not _is_unicode(name):
            reject("invalid_utf8", f"{path}: a key has half of a surrogate pair")
        names.add(name)
    return entries_of(pairs.items, of, taken)


def _element(value: object, path: str, of: ListField) -> object:
    """An object with the members that the job names."""
    if of.bare or not isinstance(value, _Pairs):
        return taken(value, path)
    found: dict[str, object] = {}
    for name, inner in value.items:
        if name not in of.names:
            continue
        if name in found:
            reject("duplicate_key", f"{path}.{name}: stands more than once")
        found[name] = taken(inner, f"{path}.{name}")
    return found


class _Pairs:
    """A JSON object with its keys as they stand, duplicates included."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


class _NotFinite:
    """A NaN or infinity token, which is not JSON."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _reject_constant(text: str) -> _NotFinite:
    return _NotFinite(text)


def parse_int(text: str) -> int | float:
    """An integer of more digits than Python takes is infinite."""
    return int(text) if len(text) <= MAX_INTEGER_DIGITS else float("inf")


def _reject_constants(value: object) -> None:
    if isinstance(value, _NotFinite):
        reject("not_json", f"{value.text} is not JSON")
    for child in _children(value):
        _reject_constants(child)


def _children(value: object) -> list[object]:
    if isinstance(value, _Pairs):
        return [child for _, child in value.items]
    return value if isinstance(value, list) else []


def _depth(value: object) -> int:
    """Levels of nesting, counted without recursion."""
    depth, level = 0, [value]
    while level := [node for node in level if isinstance(node, _Pairs | list)]:
        depth += 1
        level = [child for node in level for child in _children(node)]
    return depth


def _may_have_constants(blob: bytes) -> bool:
    """Whether NaN or an infinity may stand in the text; Arrow's reader would take them."""
    return (b"N" in blob and b"NaN" in blob) or (b"I" in blob and b"Inf" in blob)


def _is_utf8(blob: bytes) -> bool:
    try:
        blob.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_type(document: object) -> str:
    match document:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float() | _NotFinite():
            return "number"
        case str():
            return "string"
        case _:
            return "array"
