"""Windows that are scored themselves, as Flink drives them, with restarts; compared with plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import sized
from tests.helpers.window_reference import aggregated, ewma, percentile, rate, same
from tests.helpers.window_rows import FIELDS, Row, StageRun, in_batches, stream
from udfs.errors import StateError
from udfs.records.problems import Problem, beyond_type
from udfs.windows.params import AggregateParams, GroupParams, StageParams
from udfs.windows.stage import GroupStage
from udfs.windows.windowed import Windowed

SELECT = {
    "seen": AggregateParams("count"),
    "spent": AggregateParams("sum", "amount"),
    "mean": AggregateParams("avg", "amount"),
    "spread": AggregateParams("stddev", "amount"),
    "most": AggregateParams("max", "items"),
    "kinds": AggregateParams("count", "items", distinct=True),
    "begun": AggregateParams("first", "items"),
    "ended": AggregateParams("last", "amount"),
    "middle": AggregateParams("percentile", "amount", share=0.3),
    "lately": AggregateParams("ewma", "amount", half_life_ms=200),
    "pace": AggregateParams("rate", "amount"),
}
NAMED = {
    "spent": ("sum", "amount"),
    "mean": ("avg", "amount"),
    "spread": ("stddev", "amount"),
    "most": ("max", "items"),
    "kinds": ("distinct", "items"),
    "begun": ("first", "items"),
    "ended": ("last", "amount"),
}
TUMBLE = GroupParams(1_000, 1_000, 0, SELECT)
HOP = GroupParams(3_000, 500, 0, SELECT)
SESSION = GroupParams(0, 0, 150, SELECT)
KINDS = {"tumble": TUMBLE, "hop": HOP, "session": SESSION}
Window = tuple[str | None, int]


def stage_params(group: GroupParams) -> StageParams:
    return StageParams(("card",), (), FIELDS, (), group)


class Run(StageRun):
    """`results` are by key and start of the window."""

    def __init__(self, group: GroupParams) -> None:
        super().__init__(GroupStage(stage_params(group), group))
        self.group = group
        self.results: dict[Window, dict[str, Any]] = {}
        self.problems: list[Problem] = []

    def restart(self, group: GroupParams) -> None:
        self.group = group
        self.restart_as(GroupStage(stage_params(group), group))

    def seen(self, windowed: Windowed) -> None:
        self.problems += windowed.problems.values()
        for row in windowed.rows.to_pylist():
            window = row["card"], _ms(row["_window_start"])
            assert window not in self.results
            self.results[window] = row


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1_000)


def windows_of(group: GroupParams, rows: list[Row]) -> Iterator[tuple[int, int, list[Row]]]:
    """(start, end, rows) of one key, whose rows are in the order of their times."""
    if group.gap_ms:
        session: list[Row] = []
        for row in rows:
            if session and row.time - session[-1].time > group.gap_ms:
                yield session[0].time, session[-1].time + group.gap_ms, session
                session = []
            session.append(row)
        yield session[0].time, session[-1].time + group.gap_ms, session
        return
    size, every = group.size_ms, group.every_ms
    for start in range(rows[0].time // every * every - size, rows[-1].time + 1, every):
        if inside := [row for row in rows if start <= row.time < start + size]:
            yield start, start + size, inside


def expected(group: GroupParams, rows: list[Row]) -> dict[Window, dict[str, Any]]:
    by_card: dict[str | None, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.time, row.offset)):
        by_card[row.card].append(row)
    made = {}
    for card, of_card in by_card.items():
        for start, end, inside in windows_of(group, of_card):
            timed = [(row.time, row.amount) for row in inside if row.amount is not None]
            made[card, start] = {
                **aggregated([row._asdict() for row in inside], NAMED),
                "seen": len(inside),
                "_records": len(inside),
                "end": end,
                "middle": percentile([amount for _, amount in timed], 0.3),
                "lately": ewma(timed, 200),
                "pace": rate(timed),
            }
    return made


def check(made: Run, rows: list[Row]) -> None:
    wanted = expected(made.group, rows)
    assert made.results.keys() == wanted.keys()
    wrong = [
        (window, name, value, made.results[window].get(name))
        for window, values in wanted.items()
        for name, value in values.items()
        if not same(
            _ms(made.results[window]["_window_end"]) if name == "end" else made.results[window][name], value
        )
    ]
    assert wrong == []
    assert made.problems == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 7, 100, 1_000])
def test_each_window_has_its_rows_however_they_fall_into_batches(kind: str, batch: int) -> None:
    rows = stream(sized(400, 100 if batch == 1 else 300), seed=batch)
    made = in_batches(Run(KINDS[kind]), rows, batch)
    assert made.late == []
    check(made, rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [1, 3])
def test_restarts_change_no_bit(kind: str, every: int) -> None:
    rows, group = stream(sized(400, 200), seed=9), KINDS[kind]

    def restart(made: Run, number: int) -> None:
        if number % every == 0:
            made.restart(group)

    restarted = in_batches(Run(group), rows, 20, restart)
    check(restarted, rows)
    assert restarted.results == in_batches(Run(group), rows, 20).results


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=sized(100, 10))
@given(
    times=st.lists(st.integers(-2_000, 2_000), min_size=1, max_size=25),
    cuts=st.lists(st.integers(0, 24), max_size=6),
)
def test_any_times_and_restarts(kind: str, times: list[int], cuts: list[int]) -> None:
    """Sparse and dense ones, before 1970 too, all at once or behind the watermark, restarted anywhere."""
    rows = [Row("ab"[i % 2], 1.0, i, time, i) for i, time in enumerate(times)]
    made = Run(KINDS[kind])
    for i, row in enumerate(rows):
        made.feed([row])
        if i in cuts:
            made.advance(max(made.watermark, row.time - 500))
            made.restart(made.group)
    made.advance(2**63 - 1)
    kept = [row for row in rows if row.offset not in made.late]
    check(made, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_late_after_a_restart_comes_out_late_and_only_once(kind: str) -> None:
    """The source forgets its watermark, and the shard is all that knows which windows were scored."""
    rows = [Row("a", 1.0, 1, 10_000 + 1_000 * n, n) for n in range(400)]
    made = Run(KINDS[kind])
    made.feed(rows)
    made.advance(10_000 + 399_000 - 60_001)
    made.restart(made.group)
    made.feed([Row("a", 1.0, 1, 10_000 + 199_000, 400)])
    made.feed([Row("a", 1.0, 1, 10_000 + 400_000 + 1_000 * n, 401 + n) for n in range(60)])
    made.advance(2**62)
    assert made.late == [400]
    overlapping = made.group.size_ms // made.group.every_ms if made.group.size_ms else 1
    assert sum(row["_records"] for row in made.results.values()) == 460 * overlapping


@pytest.mark.parametrize("kind", KINDS)
def test_a_drained_job_takes_in_what_comes_after_it(kind: str) -> None:
    """The watermark of the end is no time: were it kept, all that comes later would be late."""
    made = Run(KINDS[kind])
    made.feed([Row("a", 1.0, 1, 5_000, 0)])
    made.advance(2**63 - 1)
    made.restart(made.group)
    made.feed([Row("a", 1.0, 2, 5_000, 1), Row("a", 1.0, 2, 9_500, 2)])
    made.advance(2**62)
    assert made.late == [1]
    assert sum(row["_records"] for row in made.results.values()) % 2 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_window_needs_leaves_the_state(kind: str) -> None:
    """A long tail: neither the state nor the numbers of keys grow with the stream."""
    made = Run(KINDS[kind])
    sizes = []
    for start in range(0, 14_000, 1_000):
        rows = stream(500, seed=start, apart=20, disorder=1)
        made.feed(
            row._replace(time=row.time + start * 10, offset=row.offset + start, card=f"{start}{row.card}")
            for row in rows
        )
        made.advance(10_000 + start * 10 + 9_990)
        made.results.clear()
        sizes.append(made.flink.bytes_kept())
    assert max(sizes[10:]) < 3 * max(sizes[:3])  # a state that grows would be four times as large


EDITS = [
    *((old, new) for old in (TUMBLE, HOP, SESSION) for new in (TUMBLE, HOP, SESSION) if old is not new),
    (TUMBLE, msgspec.structs.replace(TUMBLE, size_ms=2_000, every_ms=2_000)),
    (SESSION, msgspec.structs.replace(SESSION, gap_ms=20)),
    (SESSION, msgspec.structs.replace(SESSION, gap_ms=2_000)),
    (HOP, msgspec.structs.replace(HOP, every_ms=3_000)),
    (HOP, msgspec.structs.replace(HOP, size_ms=6_000)),
]


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_rows_that_were_in_no_window_yet_are_in_all_of_the_new_ones(
    old: GroupParams, new: GroupParams
) -> None:
    """An edit between savepoint and start: no row is lost, none is scored again, no window comes twice."""
    rows = stream(300, seed=2)
    made = Run(old)
    made.feed(rows[:150])
    made.advance(max(row.time for row in rows[:150]) - 301)
    before = {window: (_ms(found["_window_end"]), found) for window, found in made.results.items()}
    made.results.clear()
    made.restart(new)
    made.restart(new)
    made.feed(rows[150:])
    made.advance(2**62)
    assert made.late == []
    out = {
        row.offset
        for row in rows[:150]
        if any(window in before for window in _windows_with(old, rows[:150], row))
    }
    check(made, [row for row in rows if row.offset not in out])
    ends = {window: _ms(found["_window_end"]) for window, found in made.results.items()}
    assert not {(*window, end) for window, (end, _) in before.items()} & {
        (*w, end) for w, end in ends.items()
    }


def _windows_with(group: GroupParams, rows: list[Row], row: Row) -> list[Window]:
    of_card = sorted((r for r in rows if r.card == row.card), key=lambda r: (r.time, r.offset))
    return [(row.card, start) for start, _, inside in windows_of(group, of_card) if row in inside]


@pytest.mark.parametrize("kind", KINDS)
def test_an_added_result_changes_no_window(kind: str) -> None:
    """Nor does a window come twice, of which some rows are in windows to come."""
    rows, group = stream(300, seed=2), KINDS[kind]
    fewer = msgspec.structs.replace(group, select={name: SELECT[name] for name in ("seen", "spent")})
    made = Run(fewer)
    made.feed(rows[:150])
    made.advance(max(row.time for row in rows[:150]) - 301)
    before = {**made.results}
    made.restart(group)
    made.feed(rows[150:])
    made.advance(2**62)
    whole = Run(group)
    whole.feed(rows)
    whole.advance(2**62)
    assert {w: r["seen"] for w, r in made.results.items()} == {w: r["seen"] for w, r in whole.results.items()}
    assert all(made.results[w]["pace"] == r["pace"] for w, r in whole.results.items() if w not in before)


def test_an_added_result_is_of_all_rows_whose_columns_are_kept() -> None:
    few = msgspec.structs.replace(TUMBLE, select={"spent": SELECT["spent"]})
    more = msgspec.structs.replace(few, select={"mean": SELECT["mean"], "most": SELECT["most"]})
    made = Run(few)
    made.feed([Row("a", 2.0, 7, 10_000, 0)])
    made.restart(more)
    made.feed([Row("a", 4.0, 5, 10_001, 1)])
    made.advance(2**62)
    (window,) = made.results.values()
    assert (window["mean"], window["most"], window["_records"]) == (3.0, 5, 2)


def test_the_state_of_another_key_is_never_read() -> None:
    made = Run(TUMBLE)
    made.feed(stream(50, seed=1))
    other = StageParams(("items",), (), FIELDS, (), TUMBLE)
    made.stage = GroupStage(other, TUMBLE)
    with pytest.raises(StateError, match=r"keeps windows by card \(string\), this job has items \(long\)"):
        made.advance(2**62)


def test_a_sum_beyond_a_long_is_named_and_the_window_next_to_it_is_right() -> None:
    made = Run(msgspec.structs.replace(TUMBLE, select={"total": AggregateParams("sum", "items")}))
    made.feed([Row("a", 1.0, 2**62, 10_000 + n, n) for n in range(2)])
    made.feed([Row("b", 1.0, 2**62, 10_000, 2)])
    made.advance(2**62)
    assert made.problems == [beyond_type("total")]
    assert {card: row["total"] for (card, _), row in made.results.items()} == {"a": None, "b": 2**62}


def test_a_watermark_that_jumps_a_year_costs_no_more_than_its_rows() -> None:
    """A window each second of a year, of which two have rows: compared by what is looked at, not by time."""
    select = {"seen": AggregateParams("count")}
    made = Run(GroupParams(3_600_000, 1_000, 0, select))
    made.feed([Row("a", 1.0, 1, 0, 0), Row("a", 1.0, 1, 31_536_000_000, 1)])
    made.advance(2**62)
    assert sum(row["_records"] for row in made.results.values()) == 2 * 3_600
