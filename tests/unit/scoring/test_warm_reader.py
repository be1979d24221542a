"""Records that are read once more: only what windows keep of them goes to their shards.

The adversary is a record that was a dead letter or late the first time, and would be counted now.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flink_jobs.plan.window_stages import SHARD_KEYS
from udfs.records.contract import Contract, Field
from udfs.scoring.params import PackParams, SourceParams, WarmParams
from udfs.scoring.warm_up import WarmReader
from udfs.windows.blobs import from_bytes
from udfs.windows.shard import WARM, warm_schema

FIELDS = (Field("card", "string", required=True), Field("amount", "double"), Field("note", "string"))
PARAMS = WarmParams(
    PackParams(SourceParams("in", Contract(FIELDS)), ("card",), SHARD_KEYS),
    (("card", "string"), ("amount", "double")),
)
RECORDS = [
    b'{"card": "a", "amount": 1, "note": "private"}',
    b"no record",
    b'{"card": null, "amount": 2}',
    b'{"card": "a", "amount": 4}',
    b'{"card": "b"}',
    None,
]


def test_only_what_was_in_windows_is_in_windows_again() -> None:
    times = np.array([5_000, 5_001, 5_002, 900, 5_004, 5_005])
    late = np.array([False, False, False, True, False, False])
    places = pa.array([0] * 6, pa.int32()), pa.array(range(10, 16), pa.int64())
    read = WarmReader(PARAMS).read(RECORDS, times, late, (), places)
    assert len({shard for shard, _ in read}) == len(read) == 2
    rows = [
        row
        for _, blob in read
        for row in from_bytes(blob.removeprefix(WARM), warm_schema(PARAMS.kept)).to_pylist()
    ]
    assert sorted(rows, key=lambda row: row["_offset"]) == [
        {"card": "a", "amount": 1.0, "_partition": 0, "_offset": 10, "_time": 5_000},
        {"card": "b", "amount": None, "_partition": 0, "_offset": 14, "_time": 5_004},
    ]


def test_a_batch_without_a_valid_record_gives_nothing() -> None:
    nothing = pa.array([0], pa.int32()), pa.array([0], pa.int64())
    assert WarmReader(PARAMS).read([b"x"], np.array([5]), np.array([False]), (), nothing) == []
