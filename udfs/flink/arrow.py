"""Has PyFlink hand vectorized UDFs the Arrow arrays that Flink sends, instead of pandas Series made of them.

A UDF then takes arrays, and gives for a ROW a mapping from names to columns, which become arrays.

>>> row = pa.struct([("_kind", pa.int8()), ("_prediction", pa.binary())])
>>> given = {"_kind": [0, 1], "_prediction": [b"{}", None]}
>>> batch_of(pa.schema([("result", row)]), None, [], [given]).column("result").to_pylist()
[{'_kind': 0, '_prediction': b'{}'}, {'_kind': 1, '_prediction': None}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa


def hand_over_arrow() -> None:
    """For all vectorized UDFs of this process, which are ours.

    Raises RuntimeError where PyFlink's coder has no such conversions: in a version that is not known.
    """
    from pyflink.fn_execution.coders import coder_impl  # Workers only: slow.  # noqa: PLC0415

    for name, conversion in (("arrow_to_pandas", columns_of), ("pandas_to_arrow", batch_of)):
        if not hasattr(coder_impl, name):
            raise RuntimeError(f"PyFlink's Arrow coder has no {name}: use the apache-flink that is pinned")
        setattr(coder_impl, name, conversion)


def columns_of(_timezone: Any, _types: Any, batches: Sequence[pa.RecordBatch]) -> list[pa.Array]:
    """The arguments of UDFs, from the one batch that has come; in place of `arrow_to_pandas`."""
    (batch,) = batches
    columns: list[pa.Array] = batch.columns
    return columns


def batch_of(schema: pa.Schema, _timezone: Any, _types: Any, results: Sequence[Any]) -> pa.RecordBatch:
    """The results of UDFs, in place of `pandas_to_arrow`."""
    arrays = [_array(result, field.type) for result, field in zip(results, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, Mapping):
        fields = list(kind)
        return pa.StructArray.from_arrays([_array(values[f.name], f.type) for f in fields], fields=fields)
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, type=kind)
