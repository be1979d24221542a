"""From where a source is read once more, and that this reader leaves no trace in the group or in outputs.

The adversary is a start that is too late for some record, by another clock or in another partition, which
would call windows complete that are not; and a savepoint that Flink refuses afterwards.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.state import judge, leaves, looks_back_anew, refusals, state_of
from flink_jobs.plan.warm_up import (
    FROM_THE_FIRST,
    active_since,
    covered_since,
    first_timestamp,
    longest,
    with_warm_up,
)
from flink_jobs.plan.window_stages import OUTCOMES, WindowStages
from flink_jobs.run.savepoints import places_in
from tests.helpers import models

MINUTE, HOUR = 60_000, 3_600_000
JOB = """
job: rides
source:
  topic: rides
  event_time: {out_of_order: 1m, idle: 30s}
  schema: {card: {type: string, required: true}, shop: string, fare: double, at: {type: long, required: true}}
features:
  windows:
    hour: {by: card, over: 1h, select: {n: count(*), spent: sum(fare)}}
    few: {by: shop, over: 10m, select: {most: max(fare)}}
model: {name: sums, registry: models}
predictions: {include: [card, _window_complete]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warm")
    inputs = pa.table({"n": [1.0, 2.0, 3.0], "spent": [1.0, 2.0, 4.0]})
    models.write(root / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    return root


def plan(folder: Path, *edits: tuple[str, str]) -> Plan:
    text = JOB
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return make_plan(load_job_text(text, "job.yaml", folder, {}))


def test_the_slowest_partition_that_is_not_idle_decides(folder: Path) -> None:
    job = plan(folder).job
    assert longest(plan(folder)) == HOUR
    last = 10 * HOUR
    assert active_since({}, job, HOUR) is None
    assert active_since({0: last, 1: last - HOUR}, job, HOUR) == last - 2 * HOUR - MINUTE - 1
    assert active_since({0: last, 1: last - 3 * HOUR}, job, HOUR) == last - HOUR - MINUTE - 1


def test_clocks_that_run_ahead_of_kafkas_are_allowed_for(folder: Path) -> None:
    """An event time may be `max_ahead` after the Kafka timestamp: the record may stand that much before."""
    own = plan(folder, ("{out_of_order", "{field: at, max_ahead: 5m, out_of_order")).job
    assert first_timestamp(plan(folder).job, HOUR) == HOUR
    assert first_timestamp(own, HOUR) == HOUR - 5 * MINUTE
    assert covered_since(own, HOUR, {}) == HOUR
    assert covered_since(own, HOUR, {0: HOUR, 1: 7 * MINUTE}) == HOUR + 5 * MINUTE + 1


def test_a_second_reader_gives_windows_what_they_lack_and_commits_nothing(folder: Path) -> None:
    before = plan(folder)
    warmed = with_warm_up(before, 123, 100, {0: 7, 1: 9})
    (table,) = [table for table in warmed.tables if table not in before.tables]
    options = table.options
    assert options["scan.startup.timestamp-millis"] == "100"
    assert options["scan.bounded.specific-offsets"] == "partition:0,offset:7;partition:1,offset:9"
    assert options["properties.commit.offsets.on.checkpoint"] == "false"
    assert not [name for name in options if "idle" in name or "alignment" in name]
    assert warmed.views.inserts == before.views.inserts
    stages = warmed.views.views[OUTCOMES]
    assert isinstance(stages, WindowStages)
    assert [stage.warm_from for stage in stages.stages] == [123, 123]
    assert {*stages.changes} == {"tailrace-windows-card", "tailrace-windows-shop"}
    assert list(warmed.views.views)[-1] == OUTCOMES


def test_each_stage_says_whether_its_windows_are_complete_and_names_it_once(folder: Path) -> None:
    stages = plan(folder).views.views[OUTCOMES]
    assert isinstance(stages, WindowStages)
    assert [stage.complete for stage in stages.stages] == [True, True]
    named = [name for stage in stages.stages for name, _ in stage.results]
    assert named.count("_window_complete") == 1


def test_verdicts_know_of_the_second_reader_before_and_after(folder: Path) -> None:
    longer = ("over: 1h", "over: 2h")
    before, after = state_of(plan(folder)), state_of(with_warm_up(plan(folder, longer), 5, 5, {0: 7}))
    said = [v for v in judge(before, after) if v.outcome != "goes on"]
    assert [(v.outcome, v.why) for v in said] == [
        ("changes", "filled from the state, and from the topic what that lacks; complete at the start")
    ]
    later = judge(after, state_of(plan(folder, longer)))
    assert refusals(later, ()) == []
    assert leaves(later)
    assert not leaves(judge(before, before))


ROWS = "few: {by: shop, rows: 5, select: {most: max(fare)}}"
FEW = "few: {by: shop, over: 10m, select: {most: max(fare)}}"


@pytest.mark.parametrize(
    ("before", "now", "anew", "why"),
    [
        (FEW, ROWS, True, "complete after 5 records of a key, or at the start with --warm-up"),
        (ROWS, ROWS.replace("5", "9"), True, "complete after 9 records of a key, or at the start"),
        (ROWS, ROWS.replace("5", "3"), False, "filled from the state"),
        (
            ROWS,
            ROWS.replace("max(fare)", "max(at)"),
            True,
            "at is null in records of before; filled as far as",
        ),
        (FEW, FEW.replace("max(fare)", "'lag(fare, 3)'"), True, "complete once a key has records enough"),
        (FEW, FEW.replace("max(fare)", "avg(fare)"), False, "filled from the state"),
        (
            FEW,
            FEW.replace("10m", "20m"),
            False,
            "complete 20m after the start, or at the start with --warm-up",
        ),
        (FEW, ROWS.replace("by: shop", "by: at"), False, ""),
    ],
)
def test_only_what_looks_back_otherwise_is_read_from_the_first_record(
    folder: Path, before: str, now: str, anew: bool, why: str
) -> None:
    """The adversary is an edit of which no time tells how far back its records are."""
    was = state_of(plan(folder, (FEW, before)))
    edited = plan(folder, (FEW, now))
    assert looks_back_anew(was, state_of(edited)) is anew
    assert looks_back_anew(None, state_of(edited)) is ("rows" in now or "lag" in now)
    said = [v.why for v in judge(was, state_of(edited)) if v.part.startswith("window few") and v.why]
    assert not why or any(why in each for each in said), said
    warmed = with_warm_up(edited, FROM_THE_FIRST, 0, {0: 7}, 99)
    assert any(table.name == "warm_up_99" for table in warmed.tables)
    if anew:
        verdicts = judge(was, state_of(warmed))
        assert "complete at the start" in next(v.why for v in verdicts if v.part.startswith("window few"))


def test_the_place_is_the_savepoints_own_whoever_has_read_on_since() -> None:
    """Splits as Flink's connector writes them, among other bytes; not those of another topic or of an end."""

    def split(topic: str, partition: int, offset: int, end: int = -(2**63)) -> bytes:
        name = topic.encode()
        return struct.pack(f">H{len(name)}siqq", len(name), name, partition, offset, end)

    written = b"\0\1rides" + split("rides", 0, 400) + split("rides2", 1, 3) + split("rides", 1, 7, 9)
    written += split("rides", 2, 12) + split("rides", 2, 11) + b"\0\5rides\0\0"
    assert places_in(written, "rides") == {0: 400, 2: 11}
