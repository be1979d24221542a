"""Verdicts on savepoints: a table of edits between stop and start, as docs/windows.md has it.

The adversary is an edit that Flink takes without a word, or refuses with a serializer's name. What becomes of
the state itself is tried on Flink, in tests/kafka and tests/minicluster.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.plan.state import JobState, as_refusal, encode_state, judge, parse_state, refusals, state_of
from flink_jobs.run.savepoints import as_parameter, leave_state, parse_parameter, stored_state
from tests.helpers import models
from udfs.errors import StoreError

JOB = """
job: rides
source:
  topic: rides
  schema:
    card: {type: string, required: true}
    shop: {type: string, required: true}
    fare: {type: double, required: true}
    tip: double
features: {windows: {hour: {by: card, over: 1h, select: {n: count(*), spent: sum(fare)}}}}
model: {name: sums, registry: models}
predictions: {include: [card]}
"""
HOUR = "hour: {by: card, over: 1h, select: {n: count(*), spent: sum(fare)}}"
GONE = "windows by card (hour)"
LOST = "they would have no outcome: stop the job as it was with --drain"
# Name: what is replaced by what, and what is said of it; all else goes on.
EDITS: dict[str, tuple[tuple[str, str], list[tuple[str, str, str]]]] = {
    "nothing": ((HOUR, HOUR), []),
    "threshold and include": (("include: [card]", "include: [card, fare]"), []),
    "derive": (("features: {", "features: {derive: {more: fare * 2}, "), []),
    "parallelism": (("predictions:", "runtime: {parallelism: 4}\npredictions:"), []),
    "window added": (
        (HOUR, HOUR + ", day: {by: card, over: 1d, select: {m: max(fare)}}"),
        [
            (
                "window day by card",
                "changes",
                "filled as far as the state reaches; complete 1d after the start, or at the "
                "start with --warm-up",
            )
        ],
    ),
    "shorter window added": (
        (HOUR, HOUR + ", part: {by: card, over: 10m, select: {m: max(fare)}}"),
        [("window part by card", "changes", "filled from the state")],
    ),
    "rows added": (
        (HOUR, HOUR + ", few: {by: card, rows: 3, select: {m: max(fare)}}"),
        [
            (
                "window few by card",
                "changes",
                "filled as far as the state reaches; complete after 3 records of a key, or at the start with "
                "--warm-up",
            )
        ],
    ),
    "window removed": (
        (HOUR, "day: {by: card, over: 1d, select: {n: count(*), spent: sum(fare)}}"),
        [
            ("window hour by card", "is left", ""),
            (
                "window day by card",
                "changes",
                "filled as far as the state reaches; complete 1d after the start, or at the "
                "start with --warm-up",
            ),
        ],
    ),
    "longer": (
        ("over: 1h", "over: 2h"),
        [
            (
                "window hour by card",
                "changes",
                "filled as far as the state reaches; complete 2h after the start, or at the "
                "start with --warm-up",
            )
        ],
    ),
    "shorter": (("over: 1h", "over: 30m"), [("window hour by card", "changes", "filled from the state")]),
    "result over a column that no window read": (
        ("sum(fare)}", "sum(fare), tips: sum(tip)}"),
        [
            (
                "window hour by card",
                "changes",
                "tip is null in records of before; filled as far as the state reaches; "
                "complete 1h after the start, or at the start with --warm-up",
            )
        ],
    ),
    "other column": (
        ("sum(fare)", "sum(tip)"),
        [
            (
                "window hour by card",
                "changes",
                "tip is null in records of before; filled as far as the state reaches; "
                "complete 1h after the start, or at the start with --warm-up",
            )
        ],
    ),
    "schema field": (
        ("    tip: double", "    tip: double\n    note: string"),
        [
            (
                "records that wait for windows by card",
                "changes",
                "they are read again with the new schema",
            )
        ],
    ),
    "other key": (
        ("by: card,", "by: shop,"),
        [
            (GONE, "refused", "the job has no windows of this key and kind any more"),
            (f"records that wait for {GONE}", "refused", LOST),
            ("window hour by shop", "starts empty", "complete 1h after the start"),
        ],
    ),
    "another key too": (
        (HOUR, HOUR + ", shop: {by: shop, over: 1h, select: {m: max(fare)}}"),
        [("window shop by shop", "starts empty", "complete 1h after the start")],
    ),
    "windows removed": (
        (f"features: {{windows: {{{HOUR}}}}}\n", "features: {derive: {n: fare, spent: fare}}\n"),
        [
            (GONE, "refused", "the job has no windows of this key and kind any more"),
            (f"records that wait for {GONE}", "refused", LOST),
        ],
    ),
    "drift on": (
        ("predictions:", "drift: {window: 1h}\npredictions:"),
        [
            ("transactions of drift", "starts empty", "the savepoint has none"),
            ("transactions of alerts", "starts empty", "the savepoint has none"),
            ("drift", "starts empty", "the savepoint has none"),
        ],
    ),
    "topic": (
        ("topic: rides", "topic: trips"),
        [
            (
                "offsets of trips",
                "refused",
                "the savepoint has offsets of rides: Flink would read that topic on",
            )
        ],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("state")
    inputs = pa.table({"n": [1.0, 2.0, 3.0], "spent": [1.0, 2.0, 4.0]})
    outputs = pa.table({"prediction": [2.0, 4.0, 6.0]})
    models.write(
        root / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression", profiled=outputs
    )
    return root


def state(folder: Path, *edits: tuple[str, str]) -> JobState:
    text = JOB
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return state_of(make_plan(load_job_text(text, "job.yaml", folder, {})))


@pytest.mark.parametrize("name", EDITS)
def test_each_edit_has_its_verdict(folder: Path, name: str) -> None:
    edit, said = EDITS[name]
    verdicts = judge(state(folder), state(folder, edit))
    assert [v[:3] for v in verdicts if v.outcome != "goes on"] == said


def test_windows_that_are_scored_themselves_say_what_becomes_of_records_that_wait(folder: Path) -> None:
    tens = (HOUR, "hour: {by: card, tumble: 10m, select: {n: count(*), spent: sum(fare)}}")
    scored = [("job: rides", "job: rides\nscore: per_window"), tens]

    def said(*edits: tuple[str, str]) -> list[tuple[str, str]]:
        verdicts = judge(state(folder, *scored), state(folder, *scored, *edits))
        return [(v.outcome, v.why) for v in verdicts if v.outcome != "goes on"]

    assert said() == []
    assert said(("sum(fare)}", "sum(fare), most: max(fare)}")) == [("changes", "filled from the state")]
    assert said(("tumble: 10m", "tumble: 1h")) == [
        ("changes", "records that were in no scored window yet are in all of its windows")
    ]
    refused, lost = refusals(judge(state(folder), state(folder, *scored)), ())
    assert (refused.names, lost.names) == (("hour",), ("waiting",))


TABLE = "cards: {topic: cards, by: card, select: {tier: {column: tier, type: string}}}"
TABLES: dict[str, tuple[tuple[str, str], list[tuple[str, str, str]]]] = {
    "nothing": ((TABLE, TABLE), []),
    "wait and retention": (
        ("by: card, select: {tier", "by: card, wait: 1m, retention: 9d, select: {tier"),
        [],
    ),
    "column added": (
        ("type: string}}}", "type: string}, limit: {column: limit, type: long}}}"),
        [("table cards by card", "changes", "limit is null in versions of before")],
    ),
    "column of another type": (
        ("type: string}}}", "type: long}}}"),
        [("table cards by card", "changes", "tier is null in versions of before")],
    ),
    "another table": (
        (TABLE, TABLE + ", shops: {topic: shops, by: shop, select: {city: {column: city, type: string}}}"),
        [
            ("offsets of shops", "starts empty", "the savepoint has none"),
            ("table shops by shop", "starts empty", "its topic is read from its beginning"),
        ],
    ),
    "another key": (
        ("topic: cards, by: card", "topic: cards, by: shop, key: card"),
        [
            ("table cards by card", "refused", "the job has no such table by this key any more"),
            ("records that wait for table cards by card", "refused", LOST),
            ("table cards by shop", "starts empty", "its topic is read from its beginning"),
        ],
    ),
    "another topic": (
        ("topic: cards", "topic: others"),
        [
            (
                "offsets of others",
                "refused",
                "the savepoint has offsets of cards: Flink would read that topic on",
            )
        ],
    ),
    "schema field": (
        ("    tip: double", "    tip: double\n    note: string"),
        [
            ("records that wait for windows by card", "changes", "they are read again with the new schema"),
            (
                "records that wait for table cards by card",
                "refused",
                "they were read with other columns: stop the job as it was with --drain",
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_each_edit_of_a_table_has_its_verdict(folder: Path, name: str) -> None:
    with_table = (f"{{windows: {{{HOUR}}}}}", f"{{windows: {{{HOUR}}}, lookups: {{{TABLE}}}}}")
    edit, said = TABLES[name]
    verdicts = judge(state(folder, with_table), state(folder, with_table, edit))
    assert [v[:3] for v in verdicts if v.outcome != "goes on"] == said


def test_a_table_that_is_removed_stands_in_the_way_until_it_is_named(folder: Path) -> None:
    before = state(folder, (f"{{windows: {{{HOUR}}}}}", f"{{windows: {{{HOUR}}}, lookups: {{{TABLE}}}}}"))
    verdicts = judge(before, state(folder))
    parts = {"offsets of cards", "table cards by card", "records that wait for table cards by card"}
    assert {v.part for v in refusals(verdicts, ())} == parts
    assert refusals(verdicts, ["cards"]) != []
    assert refusals(verdicts, ["cards", "waiting"]) == []


def test_windows_are_left_behind_without_a_word_only_when_nothing_waits_in_them(folder: Path) -> None:
    """The adversary is a record whose offset is committed, and which no operator has any more."""
    before, after = state(folder), state(folder, ("by: card,", "by: shop,"))
    (lost,) = refusals(judge(before, after), ["hour"])
    assert (lost.part, lost.why) == (f"records that wait for {GONE}", LOST)
    assert refusals(judge(before, after), ["hour", "waiting"]) == []
    drained = msgspec.structs.replace(before, drained=True)
    assert refusals(judge(drained, after), ["hour"]) == []


def test_what_was_turned_off_stands_in_the_way_until_it_is_named(folder: Path) -> None:
    before = state(folder, ("predictions:", "drift: {window: 1h}\npredictions:"))
    verdicts = judge(before, state(folder))
    first, *_ = refusals(verdicts, ())
    assert as_refusal(first).endswith("the job has none any more (leave it behind with --allow-empty drift)")
    assert refusals(verdicts, ["drift"]) != []
    assert refusals(verdicts, ["drift", "alerts"]) == []


def test_records_that_wait_for_a_second_key_are_read_only_by_the_job_as_it_was(folder: Path) -> None:
    """Unless the job was drained, so that none wait."""
    shop = (HOUR, HOUR + ", shop: {by: shop, over: 1h, select: {m: max(fare)}}")
    more = ("sum(fare)}", "sum(fare), most: max(fare)}")
    before, after = state(folder, shop), state(folder, shop, more)
    (refused,) = refusals(judge(before, after), ())
    assert refused.part == "records that wait for windows by shop"
    assert "--drain" in refused.why
    assert refusals(judge(msgspec.structs.replace(before, drained=True), after), ()) == []


def test_a_topic_that_is_not_read_is_never_left_behind_by_a_flag(folder: Path) -> None:
    verdicts = judge(state(folder), state(folder, ("topic: rides", "topic: trips")))
    assert len(refusals(verdicts, ["rides", "trips", "source", ""])) == 1


def test_a_topic_that_was_made_anew_is_refused_by_each_name(folder: Path) -> None:
    """Kafka's ids; where one of both is not known, as in savepoints of before, nothing is said."""
    known = msgspec.structs.replace(state(folder), topic_id="a")
    assert refusals(judge(known, msgspec.structs.replace(known, topic_id="a")), ()) == []
    assert refusals(judge(known, state(folder)), ()) == []
    assert refusals(judge(state(folder), known), ()) == []
    anew = judge(known, msgspec.structs.replace(known, topic_id="b"))
    [refused] = refusals(anew, ("drift", "rides", "source"))
    assert refused.part == "offsets of rides"
    assert "made anew" in refused.why


def test_a_type_of_the_key_that_changed_is_refused(folder: Path) -> None:
    verdicts = judge(state(folder), state(folder, ("card: {type: string", "card: {type: long")))
    (refused,) = refusals(verdicts, ["hour"])
    assert (refused.part, refused.why) == ("windows by card", "card was a string, and is a long")


def test_the_account_travels_with_the_job_and_lies_beside_what_it_left(folder: Path, tmp_path: Path) -> None:
    written = state(folder)
    name, _, packed = as_parameter(written).partition(":")
    assert name == "tailrace.state"
    assert not set(packed) & set(",:; '\"")
    assert parse_parameter(packed) == written
    savepoint = tmp_path / "savepoint-1"
    savepoint.mkdir()
    assert leave_state(str(savepoint), written)
    assert stored_state(savepoint.as_uri()) == written
    # Of a checkpoint, one folder up.
    (savepoint / "chk-7").mkdir()
    assert stored_state(str(savepoint / "chk-7")) == written
    assert stored_state(str(tmp_path)) is None


@pytest.mark.parametrize("packed", [None, "", "!", "AAAA", "eJwDAAAAAAE="])
def test_what_is_no_account_of_a_job_is_none(packed: str | None) -> None:
    assert parse_parameter(packed) is None


def test_a_damaged_account_is_an_error_not_a_verdict(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "tailrace.json").write_bytes(encode_state(state(folder))[:-2])
    with pytest.raises(StoreError, match=r"tailrace.json is no account of a job's state"):
        stored_state(str(tmp_path))
    with pytest.raises(msgspec.DecodeError):
        parse_state(b"{}")
