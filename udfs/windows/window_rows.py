"""Windows that are scored themselves, as rows that tables are joined to: each at its last moment.

A table's stage takes rows of records. A window has none, and its own key, time and problem in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from udfs.records.problems import Problem
from udfs.times import Milliseconds
from udfs.windows.blobs import RECORD, TIME
from udfs.windows.params import Columns
from udfs.windows.summary import RECORDS, WINDOW_END, WINDOW_START

WINDOW_PROBLEM = "_window_problem"
# What the row of a window has beside its key and results.
WINDOW_COLUMNS: Columns = (
    (WINDOW_START, "timestamp"),
    (WINDOW_END, "timestamp"),
    (RECORDS, "long"),
    (WINDOW_PROBLEM, "string"),
)
_problems = msgspec.json.Decoder(Problem)


def last_moments(rows: pa.Table) -> Milliseconds:
    """The event times of n windows, shape (n,): the last millisecond of each."""
    ends: Milliseconds = rows.column(WINDOW_END).cast(pa.int64()).to_numpy()
    return ends - 1


def as_records(rows: pa.Table, keys: pa.Array, problems: Mapping[int, Problem]) -> pa.Table:
    """The windows with the columns of records, and with what is wrong with them; `keys` are their bytes."""
    count, times = rows.num_rows, pa.array(last_moments(rows))
    zeros = pa.array(np.zeros(count, dtype=np.int64))
    known: dict[str, Any] = {"_key": keys, "_partition": zeros, "_offset": zeros}
    known |= {"_timestamp": times, TIME: times}
    rows = rows.append_column(WINDOW_PROBLEM, pa.nulls(count, pa.string()))
    for name, kind in RECORD:
        rows = rows.append_column(name, known[name].cast(kind) if name in known else pa.nulls(count, kind))
    return with_problems(rows, problems)


def with_problems(rows: pa.Table, problems: Mapping[int, Problem]) -> pa.Table:
    """Rows with further problems, of those that have none."""
    if not problems:
        return rows
    told = rows.column(WINDOW_PROBLEM).to_pylist()
    for row, problem in problems.items():
        told[row] = told[row] or msgspec.json.encode(problem).decode()
    place = rows.column_names.index(WINDOW_PROBLEM)
    return rows.set_column(place, WINDOW_PROBLEM, pa.array(told, pa.string()))


def problems_of_windows(rows: pa.Table) -> dict[int, Problem]:
    """Row to what is wrong with it."""
    told = enumerate(rows.column(WINDOW_PROBLEM).to_pylist())
    return {row: _problems.decode(text) for row, text in told if text is not None}
