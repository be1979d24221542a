"""Conditions of windows: what the plan refuses, and what workers make of them, against plain Python."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Runnable, make_feature_plan
from flink_jobs.plan.columns import aggregate_type
from flink_jobs.plan.window_stages import WindowStages, aggregate_params
from flink_jobs.spec.aggregates import AGGREGATES, parse_aggregate
from tests.helpers.shard_states import ShardStates
from udfs.flink.functions import PackFunction
from udfs.scoring.outcomes import DEAD, PREDICTED
from udfs.scoring.params import PackParams
from udfs.windows.answers import result_type
from udfs.windows.params import StageParams
from udfs.windows.stage import SlidingStage

JOB = """
job: payments
source:
  topic: payments
  schema: {{card: string, shop: string, amount: double, items: long, refund: boolean}}
features:
  windows:
    card: {{by: card, over: 10s, select: {{all: count(*), one: "{one}"}}}}
    shop: {{by: shop, rows: 3, select: {{two: "{two}", back: "lag(amount, 1 where refund)"}}}}
model: {{name: fraud}}
"""
START = 1_767_225_600_000


def plan(one: str = "count(* where amount > 100)", two: str = "sum(amount where not refund)") -> Runnable:
    job = load_job_text(JOB.format(one=one, two=two), "job.yaml", Path("/"))
    return make_feature_plan(job, ["all", "one", "two", "back"])


def stages(made: Runnable) -> tuple[StageParams, ...]:
    (found,) = [view for view in made.views.views.values() if isinstance(view, WindowStages)]
    return found.stages


def packing(made: Runnable) -> PackParams:
    params = made.views.functions["pack_records"].params
    assert isinstance(params, PackParams)
    return params


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("amuont > 1", "one of the columns amount, card, items, refund, shop; got 'amuont' at character 1"),
        ("amuont > 1", "; did you mean 'amount'?"),
        ("all > 1", "got 'all' at character 1"),
        ("amount + items", "a boolean; got 'amount + items', a double"),
        ("amount > 'x'", "of one type in"),
        ("amount >", "one SQL expression; got"),
        ("amount > 1; DROP", "one SQL expression; got"),
        ("amount > 1) + (2", "one SQL expression; got"),
        ("sum(amount) > 1", "a function of one row"),
        ("event_time > 1", "one of the columns amount, card"),
        ("refund -- always", "one SQL expression without comments"),
    ],
)
def test_a_wrong_condition_is_told_where_it_is(condition: str, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        plan(one=f"count(* where {condition})")
    (only,) = caught.value.diagnostics
    assert only.location == ("features", "windows", "card", "select", "one")
    assert "must be an aggregate whose condition is " in str(only)
    assert message in str(only)


def test_each_wrong_condition_is_told_once_for_each_aggregate() -> None:
    with pytest.raises(JobFileError) as caught:
        plan(one="count(* where n > 1)", two="count(* where n > 1)")
    assert [d.location[2] for d in caught.value.diagnostics] == ["card", "shop"]


def test_a_condition_of_several_aggregates_is_computed_once_and_shown_as_it_is_written() -> None:
    made = plan(one="COUNT(*) WHERE refund", two="sum(amount where  refund )")
    assert [condition.name for condition in packing(made).conditions] == ["where refund"]
    first, second = stages(made)
    assert first.columns[-1] == ("where refund", "boolean")
    assert [name for name, _ in second.columns][-3:] == ["where refund", "all", "one"]
    assert [
        window.select[name].where for window, name in [(first.windows[0], "one"), (second.windows[0], "two")]
    ] == ["where refund"] * 2
    assert made.columns["one"].origin == "window card: count(* where refund)"
    assert "where refund" not in made.columns.columns


def test_the_plan_and_the_engine_agree_on_types() -> None:
    job = plan().job
    types = {name: field.column_type for name, field in job.source.fields.items()}
    second = {"lag": ", 2", "percentile": ", 0.5", "ewma": ", 1s"}
    for function in AGGREGATES:
        columns = ["items", "amount"] if function != "time_since_last" else [""]
        for column in columns:
            aggregate = parse_aggregate(f"{function}({column}{second.get(function, '')})")
            assert aggregate_type(aggregate, job) == result_type(aggregate_params(aggregate), types)


class Counters:
    """Flink's metric group, as far as a UDF sees it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add_group(self, _name: str, _label: str | None = None) -> Counters:
        return self

    def gauge(self, _name: str, _value: Any) -> None:
        """None is asked for here."""

    def counter(self, name: str) -> Any:
        def inc(n: int) -> None:
            self.counts[name] = self.counts.get(name, 0) + n

        return SimpleNamespace(inc=inc)


def packed(made: Runnable, records: Sequence[dict[str, Any]], counters: Counters) -> dict[str, Any]:
    """What the UDF says of a batch of records; the time of each is in it."""
    function = PackFunction(packing(made))
    function.open(SimpleNamespace(get_metric_group=lambda: counters))
    rows = len(records)
    times = pa.array([r["time"] for r in records], pa.timestamp("ms"))
    keys, names, values = (
        pa.nulls(rows, kind) for kind in (pa.binary(), pa.list_(pa.string()), pa.list_(pa.binary()))
    )
    raws = pa.array([json.dumps(r).encode() for r in records])
    partitions, offsets = pa.array([0] * rows, pa.int32()), pa.array([r["n"] for r in records])
    late = pa.array([False] * rows)
    return function.eval(raws, times, late, keys, names, values, partitions, offsets, times)


class Stream:
    """Drives a stage as Flink does; `restart` leaves nothing but the state."""

    def __init__(self, params: StageParams) -> None:
        self._flink, self._timers = ShardStates(), set[tuple[int, int]]()
        self.restart(params)

    def restart(self, params: StageParams) -> None:
        self._stage = SlidingStage(params)

    def through(self, blobs: Sequence[tuple[int, bytes]], watermark: int) -> list[dict[str, Any]]:
        """The rows up to the watermark, with their windows' results."""
        for key, blob in blobs:
            _, timer = self._stage.receive(key, self._flink.of(key), blob, -(2**63))
            self._timers |= {(timer, key)} if timer is not None else set()
        for timer, key in sorted(self._timers):
            assert timer <= watermark
            assert self._stage.fire(key, self._flink.of(key), watermark) is None
        self._timers.clear()
        done = self._stage.take(watermark)
        return done.rows.to_pylist() if done else []


def windowed(params: StageParams, blobs: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    return Stream(params).through(blobs, 2**62)


def records(rows: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)

    def some(value: Any) -> Any:
        return None if draw.random() < 0.2 else value

    return [
        {
            "n": n,
            "time": START + n * 700,
            "card": some(draw.choice("ab")),
            "shop": draw.choice("xyz"),
            "amount": some(round(draw.uniform(-50, 200), 2)),
            "items": draw.randrange(4),
            "refund": some(draw.random() < 0.5),
        }
        for n in range(rows)
    ]


def within(now: dict[str, Any], sent: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of a card's last 10 s."""
    since = now["time"] - 10_000
    return [r for r in sent if r["card"] == now["card"] and since <= r["time"] <= now["time"]]


def test_records_count_of_which_the_condition_is_true_and_null_is_not_true() -> None:
    made, sent = plan(), records(400, seed=1)
    frame = packed(made, sent, Counters())
    assert set(frame["_kind"]) == {PREDICTED}
    first, _ = stages(made)
    found = windowed(first, frame["_shards"][0])
    assert len(found) == len(sent)
    for row in found:
        now = sent[row["_offset"]]
        window = within(now, sent)
        assert row["all"] == len(window)
        assert row["one"] == len([r for r in window if r["amount"] is not None and r["amount"] > 100])


def test_a_record_whose_condition_fails_is_a_dead_letter_and_no_window_sees_it() -> None:
    made, sent, counters = plan(one="count(* where amount / items > 20)"), records(300, seed=2), Counters()
    frame = packed(made, sent, counters)
    bad = {r["n"] for r in sent if r["items"] == 0 and r["amount"] is not None}
    assert bad
    assert set(np.flatnonzero(frame["_kind"] == DEAD)) == bad
    problem = json.loads(frame["_problem"][min(bad)])
    assert (problem["stage"], problem["reason"]) == ("feature", "feature_error")
    assert problem["message"].startswith("where amount / items > 20: ")
    assert (counters.counts["dead"], counters.counts["dead_feature"]) == (len(bad), len(bad))
    seen = [r for r in sent if r["n"] not in bad]
    for row in windowed(stages(made)[0], frame["_shards"][0]):
        now = sent[row["_offset"]]
        window = within(now, seen)
        counted = [r for r in window if r["amount"] is not None and r["amount"] / r["items"] > 20]
        assert (row["all"], row["one"]) == (len(window), len(counted))


def test_a_batch_without_a_valid_record_packs_nothing() -> None:
    made, counters = plan(one="count(* where amount / items > 20)"), Counters()
    sent = [{**r, "amount": 1.0, "items": 0} for r in records(5, seed=3)]
    assert packed(made, sent, counters)["_shards"].tolist() == [None] * 5
    broken = [{**r, "amount": "much"} for r in sent]
    assert packed(made, broken, counters)["_shards"].tolist() == [None] * 5
    assert (counters.counts["dead_feature"], counters.counts["dead_contract"]) == (5, 5)


def test_what_another_condition_said_before_a_restart_does_not_count() -> None:
    sent = [{"n": n, "time": START + n, "card": "a", "amount": 50.0 * n} for n in range(6)]
    before, after = plan(one="count(* where amount >= 0)"), plan(one="count(* where amount >= 1)")
    stream = Stream(stages(before)[0])
    blobs = [
        packed(made, part, Counters())["_shards"][0] for made, part in ((before, sent[:3]), (after, sent[3:]))
    ]
    assert [row["one"] for row in stream.through(blobs[0], START + 2)] == [1, 2, 3]
    stream.restart(stages(after)[0])
    rows = stream.through(blobs[1], START + 10)
    assert [(row["all"], row["one"]) for row in rows] == [(4, 1), (5, 2), (6, 3)]
