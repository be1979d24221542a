"""What leaves the stage of a table in Flink's hands: each record once, over restarts, whatever comes late.

The adversaries are a restart between a change and the records that it is for, and one while records wait.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_feature_plan
from flink_jobs.plan.window_stages import OUTCOMES, WindowStages
from tests.helpers.keyed_operator import KeyedOperator
from udfs.flink.windowing import OUTCOME_COLUMNS, ScoringStage
from udfs.scoring.changes import ChangesReader
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED
from udfs.windows.blobs import pack, row_schema

JOB = """
job: a
source: {topic: in, schema: {id: {type: long, required: true}, card: string}}
features:
  lookups:
    cards: {topic: cards, by: card, wait: 1s, select: {tier: {column: tier, type: string}}}
  derive: {known: tier IS NOT NULL}
model: {name: m}
"""
PLAN = make_feature_plan(load_job_text(JOB, "a.yaml", Path("/"), {}), ["id", "tier", "known"])


def stages() -> WindowStages:
    view = PLAN.views.views[OUTCOMES]
    assert isinstance(view, WindowStages)
    return view


def operator() -> KeyedOperator:
    view = stages()
    return KeyedOperator(ScoringStage(view.stages[0], view.score, view.pack))


def changes(*made: tuple[str, str | None, int]) -> bytes:
    """Of (card, tier, time), without a tier a deletion; through the UDF's reader, into one shard."""
    params: Any = PLAN.views.functions["read_table_cards"].params
    reader = ChangesReader(msgspec.structs.replace(params, shard_keys=(0,)))
    values = [json.dumps({"card": card, "tier": tier}).encode() if tier else None for card, tier, _ in made]
    count = len(made)
    places = (np.zeros(count, np.int64), np.arange(count))
    times = np.array([time for _, _, time in made])
    ((_, blob),) = reader.read(values, [card.encode() for card, _, _ in made], times, places)
    return blob


def records(*made: tuple[int, str | None, int]) -> bytes:
    """Of (id, card, time)."""
    schema = row_schema(stages().stages[0].columns)
    given: dict[str, list[Any]] = {
        "id": [number for number, _, _ in made],
        "card": [card for _, card, _ in made],
        "_value": [json.dumps({"id": number, "card": card}).encode() for number, card, _ in made],
        "_partition": [0] * len(made),
        "_offset": [number for number, _, _ in made],
        "_timestamp": [time for _, _, time in made],
        "_time": [time for _, _, time in made],
    }
    arrays = [pa.array(given.get(f.name, [None] * len(made)), type=f.type) for f in schema]
    ((_, blob),) = pack(pa.Table.from_arrays(arrays, schema=schema), ("card",), (0,))
    return blob


def told(ran: KeyedOperator) -> dict[int, tuple[str | None, bool]]:
    rows = [dict(zip(OUTCOME_COLUMNS, row, strict=True)) for row in ran.results]
    assert [row for row in rows if row["_kind"] == DEAD] == []
    values = [json.loads(value) for row in rows if row["_kind"] == PREDICTED for value in row["_values"]]
    found = {each["features"]["id"]: (each["features"]["tier"], each["features"]["known"]) for each in values}
    assert len(found) == len(values)
    return found


def late(ran: KeyedOperator) -> list[int]:
    rows = [dict(zip(OUTCOME_COLUMNS, row, strict=True)) for row in ran.results]
    return [row["_offset"] for row in rows if row["_kind"] == LATE]


@pytest.mark.parametrize("restarts", [False, True])
def test_each_record_has_what_the_table_had_at_its_time(restarts: bool) -> None:
    ran = operator()

    def between() -> None:
        if restarts:
            ran.restart(down_ms=5_000)

    ran.send_plain(changes(("a", "gold", 1_000), ("a", "silver", 3_000), ("b", "gold", 1_000)))
    between()
    ran.send_plain(
        records((1, "a", 999), (2, "a", 1_000), (3, "a", 2_999), (4, "a", 3_000), (5, None, 3_000))
    )
    between()
    ran.watermark(3_500)
    assert sorted(told(ran)) == [1, 2]
    between()
    ran.send_plain(changes(("b", None, 4_000), ("a", "late", 2_000)))
    ran.send_plain(records((6, "b", 3_999), (7, "b", 4_000), (8, "c", 4_000)))
    between()
    ran.finish()
    assert told(ran) == {
        1: (None, False),
        2: ("gold", True),
        3: ("late", True),
        4: ("silver", True),
        5: (None, False),
        6: ("gold", True),
        7: (None, False),
        8: (None, False),
    }
    assert late(ran) == []


def test_a_record_behind_what_was_joined_is_late_after_a_restart_too() -> None:
    ran = operator()
    ran.send_plain(records((1, "a", 5_000)))
    ran.watermark(6_000)
    ran.restart(down_ms=1_000)
    ran.send_plain(records((2, "a", 4_000), (3, "a", 7_000)))
    ran.finish()
    assert (sorted(told(ran)), late(ran)) == ([1, 3], [2])
