"""What leaves the stages of windows: records that are beyond a type, late or scored, whole and once.

The adversary is a record whose window cannot be summed among good neighbours, and a restart with late data.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyflink.common import Row

from tests.helpers.keyed_operator import KeyedOperator
from udfs.errors import StateError
from udfs.features import FeatureParams
from udfs.flink.windowing import (
    LOOK_MS,
    OUTCOME_COLUMNS,
    TO_SIDE,
    UNTIL,
    ReshardingStage,
    ScoringStage,
    WindowScoringStage,
    window_keys,
)
from udfs.records.contract import Contract, Field
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED
from udfs.scoring.params import OutputParams, PackParams, ScoreParams, SourceParams
from udfs.windows.blobs import from_bytes, pack, row_schema, to_bytes
from udfs.windows.params import AggregateParams, Columns, GroupParams, StageParams, WindowParams

LARGEST = 2**63 - 1
FIELDS: Columns = (("card", "string"), ("shop", "string"), ("amount", "long"))
CONTRACT = Contract(tuple(Field(name, kind) for name, kind in FIELDS))
BY_CARD = StageParams(
    ("card",),
    (WindowParams(over_ms=1_000, select={"spent": AggregateParams("sum", "amount")}),),
    FIELDS,
    (("spent", "long"),),
)
SCORE = ScoreParams(SourceParams("payments", CONTRACT), FeatureParams((), ()), None, OutputParams(("spent",)))


def blob(*rows: tuple[str, int, int]) -> bytes:
    """Of (card, amount, time): offsets and values are their numbers."""
    numbers = range(len(rows))
    made: dict[str, list[Any]] = {
        "card": [card for card, _, _ in rows],
        "shop": ["s" for _ in rows],
        "amount": [amount for _, amount, _ in rows],
        "_key": [f"k{n}".encode() for n in numbers],
        "_value": [f"v{n}".encode() for n in numbers],
        "_header_names": [["a", "b"] for _ in numbers],
        "_header_values": [[b"1", None] for _ in numbers],
        "_partition": [3 for _ in numbers],
        "_offset": list(numbers),
        "_timestamp": [time for _, _, time in rows],
        "_time": [time for _, _, time in rows],
    }
    schema = row_schema(FIELDS)
    table = pa.Table.from_arrays([pa.array(made[f.name], type=f.type) for f in schema], schema=schema)
    ((_, packed),) = pack(table, ("card",), (0,))
    return packed


def named(row: Row) -> dict[str, Any]:
    return dict(zip(OUTCOME_COLUMNS, row, strict=True))


def of_kind(rows: list[Row], kind: int) -> list[dict[str, Any]]:
    return [row for row in map(named, rows) if row["_kind"] == kind]


GROUPED = StageParams(
    ("card",),
    (),
    FIELDS,
    (("spent", "long"),),
    GroupParams(1_000, 1_000, 0, {"spent": AggregateParams("sum", "amount")}),
)
CONTEXT = (("window_start", "_window_start"), ("window_end", "_window_end"), ("records", "_records"))
SCORE_WINDOWS = msgspec.structs.replace(SCORE, output=OutputParams(("card", "spent"), CONTEXT))
ROWS = blob(("a", LARGEST, 1_000), ("b", 5, 1_000), ("a", 1, 1_500), ("b", 6, 1_600), ("a", 2, 9_000))


def test_a_sum_beyond_its_type_is_a_dead_letter_among_good_neighbours() -> None:
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE))
    operator.send_plain(ROWS)
    operator.watermark(10_000)
    (dead,) = of_kind(operator.results, DEAD)
    problem = json.loads(dead["_problem"])
    assert (problem["stage"], problem["reason"]) == ("feature", "overflow")
    assert "spent" in problem["message"]
    assert (dead["_key"], dead["_value"], dead["_headers"]) == (b"k2", b"v2", {"a": b"1", "b": None})
    assert (dead["_partition"], dead["_offset"], dead["_timestamp"]) == (3, 2, 1_500)
    (predicted,) = of_kind(operator.results, PREDICTED)
    spent = [json.loads(value)["features"]["spent"] for value in predicted["_values"]]
    assert (predicted["_keys"], spent) == ([b"k0", b"k1", b"k3", b"k4"], [LARGEST, 5, 11, 2])


def test_a_window_beyond_its_type_is_a_dead_letter_and_the_others_are_scored_over_a_restart() -> None:
    operator = KeyedOperator(WindowScoringStage(GROUPED, SCORE_WINDOWS))
    operator.send_plain(ROWS)
    operator.watermark(1_500)
    assert operator.results == []
    operator.restart(down_ms=1_000)
    operator.watermark(9_000)
    (dead,) = of_kind(operator.results, DEAD)
    problem = json.loads(dead["_problem"])
    assert (problem["stage"], problem["reason"]) == ("feature", "overflow")
    assert dead["_key"] == b"a"
    assert json.loads(dead["_value"])["card"] == "a"
    assert (dead["_partition"], dead["_offset"], dead["_timestamp"]) == (None, None, None)
    operator.send_plain(blob(("b", 1, 1_999), ("c", 7, 9_500)))
    operator.watermark(2**63 - 1)
    (late,) = of_kind(operator.results, LATE)
    assert (late["_value"], late["_headers"], late["_partition"]) == (b"v0", {"a": b"1", "b": None}, 3)
    predicted = of_kind(operator.results, PREDICTED)
    told = [json.loads(value) for row in predicted for value in row["_values"]]
    assert [key for row in predicted for key in row["_keys"]] == [b"b", b"a", b"c"]
    assert [(row["features"]["spent"], row["records"], row["window_start"]) for row in told] == [
        (11, 2, "1970-01-01T00:00:01.000Z"),
        (2, 1, "1970-01-01T00:00:09.000Z"),
        (7, 1, "1970-01-01T00:00:09.000Z"),
    ]


@pytest.mark.parametrize("down", [0, 1_000, 10 * LOOK_MS])
def test_rows_whose_timer_a_checkpoint_lost_come_out_with_no_further_record(down: int) -> None:
    """The watermark of 10,000 waited for the end of the bundle that the checkpoint ended, and then a kill."""
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE))
    operator.send_plain(ROWS)
    operator.restart(down, fired_until=10_000)
    operator.pass_time(LOOK_MS)
    operator.watermark(10_000)
    (predicted,) = of_kind(operator.results, PREDICTED)
    assert predicted["_keys"] == [b"k0", b"k1", b"k3", b"k4"]
    assert len(of_kind(operator.results, DEAD)) == 1


def test_the_key_of_a_window_is_its_columns() -> None:
    one, two = pa.array(["x", None, 'q"'], pa.string()), pa.array([1, 2, None], pa.int64())
    assert window_keys([one]).to_pylist() == [b"x", None, b'q"']
    assert window_keys([two]).to_pylist() == [b"1", b"2", None]
    assert [json.loads(key) for key in window_keys([one, two]).to_pylist()] == [
        ["x", 1],
        [None, 2],
        ['q"', None],
    ]


def test_late_after_a_restart_is_whole_and_once() -> None:
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE))
    operator.send_plain(blob(("a", 1, 5_000), ("b", 1, 7_000)))
    operator.watermark(6_000)
    operator.restart(down_ms=1_000)
    operator.send_plain(blob(("a", 1, 5_000), ("a", 1, 5_001)))
    operator.watermark(10_000)
    (late,) = of_kind(operator.results, LATE)
    assert (late["_key"], late["_value"], late["_offset"], late["_problem"]) == (b"k0", b"v0", 0, None)
    predictions = [row for row in of_kind(operator.results, PREDICTED) for row in row["_values"]]
    values = [json.loads(value) for value in predictions]
    assert [(value["event_time"][-7:], value["features"]["spent"]) for value in values] == [
        ("05.000Z", 1),
        ("05.001Z", 2),
        ("07.000Z", 1),
    ]


def test_a_savepoint_of_before_knows_how_far_it_had_come() -> None:
    """Its time is in a state of its own. Were that not read, the late record would be in a window again."""
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE))
    operator.send_plain(blob(("a", 1, 5_000), ("b", 1, 7_000)))
    operator.watermark(6_000)
    kept = operator.maps["kept"]
    operator.values["until"].update(int.from_bytes(kept.get(UNTIL), "big", signed=True))
    kept.remove(UNTIL)
    operator.restart(down_ms=1_000)
    operator.send_plain(blob(("a", 1, 5_000)))
    operator.watermark(8_000)
    assert len(of_kind(operator.results, LATE)) == 1
    assert operator.values["until"].value() == 5_000
    assert int.from_bytes(kept.get(UNTIL), "big", signed=True) == 7_000


def test_a_stage_that_others_follow_gives_rows_to_their_shards_and_the_rest_to_the_side() -> None:
    operator = KeyedOperator(ReshardingStage(BY_CARD, PackParams(SCORE.source, ("shop",), (17,))))
    operator.send_plain(ROWS)
    operator.watermark(10_000)
    results: list[Any] = operator.results
    (tag, dead), (key, packed) = results
    assert tag.tag_id == TO_SIDE.tag_id
    assert named(dead)["_value"] == b"v2"
    rows = from_bytes(packed, row_schema((*FIELDS, ("spent", "long"))))
    assert (key, rows.column("spent").to_pylist()) == (17, [LARGEST, 5, 11, 2])


def test_records_that_wait_are_decoded_again_for_a_job_with_another_schema() -> None:
    """A field that the old job did not know has its value, not null; what it lacks is a dead letter."""
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE, PackParams(SCORE.source, ("card",), (0,))))
    operator.send_plain(blob(("a", 1, 1_000), ("a", 2, 1_500), ("b", 3, 1_600)))
    operator.watermark(1_000)
    raws = [b'{"card": "a", "amount": 2, "fee": 7}', b'{"card": "b", "amount": 3}']
    ((number, waiting),) = operator.maps["pending"].items()
    rows = from_bytes(waiting, row_schema(FIELDS))
    place = rows.schema.get_field_index("_value")
    columns = [*rows.columns[:place], pa.array(raws, pa.binary()), *rows.columns[place + 1 :]]
    operator.maps["pending"].put(number, to_bytes(pa.RecordBatch.from_arrays(columns, schema=rows.schema)))
    fee = Contract((*CONTRACT.fields, Field("fee", "long", required=True)))
    score = msgspec.structs.replace(
        SCORE, source=SourceParams("payments", fee), output=OutputParams(("fee",))
    )
    stage = msgspec.structs.replace(BY_CARD, columns=(*FIELDS, ("fee", "long")))
    before = len(operator.results)
    operator.restart(1_000, ScoringStage(stage, score, PackParams(score.source, ("card",), (0,))))
    operator.watermark(10_000)
    (predicted,) = of_kind(operator.results[before:], PREDICTED)
    assert [json.loads(value)["features"] for value in predicted["_values"]] == [{"fee": 7}]
    (dead,) = of_kind(operator.results[before:], DEAD)
    assert (dead["_value"], json.loads(dead["_problem"])["reason"]) == (raws[1], "missing")


def test_rows_with_results_that_are_no_more_are_not_guessed() -> None:
    """They wait for the second of two stages, and the first one has no longer what they were given."""
    operator = KeyedOperator(ScoringStage(BY_CARD, SCORE))
    operator.send_plain(blob(("a", 1, 1_000)))
    stage = msgspec.structs.replace(BY_CARD, columns=(*FIELDS, ("added", "long")))
    operator.restart(1_000, ScoringStage(stage, SCORE))
    with pytest.raises(StateError, match="stop the job as it was with --drain"):
        operator.watermark(10_000)
