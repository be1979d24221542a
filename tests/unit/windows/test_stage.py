"""A stage of windows as Flink drives it, with restarts; compared row by row with plain Python."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from tests.helpers.shard_states import ShardStates
from tests.helpers.window_reference import aggregated, same
from udfs.errors import StateError
from udfs.windows.blobs import pack, row_schema
from udfs.windows.params import AggregateParams, Columns, StageParams, WindowParams
from udfs.windows.stage import Stage

FIELDS: Columns = (("card", "string"), ("amount", "double"), ("items", "long"))
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
SHARD_KEYS = (3, 1, 4, 15)


class Row(NamedTuple):
    """One record; `offset` is unique."""

    card: str | None
    amount: float | None
    items: int | None
    time: int
    offset: int


def stream(rows: int, seed: int, *, apart: int = 40, disorder: int = 300) -> list[Row]:
    """In the order in which they come: up to `disorder` ms out of the order of their times, with peers."""
    draw = random.Random(seed)
    made = []
    for offset in range(rows):
        amount = None if draw.random() < 0.1 else round(draw.uniform(-50, 100), draw.choice([1, 6, 14]))
        items = None if draw.random() < 0.1 else draw.randrange(5)
        card = draw.choice(["a", "b", "c", "d", None])
        made.append(Row(card, amount, items, 10_000 + offset * apart // 10 * 10, offset))
    return sorted(made, key=lambda row: row.time + draw.randrange(disorder))


def blobs(rows: Iterable[Row], columns: Columns = FIELDS) -> Iterator[tuple[int, bytes]]:
    rows = list(rows)
    made = {
        **{name: [getattr(row, name) for row in rows] for name in ("card", "amount", "items")},
        "_value": [str(row.offset).encode() for row in rows],
        "_partition": [0] * len(rows),
        "_offset": [row.offset for row in rows],
        "_time": [row.time for row in rows],
    }
    schema = row_schema(columns)
    arrays = [pa.array(made.get(f.name, [None] * len(rows)), type=f.type) for f in schema]
    yield from pack(pa.Table.from_arrays(arrays, schema=schema), ("card",), SHARD_KEYS)


class Run:
    """Drives a stage as Flink does; `restart` leaves nothing but the state."""

    def __init__(self, params: StageParams = PARAMS) -> None:
        self.params, self.flink = params, ShardStates()
        self.stage, self.watermark = Stage(params), -(2**63)
        self.results: dict[int, dict[str, Any]] = {}
        self.late: list[int] = []

    def restart(self, params: StageParams | None = None) -> None:
        self.stage, self.watermark = Stage(params or self.params), -(2**63)

    def feed(self, rows: Iterable[Row]) -> None:
        for key, blob in blobs(rows):
            late, timer = self.stage.receive(key, self.flink.of(key), blob, self.watermark)
            if timer is not None:
                self.flink.timers.add((timer, key))
            if late is not None:
                self.late += late.column("_offset").to_pylist()

    def advance(self, watermark: int) -> None:
        self.watermark = watermark
        while due := sorted(timer for timer in self.flink.timers if timer[0] <= watermark):
            for time, key in due:
                self.flink.timers.discard((time, key))
                timer = self.stage.fire(key, self.flink.of(key), watermark)
                if timer is not None:
                    self.flink.timers.add((timer, key))
                if self.stage.is_complete(watermark) and (windowed := self.stage.take(watermark)):
                    assert windowed.overflow == {}
                    for row in windowed.rows.to_pylist():
                        assert row["_offset"] not in self.results
                        self.results[row["_offset"]] = row


def run(rows: list[Row], batch: int, after_each: Callable[[Run, int], None] = lambda *_: None) -> Run:
    """In batches, with a watermark 300 ms behind; then to the end."""
    made, highest = Run(), 0
    for number, start in enumerate(range(0, len(rows), batch)):
        made.feed(rows[start : start + batch])
        highest = max(highest, *(row.time for row in rows[start : start + batch]))
        made.advance(highest - 301)
        after_each(made, number)
    made.advance(2**62)
    return made


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
    rows = stream(500, seed=batch)
    made = run(rows, batch)
    assert made.late == []
    check(made.results, rows)


@pytest.mark.parametrize("every", [1, 3])
def test_restarts_change_no_bit(every: int) -> None:
    rows = stream(600, seed=9)

    def restart(made: Run, number: int) -> None:
        if number % every == 0:
            made.restart()

    restarted = run(rows, 20, restart)
    check(restarted.results, rows)
    assert restarted.results == run(rows, 20).results


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
    for start in range(0, 40_000, 2_000):
        rows = stream(2_000, seed=start, apart=10, disorder=1)
        made.feed(row._replace(time=row.time + start * 10, offset=row.offset + start) for row in rows)
        made.advance(10_000 + start * 10 + 19_990)
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
