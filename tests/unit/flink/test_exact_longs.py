"""Longs beside nulls: through PyFlink's own coder into a function, and back, to the last bit."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyflink.fn_execution import coders
from pyflink.table.types import DataTypes

from udfs.flink.exact_longs import exact, keep_longs_exact
from udfs.flink.functions import _to_arrow, _to_series

longs = st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=6)


def as_before(_timezone: object, _types: object, batches: Sequence[pa.RecordBatch]) -> list[pd.Series]:
    """PyFlink's conversion, in short."""
    return [column.to_pandas(date_as_object=True) for column in pa.Table.from_batches(batches).itercolumns()]


@given(longs)
def test_longs_reach_arrow_and_come_back_as_they_were(values: list[int | None]) -> None:
    column = pa.array(values, pa.int64())
    (series,) = exact(as_before)(None, None, [pa.record_batch([column], ["n"])])
    made = _to_arrow((("n", "long"),), (series,))["n"]
    assert made.equals(column)
    back = _to_series(pa.chunked_array([made]))
    assert pa.Array.from_pandas(back, mask=back.isnull(), type=pa.int64()).equals(column)


def test_other_columns_are_as_pyflink_has_them() -> None:
    batch = pa.record_batch([pa.array([1.5, None]), pa.array(["a", None]), pa.array([1, 2])], ["d", "s", "n"])
    for one, other in zip(exact(as_before)(None, None, [batch]), as_before(None, None, [batch]), strict=True):
        pd.testing.assert_series_equal(one, other)


def test_the_coder_that_pyflink_uses_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decodes a batch as a worker does."""
    monkeypatch.setattr(coders.coder_impl, "arrow_to_pandas", coders.coder_impl.arrow_to_pandas)
    keep_longs_exact.cache_clear()
    keep_longs_exact()
    schema = pa.schema([("n", pa.int64())])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        column = pa.array([None, 2**63 - 1, 2**53 + 1], pa.int64())
        writer.write_batch(pa.record_batch([column], schema=schema))
    row_type = DataTypes.ROW([DataTypes.FIELD("n", DataTypes.BIGINT())])
    coder = coders.ArrowCoder(schema, row_type, "UTC").get_impl()
    (series,) = coder.decode(sink.getvalue())
    assert series.tolist() == [None, 2**63 - 1, 2**53 + 1]
