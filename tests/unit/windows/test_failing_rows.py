"""Rows on which windows themselves fail cost their own outcome and nothing of others, also over a restart."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.window_reference import aggregated, same
from tests.helpers.window_rows import FIELDS, Row, StageRun, in_batches, stream
from udfs.records.problems import Problem
from udfs.windows import columns, engine, sliding, store, summary
from udfs.windows.params import AggregateParams, GroupParams, StageParams, WindowParams
from udfs.windows.runs import Run as SortedRun
from udfs.windows.stage import GroupStage, SlidingStage
from udfs.windows.windowed import Windowed

SELECT = {
    "spent": AggregateParams("sum", "amount"),
    "kinds": AggregateParams("count", "items", distinct=True),
    "middle": AggregateParams("percentile", "amount", share=0.5),
}
NAMED = {"spent": ("sum", "amount"), "kinds": ("distinct", "items")}
WINDOW = WindowParams(over_ms=1_000, select=SELECT)
SLIDING = StageParams(
    ("card",), (WINDOW,), FIELDS, (("spent", "double"), ("kinds", "long"), ("middle", "double"))
)
TUMBLE = GroupParams(1_000, 1_000, 0, SELECT)
POISON = 999.5


class SlidingRun(StageRun):
    """`results` and `dead` are by offset."""

    def __init__(self) -> None:
        super().__init__(SlidingStage(SLIDING))
        self.results: dict[int, dict[str, Any]] = {}
        self.dead: dict[int, Problem] = {}

    def restart(self) -> None:
        self.restart_as(SlidingStage(SLIDING))

    def seen(self, windowed: Windowed) -> None:
        for number, row in enumerate(windowed.rows.to_pylist()):
            offset = row["_offset"]
            assert offset not in self.results.keys() | self.dead.keys()
            if number in windowed.problems:
                self.dead[offset] = windowed.problems[number]
            else:
                self.results[offset] = row


class GroupRun(StageRun):
    """`results` and `dead` are by key and start of the window."""

    def __init__(self) -> None:
        super().__init__(GroupStage(StageParams(("card",), (), FIELDS, (), TUMBLE), TUMBLE))
        self.results: dict[Any, dict[str, Any]] = {}
        self.dead: dict[Any, Problem] = {}

    def seen(self, windowed: Windowed) -> None:
        for number, row in enumerate(windowed.rows.to_pylist()):
            window = row["card"], round(row["_window_start"].timestamp() * 1_000)
            if number in windowed.problems:
                self.dead[window] = windowed.problems[number]
            else:
                self.results[window] = row


def poisoned(rows: list[Row], every: int) -> tuple[list[Row], set[int]]:
    """One row in `every` has the value, at a time of its own, so that it has no peers."""
    bad = {row.offset for row in rows if row.offset % every == every // 2}
    return [
        row._replace(amount=POISON, time=row.time + 1, items=3) if row.offset in bad else row for row in rows
    ], bad


def fail_before(monkeypatch: pytest.MonkeyPatch) -> None:
    real = columns.read_column

    def failing(column: pa.Array, kind: Any) -> Any:
        if POISON in column.to_pylist():
            raise ZeroDivisionError(f"secret {POISON}")
        return real(column, kind)

    monkeypatch.setattr(engine, "read_column", failing)
    monkeypatch.setattr(summary, "read_column", failing)


def fail_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """When some values of the batch were taken in by the aggregates that keep them."""
    real = sliding.Percentile.push

    def failing(self: sliding.Percentile, position: int, value: Any) -> None:
        if value == POISON:
            raise ZeroDivisionError(f"secret {value}")
        real(self, position, value)

    monkeypatch.setattr(sliding.Percentile, "push", failing)


def fail_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rows were kept."""
    real = store.Store.append

    def failing(self: store.Store, run: SortedRun) -> None:
        real(self, run)
        if POISON in run.columns["amount"].listed():
            raise ZeroDivisionError(f"secret {POISON}")

    monkeypatch.setattr(store.Store, "append", failing)


FAILURES = {"before": fail_before, "in the middle": fail_in_the_middle, "after": fail_after}


def check_problems(dead: dict[Any, Problem]) -> None:
    for problem in dead.values():
        assert (problem.stage, problem.reason) == ("feature", "unexpected")
        assert "ZeroDivisionError at test_failing_rows.py:" in problem.message
        assert "secret" not in problem.message


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(("batch", "restarts"), [(1_000, False), (100, False), (30, True)])
def test_a_row_on_which_a_window_fails_costs_no_other_row(
    failure: str, batch: int, restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, bad = poisoned(stream(230, seed=batch), 57)
    FAILURES[failure](monkeypatch)

    def after_each(made: SlidingRun, _: int) -> None:
        if restarts:
            made.restart()

    made = in_batches(SlidingRun(), rows, batch, after_each)
    assert made.late == []
    assert set(made.dead) == bad
    check_problems(made.dead)
    good = [row for row in rows if row.offset not in bad]
    assert set(made.results) == {row.offset for row in good}
    for row in good:
        within = [
            other._asdict()
            for other in sorted(good, key=lambda other: (other.time, other.offset))
            if other.card == row.card and row.time - 1_000 <= other.time <= row.time
        ]
        for name, value in aggregated(within, NAMED).items():
            assert same(made.results[row.offset][name], value), (row, name)


@pytest.mark.parametrize("failure", ["before", "in the middle"])
def test_a_window_that_fails_costs_no_other_window(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, bad = poisoned(stream(400, seed=4), 97)
    FAILURES[failure](monkeypatch)
    made = in_batches(GroupRun(), rows, 100)
    windows: dict[Any, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.time, row.offset)):
        windows.setdefault((row.card, row.time // 1_000 * 1_000), []).append(row)
    failed = {window for window, inside in windows.items() if any(row.offset in bad for row in inside)}
    assert len(failed) == len(bad) == 4
    assert set(made.dead) == failed
    check_problems(made.dead)
    assert set(made.results) == set(windows) - failed
    for window, result in made.results.items():
        for name, value in aggregated([row._asdict() for row in windows[window]], NAMED).items():
            assert same(result[name], value), (window, name)
