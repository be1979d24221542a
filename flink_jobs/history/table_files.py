"""Tables that people keep in files.

table = read_table(Path("holdout.parquet"))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa  # Start-up: loads Arrow


def read_table(file: Path) -> pa.Table:
    """A Parquet or CSV file with rows. Raises `InputError` for anything else."""
    import pyarrow as pa  # noqa: PLC0415  # Start-up: loads Arrow
    import pyarrow.csv  # noqa: PLC0415  # Start-up: loads Arrow
    import pyarrow.parquet  # noqa: PLC0415  # Start-up: loads Arrow

    readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
    if not file.is_file():
        raise InputError(f"{file} must be a Parquet or CSV file; there is no such file")
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file} must end in .parquet or .csv; got {file.suffix or 'no ending'!r}")
    try:
        table = reader(str(file))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} must be a {file.suffix[1:]} file; {error}") from error
    if not table.num_rows:
        raise InputError(f"{file} must have rows; got none")
    if len(set(table.column_names)) != table.num_columns:
        raise InputError(f"{file} must have each column once; got {', '.join(table.column_names)}")
    return table
