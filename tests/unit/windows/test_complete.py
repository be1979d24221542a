"""Windows after an edit between stop and start: which rows say that their windows are whole, and are.

The adversary is a row that says so and has other results than one of a job that always was as it is now; then
one that never says so again. What is right is computed from the whole stream in plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from tests.helpers.window_reference import aggregated, same
from tests.helpers.window_rows import FIELDS, SHARD_KEYS, Row, StageRun, stream
from udfs.windows.blobs import TIME, from_bytes, pack
from udfs.windows.complete import Complete
from udfs.windows.held import Back, Held, Limits, backs_of, held_since, limits_of
from udfs.windows.kept import LEAST_TIME
from udfs.windows.params import COMPLETE, AggregateParams, Columns, StageParams, WindowParams
from udfs.windows.retention import Retention
from udfs.windows.shard import WARM, warm_schema
from udfs.windows.stage import SlidingStage
from udfs.windows.windowed import Windowed

SPENT = AggregateParams("sum", "amount")
SECOND = WindowParams(over_ms=1_000, select={"second": SPENT})
THREE = WindowParams(over_ms=3_000, select={"three": SPENT})
ITEMS = WindowParams(over_ms=1_000, select={"things": AggregateParams("sum", "items")})
TINY = WindowParams(over_ms=50, select={"tiny": AggregateParams("count")})
FEW = WindowParams(rows=12, select={"few": SPENT})
LONG = WindowParams(rows=60, select={"long": SPENT})
BACK = WindowParams(over_ms=1_000, select={"back": AggregateParams("lag", "amount", offset=5)})
LAST = WindowParams(over_ms=1_000, select={"last": AggregateParams("time_since_last")})
KEPT: Columns = (("card", "string"), ("amount", "double"))
OVER = {"second": (1_000, "amount"), "three": (3_000, "amount"), "things": (1_000, "items")}
# What ran before and what goes on; how long after the start at the latest each row's windows are whole.
EDITS = {
    "added": ((SECOND,), (SECOND, THREE), 3_000),
    "shorter": ((THREE,), (SECOND,), 0),
    "other column": ((SECOND,), (SECOND, ITEMS), 1_000),
    "rows": ((SECOND,), (SECOND, FEW), None),
    "fewer rows": ((FEW, BACK), (FEW,), 0),
    "look back": ((TINY,), (TINY, BACK), None),
    "time since last": ((TINY,), (LAST,), None),
    "nothing": ((SECOND, FEW, BACK), (SECOND, FEW, BACK), 0),
}


def params(
    windows: tuple[WindowParams, ...], warm_from: int | None = None, warm_number: int = 0
) -> StageParams:
    results: Columns = ((COMPLETE, "boolean"),)
    made = StageParams(("card",), windows, FIELDS, results, complete=True, warm_from=warm_from)
    return msgspec.structs.replace(made, warm_number=warm_number)


class Run(StageRun):
    def __init__(self, windows: tuple[WindowParams, ...]) -> None:
        super().__init__(SlidingStage(params(windows)))
        self.results: dict[int, dict[str, Any]] = {}

    def edit(self, windows: tuple[WindowParams, ...], warm_from: int | None = None) -> None:
        self.restart_as(SlidingStage(params(windows, warm_from)))

    def seen(self, windowed: Windowed) -> None:
        for row in windowed.rows.to_pylist():
            assert row["_offset"] not in self.results
            self.results[row["_offset"]] = row

    def warm(self, rows: Iterable[Row], columns: Columns = FIELDS) -> None:
        """Rows that are read once more, as the second reader of the topic sends them."""
        rows = list(rows)
        schema = warm_schema(columns)
        made = {name: [getattr(row, name) for row in rows] for name, _ in columns}
        made |= {"_partition": [0] * len(rows), "_offset": [row.offset for row in rows]}
        made[TIME] = [row.time for row in rows]
        table = pa.Table.from_pydict(made, schema=schema)
        for key, blob in pack(table, ("card",), SHARD_KEYS):
            late, timer = self.stage.receive(key, self.flink.of(key), WARM + blob, self.watermark)
            assert late is None
            if timer is not None:
                self.flink.timers.add((timer, key))


def expected(row: Row, rows: list[Row]) -> dict[str, Any]:
    of_card = sorted((r for r in rows if r.card == row.card), key=lambda other: (other.time, other.offset))
    upto = of_card[: of_card.index(row) + 1]
    found: dict[str, Any] = {}
    for name, (over, column) in OVER.items():
        within = [other._asdict() for other in of_card if row.time - over <= other.time <= row.time]
        found |= aggregated(within, {name: ("sum", column)})
    found |= aggregated([other._asdict() for other in upto[-12:]], {"few": ("sum", "amount")})
    found["back"] = upto[-6].amount if len(upto) > 5 else None
    found["last"] = row.time - upto[-2].time if len(upto) > 1 else None
    return found


def feed(made: Run, rows: list[Row], batch: int = 20) -> None:
    highest = 0
    for start in range(0, len(rows), batch):
        made.feed(rows[start : start + batch])
        highest = max(highest, *(row.time for row in rows[start : start + batch]))
        made.advance(highest - 301)


def wrong(made: Run, rows: list[Row]) -> list[tuple[Row, str]]:
    """Of rows that say that they are complete."""
    return [
        (row, name)
        for row in rows
        for name, value in expected(row, rows).items()
        if (result := made.results[row.offset])[COMPLETE] and name in result and not same(result[name], value)
    ]


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("restarts", [1, 3])
def test_a_row_that_says_it_is_complete_is(name: str, restarts: int) -> None:
    """Also after the same job is started again, which must not forget what it lacks."""
    before, after, soon = EDITS[name]
    rows = stream(700, seed=len(name))
    made = Run(before)
    feed(made, rows[:300])
    stopped = max(row["_time"] for row in made.results.values())
    assert all(row[COMPLETE] for row in made.results.values())
    released = set(made.results)
    parts = [rows[300 + 400 * n // restarts : 300 + 400 * (n + 1) // restarts] for n in range(restarts)]
    for part in parts:
        made.edit(after)
        feed(made, part)
    made.advance(2**62)
    assert sorted(made.results) == list(range(700))
    assert wrong(made, rows) == []
    since = [row for row in made.results.values() if row["_offset"] not in released]
    if soon is not None:
        assert all(row[COMPLETE] for row in since if row["_time"] > stopped + soon)
    if soon != 0:
        assert not all(row[COMPLETE] for row in since)
    assert all(row[COMPLETE] for row in since[-100:])


@pytest.mark.parametrize("name", ["added", "other column"])
@pytest.mark.parametrize("restart", [False, True])
def test_what_is_read_once_more_fills_windows_and_gives_nothing_on(name: str, restart: bool) -> None:
    """Rows come once more that wait, that are kept, and that were not: each counts once, at any restart."""
    before, after, _ = EDITS[name]
    rows = stream(700, seed=3)
    made = Run(before)
    feed(made, rows[:400])
    stopped = max(row["_time"] for row in made.results.values())
    made.edit(after, stopped - 4_000)
    again = [row for row in rows if row.time >= stopped - 4_000]
    made.feed(rows[400:420])
    for start in range(0, len(again), 50):
        kept = Run(after).stage._layout.kept  # type: ignore[attr-defined]
        made.warm(again[start : start + 50], kept)
        if restart and start in (50, 200):
            made.edit(after, stopped - 4_000)
    feed(made, rows[420:])
    made.advance(2**62)
    assert sorted(made.results) == list(range(700))
    assert wrong(made, rows) == []
    assert all(row[COMPLETE] for row in made.results.values())


@pytest.mark.parametrize("name", ["rows", "look back", "time since last", "added", "other column"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_topic_that_is_read_from_its_first_record_fills_looks_back(
    name: str, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys with fewer records than are asked for are whole, too; and the state holds no topic meanwhile."""
    monkeypatch.setattr("udfs.windows.shard.LARGE", 20)
    before, after, _ = EDITS[name]
    rows = stream(1_400, seed=8)
    made = Run(before)
    feed(made, rows[:1_100])
    made.edit(after, 0)
    kept, largest = Run(after).stage._layout.kept, 0  # type: ignore[attr-defined]
    for start in range(0, 1_200, 10):
        made.warm(rows[start : start + 10], kept)
        largest = max(largest, warm_rows(made, kept))
        if restart and start in (50, 700):
            made.edit(after, 0)
    feed(made, rows[1_100:])
    made.advance(2**62)
    assert sorted(made.results) == list(range(1_400))
    assert wrong(made, rows) == []
    assert all(row[COMPLETE] for row in made.results.values())
    assert 0 < largest < 700


def warm_rows(made: Run, kept: Columns) -> int:
    """How many rows that were read once more the state holds."""
    every = [each for state in made.flink.states.values() for each in state.pending.items()]
    return sum(len(from_bytes(blob, warm_schema(kept))) for number, blob in every if number < 0)


def test_a_second_reading_of_the_whole_topic_is_not_taken_for_the_first() -> None:
    """Both begin at the first record, with another edit between; each has its own number."""
    rows = stream(900, seed=9)
    made = Run((TINY,))
    for windows, stop, number in (((TINY, FEW), 300, 1), ((TINY, FEW, LONG), 600, 2)):
        feed(made, rows[stop - 300 : stop])
        made.restart_as(SlidingStage(params(windows, 0, number)))
        made.warm(rows[:stop], KEPT)
    feed(made, rows[600:])
    made.advance(2**62)
    for row in [row for row in made.results.values() if row["_offset"] >= 700]:
        place = (row["_time"], row["_offset"])
        of_card = sorted((r.time, r.offset, r) for r in rows if r.card == row["card"])
        upto = [r._asdict() for time, offset, r in of_card if (time, offset) <= place]
        assert row[COMPLETE]
        assert same(row["long"], aggregated(upto[-60:], {"long": ("sum", "amount")})["long"])


def test_a_start_that_reads_too_little_once_more_says_so() -> None:
    rows = stream(700, seed=4)
    made = Run((SECOND,))
    feed(made, rows[:400])
    stopped = max(row["_time"] for row in made.results.values())
    made.edit((SECOND, THREE), stopped - 1_500)
    made.warm(
        [row for row in rows if row.time >= stopped - 1_500], (("card", "string"), ("amount", "double"))
    )
    feed(made, rows[400:])
    made.advance(2**62)
    assert wrong(made, rows) == []
    late = [row[COMPLETE] for row in made.results.values() if row["_time"] > stopped + 300]
    assert not all(late)
    assert all(row[COMPLETE] for row in made.results.values() if row["_time"] > stopped + 1_500)


def test_a_start_that_goes_on_without_reading_once_more_drops_what_was_begun() -> None:
    rows = stream(700, seed=5)
    made = Run((SECOND,))
    feed(made, rows[:400])
    stopped = max(row["_time"] for row in made.results.values())
    made.edit((SECOND, THREE), stopped - 4_000)
    made.warm(
        [row for row in rows if row.time >= stopped - 4_000][:100], (("card", "string"), ("amount", "double"))
    )
    made.edit((SECOND, THREE))
    feed(made, rows[400:])
    made.advance(2**62)
    assert wrong(made, rows) == []
    assert sorted(made.results) == list(range(700))
    assert all(number >= 0 for state in made.flink.states.values() for number, _ in state.pending.items())


def test_conditions_are_a_column_of_their_own() -> None:
    """A look back in which a condition holds finds what was kept for it, and no more."""
    lag = AggregateParams("lag", "x", offset=2, where="c")
    asked = [WindowParams(over_ms=10, select={"lag": lag})]
    assert backs_of(asked) == (Back(2, "c"),)
    kept = held_since({}, Retention(asked), {"k": True, "x": True, "c": True}, 1_000)
    assert limits_of(("k",), asked, kept).backs == {Back(2, "c"): LEAST_TIME}
    more = [WindowParams(over_ms=10, select={"lag": AggregateParams("lag", "x", offset=3, where="c")})]
    assert limits_of(("k",), more, kept).backs == {Back(3, "c"): 990}
    new = held_since({}, Retention(asked), {"k": True, "x": False, "c": True}, 1_000)
    assert limits_of(("k",), asked, new).backs == {Back(2, "c"): 1_001}


def test_nothing_is_lacking_in_a_shard_that_released_nothing() -> None:
    assert held_since({"x": Held(5)}, Retention([SECOND]), {"x": False}, LEAST_TIME) == {}


def test_a_row_is_complete_where_the_windows_of_all_keys_are() -> None:
    """A later stage, by another key, does not call whole what an earlier one did not."""
    rows = pa.table({TIME: [10, 10, 20, 20], COMPLETE: [True, False, True, False]})
    complete = Complete((SECOND,))
    results, rows = complete.of({"second": pa.array([1.0] * 4)}, complete.with_limits(rows, Limits(15, {})))
    assert list(results) == ["second"]
    assert rows.column_names == [TIME, COMPLETE]
    assert rows[COMPLETE].to_pylist() == [False, False, True, False]
