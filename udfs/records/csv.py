"""CSV records, one line each (RFC 4180): Arrow reads a batch, a small grammar a single record.

>>> from udfs.records.contract import Field
>>> contract = Contract((Field("name", "string"), Field("size", "double")))
>>> decoder = CsvDecoder(contract, CsvParams(("name", "colour", "size")), 1_000)
>>> decoder.decode_record(b'"a ""red"" one, or so",,2.5')
{'name': 'a "red" one, or so', 'size': 2.5}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from udfs.records.contract import Contract
from udfs.records.csv_params import CsvParams
from udfs.records.fields import Field, check_value
from udfs.records.framing import check_value as check_bytes
from udfs.records.framing import reject, text_of
from udfs.records.raws import Raws, as_array, join_lines
from udfs.records.text import are_values, parsed
from udfs.types import ARROW


class CsvDecoder:
    """Decodes lines of at most `max_bytes` bytes of UTF-8, with or without a line break at their end."""

    def __init__(self, contract: Contract, params: CsvParams, max_bytes: int) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        self._params = params
        delimiter = re.escape(params.delimiter)
        quoted, plain = '"[^"]*(?:""[^"]*)*"', rf'[^"\r\n{delimiter}]*'
        value = f"(?:{quoted}|{plain})"
        # RE2, which Arrow has, takes bounded repeats of 1,000 at most.
        self._line = rf"\A{value}(?:{delimiter}{value})*\z"
        self._value = re.compile(f"({quoted}|{plain})({delimiter}|\\Z)")
        self._places = {field.name: params.columns.index(field.steps[0]) for field in contract.fields}
        self._parse = pyarrow.csv.ParseOptions(
            delimiter=params.delimiter, newlines_in_values=False, ignore_empty_lines=False
        )
        names = [str(place) for place in range(len(params.columns))]
        self._names = {field.name: names[self._places[field.name]] for field in contract.fields}
        self._convert = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(dict.fromkeys(self._names.values())),
            null_values=[params.null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        self._columns = names

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        values = as_array(raws)
        if not len(values) or values.null_count:
            return None
        lengths = pc.min_max(pc.binary_length(values)).as_py()
        if lengths["min"] == 0 or lengths["max"] > self.max_bytes:
            return None
        try:
            texts = self._read(values)
            return None if texts is None else self._typed(texts)
        except pa.ArrowInvalid:
            return None

    def _read(self, values: pa.Array) -> pa.Table | None:
        """The columns as texts; raises ArrowInvalid."""
        lines = values.cast(pa.string())
        if pc.any(pc.ends_with(lines, "\n")).as_py():
            lines = pc.replace_substring_regex(lines, r"\r?\n\z", "")
        if len(self._columns) > 1 and pc.any(pc.equal(lines, "")).as_py():
            return None  # which Arrow fills with nulls
        blob = join_lines(Raws(lines.cast(pa.binary())))
        if blob is None or blob.count(b"\n") != len(lines) - 1 or b"\r" in blob or b"\0" in blob:
            return None
        # Arrow reads more than the grammar allows where values are quoted.
        if b'"' in blob and not pc.all(pc.match_substring_regex(lines, self._line)).as_py():
            return None
        read = pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(blob) + 2, column_names=self._columns
        )
        table = pyarrow.csv.read_csv(pa.BufferReader(blob + b"\n"), read, self._parse, self._convert)
        return table if table.num_rows == len(lines) else None

    def _typed(self, texts: pa.Table) -> pa.Table | None:
        columns = []
        for field in self.contract.fields:
            column = self._column(field, texts.column(self._names[field.name]).combine_chunks())
            if column is None:
                return None
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=self.contract.arrow_schema())

    @staticmethod
    def _column(field: Field, texts: pa.Array) -> pa.Array | None:
        if field.type in ("decimal", "bytes"):
            values = texts.to_pylist()
            wrong = any(value is not None and check_value(field, value, "") for value in values)
            return None if wrong else field.column(values)
        return texts.cast(ARROW[field.type]) if are_values(field.type, texts) else None

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        text = text_of(check_bytes(raw, self.max_bytes))
        values = self._values(text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text)
        found = len(values)
        if found != len(self._params.columns):
            reject("not_csv", f"expected {len(self._params.columns)} values, got {found}")
        return {
            field.name: self._parsed(field, values[self._places[field.name]])
            for field in self.contract.fields
        }

    def _values(self, line: str) -> list[str | None]:
        """The values of a line; raises RejectedError."""
        values: list[str | None] = []
        at = 0
        while True:
            found = self._value.match(line, at)
            if found is None:
                self._refuse(line, at)
            text, end = found[1], found[2]
            if text.startswith('"'):
                values.append(text[1:-1].replace('""', '"'))
            else:
                values.append(None if text == self._params.null else text)
            at = found.end()
            if not end:
                return values

    @staticmethod
    def _refuse(line: str, at: int) -> NoReturn:
        """Says what is wrong with the value that begins there."""
        if line.startswith('"', at):
            reject("not_csv", f"the value in quotation marks at character {at + 1} does not end, or goes on")
        reject(
            "not_csv", f"the value at character {at + 1} has a quotation mark or line break, and no quotes"
        )

    @staticmethod
    def _parsed(field: Field, text: str | None) -> object:
        return text if text is None or field.type in ("decimal", "bytes") else parsed(field, text)
