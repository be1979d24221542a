"""A stage of windows as Flink drives it, with restarts; compared row by row with plain Python."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.examples import sized
from tests.helpers.window_reference import aggregated, same
from tests.helpers.window_rows import FIELDS, Row, StageRun, in_batches, stream
from udfs.errors import StateError
from udfs.windows.params import AggregateParams, Columns, StageParams, WindowParams
from udfs.windows.stage import SlidingStage
from udfs.windows.windowed import Windowed

SPENT = WindowParams(
    over_ms=1_000,
    select={
        "seen": AggregateParams("count"),
        "spent": AggregateParams("sum", "amount"),
        "mean": AggregateParams("avg", "amount"),
        "most": AggregateParams("max", "items"),
        "kinds": AggregateParams("count", "items", distinct=True),
    },
)
RECENT = WindowParams(rows=3, select={"recent": AggregateParams("sum", "items")})
BEFORE = WindowParams(rows=1, select={"before": AggregateParams("lag", "items", offset=2)})
RESULTS: Columns = (
    ("seen", "long"),
    ("spent", "double"),
    ("mean", "double"),
    ("most", "long"),
    ("kinds", "long"),
    ("recent", "long"),
    ("before", "long"),
)
PARAMS = StageParams(("card",), (SPENT, RECENT, BEFORE), FIELDS, RESULTS)


class Run(StageRun):
    """Windows over events; `results` by offset."""

    def __init__(self, params: StageParams = PARAMS) -> None:
        super().__init__(SlidingStage(params))
        self.results: dict[int, dict[str, Any]] = {}

    def restart(self, params: StageParams = PARAMS) -> None:
        self.restart_as(SlidingStage(params))

    def seen(self, windowed: Windowed) -> None:
        assert windowed.problems == {}
        for row in windowed.rows.to_pylist():
            assert row["_offset"] not in self.results
            self.results[row["_offset"]] = row


NAMED = {"seen": ("count", "offset"), "spent": ("sum", "amount"), "mean": ("avg", "amount")}
NAMED |= {"most": ("max", "items"), "kinds": ("distinct", "items")}


def expected(row: Row, rows: list[Row]) -> dict[str, Any]:
    of_card = [other for other in rows if other.card == row.card]
    of_card.sort(key=lambda other: (other.time, other.offset))
    within = [other._asdict() for other in of_card if row.time - 1_000 <= other.time <= row.time]
    upto = of_card[: of_card.index(row) + 1]
    recent = aggregated([other._asdict() for other in upto[-3:]], {"recent": ("sum", "items")})
    return {**aggregated(within, NAMED), **recent, "before": upto[-3].items if len(upto) > 2 else None}


def check(results: dict[int, dict[str, Any]], rows: list[Row]) -> None:
    assert sorted(results) == sorted(row.offset for row in rows)
    wrong = [
        (row, name, results[row.offset][name], value)
        for row in rows
        for name, value in expected(row, rows).items()
        if not same(results[row.offset][name], value)
    ]
    assert wrong == []


@pytest.mark.parametrize("batch", [1, 7, 100, 1_000])
def test_each_row_has_its_windows_however_rows_fall_into_batches(batch: int) -> None:
    rows = stream(sized(500, 120 if batch == 1 else 300), seed=batch)
    made = in_batches(Run(), rows, batch)
    assert made.late == []
    check(made.results, rows)


@pytest.mark.parametrize("every", [1, 3])
def test_restarts_change_no_bit(every: int) -> None:
    rows = stream(sized(600, 250), seed=9)

    def restart(made: Run, number: int) -> None:
        if number % every == 0:
            made.restart()

    restarted = in_batches(Run(), rows, 20, restart)
    check(restarted.results, rows)
    assert restarted.results == in_batches(Run(), rows, 20).results


def test_a_watermark_far_ahead_after_a_restart_takes_no_row_from_windows() -> None:
    """Who catches up goes on hours later: a shard that is opened then finds what its waiting rows need."""
    rows = stream(250, seed=9)
    made = Run()
    for start in range(0, 250, 20):
        made.feed(rows[start : start + 20])
        made.advance(max(row.time for row in rows[: start + 20]) - 301)
    made.restart()
    made.advance(rows[-1].time + 7_200_000)
    check(made.results, rows)


def test_a_row_that_is_late_after_a_restart_comes_out_late_and_only_once() -> None:
    """The source forgets its watermark, and the shard is all that knows how far it had come."""
    rows = [Row("a", 1.0, 1, 10_000 + 1_000 * n, n) for n in range(400)]
    made = Run()
    made.feed(rows)
    made.advance(10_000 + 399_000 - 60_001)
    released = len(made.results)
    made.restart()
    made.feed([Row("a", 1.0, 1, 10_000 + 199_000, 400)])
    made.feed([Row("a", 1.0, 1, 10_000 + 400_000 + 1_000 * n, 401 + n) for n in range(60)])
    made.advance(2**62)
    assert released == 339
    assert made.late == [400]
    assert sorted([*made.results, *made.late]) == list(range(461))


def test_a_partition_that_was_idle_is_judged_by_the_watermark_of_all() -> None:
    made = Run()
    made.feed([Row("a", 1.0, 1, 5_000, 0), Row("b", 1.0, 1, 9_000, 1)])
    made.advance(8_000)
    made.feed([Row("a", 1.0, 1, 8_000, 2), Row("a", 1.0, 1, 8_001, 3)])
    made.advance(2**62)
    assert made.late == [2]
    assert sorted(made.results) == [0, 1, 3]


def test_what_no_window_needs_leaves_the_state() -> None:
    """A long tail: the state does not grow with the stream, also with windows of rows."""
    made = Run()
    sizes = []
    for start in range(0, 20_000, 1_000):
        rows = stream(500, seed=start, apart=20, disorder=1)
        made.feed(row._replace(time=row.time + start * 10, offset=row.offset + start) for row in rows)
        made.advance(10_000 + start * 10 + 9_990)
        sizes.append(made.flink.bytes_kept())
    assert max(sizes[10:]) < 3 * max(sizes[:5])


def test_the_state_of_another_key_is_never_read() -> None:
    made = Run()
    made.feed(stream(50, seed=1))
    made.advance(10_500)
    other = StageParams(("items",), (RECENT,), FIELDS, (("recent", "long"),))
    made.restart(other)
    with pytest.raises(StateError, match=r"keeps windows by card \(string\), this job has items \(long\)"):
        made.advance(2**62)


def test_a_drained_job_takes_in_what_comes_after_it() -> None:
    """The watermark of the end is no time: were it kept, all that comes later would be late."""
    made = Run()
    made.feed([Row("a", 1.0, 1, 5_000, 0)])
    made.advance(2**63 - 1)
    made.restart()
    made.feed([Row("a", 1.0, 2, 5_000, 1), Row("a", 1.0, 2, 5_500, 2)])
    made.advance(2**62)
    assert made.late == [1]
    assert made.results[2]["seen"] == 2
