"""Windows that are scored and joined with tables: their time, their problems, and those that come late.

The adversary is a window that would be lost, or joined with what the table is after it.
"""

from __future__ import annotations

import datetime

import pyarrow as pa

from tests.helpers.shard_states import ShardStates
from tests.helpers.table_changes import Change, change_blobs
from tests.helpers.window_rows import SHARD_KEYS
from udfs.records.problems import Problem
from udfs.windows.blobs import RECORD_NAMES, TIME, pack
from udfs.windows.params import Columns, StageParams, TableParams
from udfs.windows.summary import RECORDS, WINDOW_END, WINDOW_START
from udfs.windows.table_stage import TableStage
from udfs.windows.window_rows import WINDOW_COLUMNS, as_records, problems_of_windows, with_problems

COLUMNS: Columns = (("card", "string"), ("spent", "double"), *WINDOW_COLUMNS)
RESULTS: Columns = (("tier", "string"), ("credit", "long"))


def windows(*ends: int) -> pa.Table:
    """Of card a, which end at these times in ms."""
    at = pa.timestamp("ms", tz="UTC")
    return pa.table(
        {
            "card": ["a"] * len(ends),
            "spent": [float(end) for end in ends],
            WINDOW_START: pa.array([end - 100 for end in ends], at),
            WINDOW_END: pa.array(ends, at),
            RECORDS: [2] * len(ends),
        }
    )


def test_a_window_is_a_row_at_its_last_millisecond_with_its_problem() -> None:
    problem, later = Problem("feature", "overflow", "too large"), Problem("feature", "unexpected", "later")
    rows = as_records(windows(1_000, 2_000), pa.array([b"a", b"a"]), {1: problem})
    assert rows[TIME].to_pylist() == [999, 1_999]
    assert rows["_key"].to_pylist() == [b"a", b"a"]
    assert set(RECORD_NAMES) < set(rows.column_names)
    assert problems_of_windows(rows) == {1: problem}
    assert problems_of_windows(with_problems(rows, {0: later, 1: later})) == {0: later, 1: problem}
    assert rows[WINDOW_END][0].as_py() == datetime.datetime.fromtimestamp(1, datetime.UTC)


def test_a_window_that_comes_late_is_joined_as_of_its_own_time_all_the_same() -> None:
    table = TableParams("cards")
    stage = TableStage(StageParams(("card",), (), COLUMNS, RESULTS, table=table), table, joins_late=True)
    flink, timers = ShardStates(), []
    changes = [Change("a", "gold", 1, 500, 0), Change("a", "silver", 2, 1_500, 1)]
    for key, blob in change_blobs(changes):
        stage.receive(key, flink.of(key), blob, -(2**63))

    def sent(*ends: int, watermark: int) -> list[pa.RecordBatch | None]:
        names = [*(name for name, _ in COLUMNS), *RECORD_NAMES]
        rows = as_records(windows(*ends), pa.array([b"a"] * len(ends)), {}).select(names)
        found = []
        for key, blob in pack(rows, ("card",), SHARD_KEYS):
            late, timer = stage.receive(key, flink.of(key), blob, watermark)
            found.append(late)
            timers.append((key, timer))
        return found

    assert sent(1_000, watermark=0) == [None], "it waits for the table"
    ((key, _),) = timers
    stage.fire(key, flink.of(key), 1_200)
    taken = stage.take(1_200)
    assert taken is not None
    assert taken.rows["tier"].to_pylist() == ["gold"]
    (late,) = sent(1_100, watermark=1_200)
    assert late is not None
    assert late.column("tier").to_pylist() == ["gold"], "not silver, which it is by now"
