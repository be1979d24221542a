"""How lines of CSV are written, as plain data: importing it costs nothing."""

from __future__ import annotations

import msgspec


class CsvParams(msgspec.Struct, frozen=True):
    """The names of all values in their order; an unquoted `null` is null."""

    columns: tuple[str, ...]
    delimiter: str = ","
    null: str = ""
