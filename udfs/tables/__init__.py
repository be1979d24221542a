"""Tables in files, each column of the type that is wanted of it.

    read_table(Path("rows.csv"), types={"zip": "string", "paid": "boolean"})

`read` opens the files, `memory` bytes; `columns` converts what has types already (Parquet), `text` what has
none (CSV).
"""

from udfs.tables.memory import reader_of
from udfs.tables.read import TableFileError, parse_table, read_table

__all__ = ["TableFileError", "parse_table", "read_table", "reader_of"]
