"""Makes PyFlink hand over longs beside nulls as they are.

A vectorized function gets its columns as pandas series, and pandas shows longs beside a null as floats, which
rounds those beyond 2^53. `keep_longs_exact` has them as objects instead.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

Convert = Callable[[Any, Any, Sequence[pa.RecordBatch]], list[pd.Series]]


@functools.cache
def keep_longs_exact() -> None:
    """Changes, once a process, the conversion of those coders (compiled or not) that PyFlink uses."""
    # Start-up: only workers need it, and it loads much.
    from pyflink.fn_execution import coders  # noqa: PLC0415  # Start-up: as above

    coders.coder_impl.arrow_to_pandas = exact(coders.coder_impl.arrow_to_pandas)


def exact(convert: Convert) -> Convert:
    """PyFlink's conversion of batches to series, but for longs beside nulls: objects, None for null."""

    def converted(timezone: Any, types: Any, batches: Sequence[pa.RecordBatch]) -> list[pd.Series]:
        series = convert(timezone, types, batches)
        for index, column in enumerate(pa.Table.from_batches(batches).itercolumns()):
            if column.null_count and pa.types.is_integer(column.type):
                series[index] = column.to_pandas(integer_object_nulls=True)
        return series

    return converted
