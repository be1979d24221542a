"""A table of versions joined as of each row's time, with restarts; compared with plain Python and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples, sized
from tests.helpers.table_changes import RESULTS, Change, TableRun, changes, stage
from tests.helpers.window_rows import FIELDS, Row, stream
from udfs.errors import StateError
from udfs.windows.kept import LEAST_TIME
from udfs.windows.params import StageParams, TableParams
from udfs.windows.table_stage import TableStage
from udfs.windows.versions import Versions, change_schema

END = 2**62
BEHIND = 301


def as_of(card: str | None, time: int, known: Sequence[Change], retention: int = 0) -> tuple[Any, Any]:
    before = [change for change in known if change.card == card and change.time <= time]
    last = max(before, key=lambda change: (change.time, change.offset), default=None)
    if last is None or last.deleted or (retention and time - last.time > retention):
        return None, None
    return last.tier, last.credit


def check(made: TableRun, rows: Sequence[Row], known: Sequence[Change], retention: int = 0) -> None:
    assert made.late == []
    wanted = {row.offset: as_of(row.card, row.time, known, retention) for row in rows}
    assert made.results == wanted


def interleaved(
    made: TableRun,
    rows: Sequence[Row],
    table: Sequence[Change],
    batch: int,
    *,
    restart: int = 0,
    table_first: bool = False,
    lag_ms: int = 0,
    retention_ms: int = 0,
) -> TableRun:
    """Both in batches by time, with a watermark behind both; `restart` after each so many batches."""
    arriving = sorted(
        [*((row.time, 0, row) for row in rows), *((change.time, 1, change) for change in table)],
        key=lambda each: (each[0] // 300, each[1] != table_first),
    )
    highest = 0
    for number, start in enumerate(range(0, len(arriving), batch)):
        part = arriving[start : start + batch]
        made.feed([each for _, _, each in part if isinstance(each, Row)])
        made.change([each for _, _, each in part if isinstance(each, Change)])
        highest = max(highest, *(time for time, _, _ in part))
        made.advance(highest - BEHIND)
        if restart and number % restart == 0:
            made.restart_as(stage(lag_ms=lag_ms, retention_ms=retention_ms))
    made.advance(END)
    return made


@settings(max_examples=examples(60), deadline=None)
@given(
    batch=st.integers(1, 200),
    restart=st.integers(0, 5),
    seed=st.integers(0, 10**6),
    retention=st.sampled_from([0, 1, 700, 5_000]),
    lag=st.sampled_from([0, 1, 250, 3_000]),
    first=st.booleans(),
)
def test_any_batching_and_any_restart_give_what_plain_python_gives(
    batch: int, restart: int, seed: int, retention: int, lag: int, first: bool
) -> None:
    rows, table = stream(sized(150, 80), seed), changes(sized(70, 40), seed + 1)
    made = interleaved(
        TableRun(stage(lag_ms=lag, retention_ms=retention)),
        rows,
        table,
        batch,
        restart=restart,
        table_first=first,
        lag_ms=lag,
        retention_ms=retention,
    )
    check(made, rows, table, retention)


def test_a_late_change_counts_for_rows_that_are_still_to_go_and_for_no_others() -> None:
    made = TableRun()
    made.feed([Row("a", 1.0, 1, 20_000, 0), Row("a", 1.0, 1, 30_000, 1)])
    made.advance(25_000)
    made.change([Change("a", "gold", 1, 15_000, 0)])
    made.advance(END)
    assert made.results == {0: (None, None), 1: ("gold", 1)}
    assert isinstance(made.stage, TableStage)
    assert (made.stage.late_changes, made.stage.misses) == (1, 1)


def test_a_row_waits_for_late_changes_as_long_as_it_is_told_to() -> None:
    made = TableRun(stage(lag_ms=10_000))
    made.feed([Row("a", 1.0, 1, 20_000, 0), Row("b", 1.0, 1, 20_000, 1)])
    made.advance(29_999)
    assert made.results == {}
    made.change([Change("a", "gold", 1, 19_999, 0), Change("b", "gold", 1, 20_001, 1)])
    made.advance(30_000)
    assert made.results == {0: ("gold", 1), 1: (None, None)}


def test_a_late_change_before_a_deletion_does_not_bring_the_row_back() -> None:
    made = TableRun()
    made.change([Change("a", "gold", 1, 10_000, 0), Change("a", None, None, 20_000, 1, deleted=True)])
    made.advance(1_000_000)
    made.restart_as(stage())
    made.change([Change("a", "silver", 2, 15_000, 2)])
    made.feed([Row("a", 1.0, 1, 2_000_000, 0)])
    made.advance(END)
    assert made.results == {0: (None, None)}


def test_versions_that_no_row_can_need_leave_the_state() -> None:
    """A table that changes for ever keeps what its last versions take, also where no row comes."""
    made, sizes = TableRun(), []
    for start in range(0, 60_000, 2_000):
        made.change(
            [Change("abcd"[n % 4], "gold", n, 10_000 + (start + n) * 10, start + n) for n in range(2_000)]
        )
        made.advance(10_000 + start * 10 + 19_990)
        sizes.append(made.flink.bytes_kept())
    assert max(sizes[10:]) < 1.5 * max(sizes[:10])
    made.feed([Row("a", 1.0, 1, 10_000 + 60_000 * 10, 0)])
    made.advance(END)
    assert made.results == {0: ("gold", 1_996)}


def test_rows_whose_versions_have_gone_are_late_after_a_restart_too() -> None:
    """The source forgets its watermark; an older version would be missed, and nothing would say so."""
    made = TableRun()
    made.change([Change("a", "gold", n, 10_000 + n, n) for n in range(20_000)])
    made.feed([Row("a", 1.0, 1, 15_000, 0)])
    made.advance(29_000)
    made.restart_as(stage())
    made.feed([Row("a", 1.0, 1, 12_000, 1), Row("a", 1.0, 1, 29_500, 2)])
    made.advance(END)
    assert made.late == [1]
    assert made.results == {0: ("gold", 5_000), 2: ("gold", 19_500)}


def test_a_drained_job_takes_in_what_comes_after_it() -> None:
    made = TableRun()
    made.change([Change("a", "gold", 1, 5_000, 0)])
    made.feed([Row("a", 1.0, 1, 6_000, 0)])
    made.advance(2**63 - 1)
    made.restart_as(stage())
    made.change([Change("a", "silver", 2, 7_000, 1)])
    made.feed([Row("a", 1.0, 1, 6_500, 1), Row("a", 1.0, 1, 8_000, 2)])
    made.advance(END)
    assert made.late == []
    assert made.results == {0: ("gold", 1), 1: ("gold", 1), 2: ("silver", 2)}


def test_a_column_that_the_job_takes_since_is_null_in_versions_of_before() -> None:
    made = TableRun(stage(results=RESULTS[:1]))
    made.change([Change("a", "gold", 1, 5_000, 0)], RESULTS[:1])
    made.advance(5_500)
    made.restart_as(stage())
    made.change([Change("b", "silver", 2, 7_000, 1)])
    made.feed([Row("a", 1.0, 1, 8_000, 0), Row("b", 1.0, 1, 8_000, 1)])
    made.advance(END)
    assert made.results == {0: ("gold", None), 1: ("silver", 2)}


def test_the_state_of_another_key_is_never_read() -> None:
    made = TableRun()
    made.change(changes(20, seed=1))
    made.advance(10_500)
    table = TableParams("cards")
    made.restart_as(TableStage(StageParams(("items",), (), FIELDS, RESULTS, table=table), table))
    with pytest.raises(StateError, match=r"keeps .* by card \(string\), this job has items \(long\)"):
        made.advance(END)


@pytest.mark.parametrize("rows", [50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_what_comes_out_is_what_merge_asof_of_pandas_gives(rows: int) -> None:
    """With changes out of order, in batches of all sizes, pruned while they come."""
    draw = np.random.default_rng(5)
    count, keys = rows // 4, rows // 50
    left = pd.DataFrame({"card": draw.integers(0, keys, rows), "time": draw.integers(0, rows * 10, rows)})
    right = pd.DataFrame(
        {"card": draw.integers(0, keys, count), "time": draw.integers(0, rows * 10, count)}
    ).drop_duplicates()
    right["credit"] = np.arange(len(right))
    left, right = left.sort_values("time", ignore_index=True), right.sort_values("time", ignore_index=True)
    tolerance = rows * 3
    wanted = pd.merge_asof(left, right, on="time", by="card", tolerance=tolerance)["credit"]
    got = np.full(rows, np.nan)
    columns = (("card", "long"), ("credit", "long"))
    versions, watermark, place = Versions(("card",), columns, tolerance), LEAST_TIME, 0  # type: ignore[arg-type]
    arriving = right.iloc[np.argsort(right["time"].to_numpy() + draw.integers(0, 50_000, len(right)))]
    cuts = np.unique(draw.integers(0, len(arriving), 200))
    for number, (start, stop) in enumerate(pairwise([0, *cuts, len(arriving)])):
        versions.add(number, _as_changes(arriving.iloc[start:stop]))
        watermark = max(
            watermark, int(arriving["time"].iloc[stop:].min()) - 1 if stop < len(arriving) else END
        )
        until = int(np.searchsorted(left["time"], watermark, "right"))
        due = left.iloc[place:until]
        joined, _ = versions.join(pa.table({"card": due["card"].to_numpy()}), due["time"].to_numpy())
        got[place:until] = joined["credit"].to_numpy(zero_copy_only=False)
        place = until
        versions.forget(watermark)
    assert place == rows
    assert wanted.isna().any()
    assert wanted.notna().any()
    np.testing.assert_array_equal(got, wanted.to_numpy())
    assert len(versions) < len(right)


def _as_changes(part: pd.DataFrame) -> pa.RecordBatch:
    n = len(part)
    arrays = [part["card"].to_numpy(), part["credit"].to_numpy(), np.zeros(n, bool), part["time"].to_numpy()]
    arrays += [np.zeros(n, np.int32), part["credit"].to_numpy()]
    schema = change_schema((("card", "long"), ("credit", "long")))
    return pa.RecordBatch.from_arrays(
        [pa.array(a, f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )
