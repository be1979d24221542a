"""What is left of a replay, against records that are no JSON, forged headers, and options that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flink_jobs.cli import app, letters, replaying
from flink_jobs.cli.repair import Mapping, Unrepairable
from flink_jobs.errors import InputError
from flink_jobs.kafka import Record
from flink_jobs.kafka.dead_letters import as_dead_letter
from flink_jobs.kafka.replays import Decisions

JOB = "job: orders\nsource: {topic: orders, schema: {x: {type: double, required: true}}}\nmodel: {name: m}\n"


def dead(offset: int, value: bytes | None, reason: str = "wrong_type", **more: str) -> Record:
    own = {
        "stage": "contract",
        "reason": reason,
        "message": "m",
        "model": "",
        "topic": "orders",
        "partition": "0",
        "offset": str(offset),
        "timestamp": "2026-01-01 00:00:00.000",
        "at": f"2026-01-0{1 + offset % 3} 10:00:00.000",
    }
    headers: list[tuple[str, bytes | None]] = [
        (f"tailrace.{name}", text.encode()) for name, text in (own | more).items()
    ]
    return Record(value, b"k", headers, 0, offset, 0)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `tailrace dlq` on given dead letters, of which `decided` are."""

    def run(
        records: list[Record],
        *words: str,
        job: str = JOB,
        decided: tuple[int, ...] = (),
        typed: str | None = None,
    ) -> Any:
        decisions = Decisions()
        for at in decided:
            decisions.add(as_dead_letter(records[at], {}).identity, "replayed")
        for module in (letters, replaying):
            monkeypatch.setattr(module, "read_decisions", lambda *_: decisions)
        monkeypatch.setattr(letters, "read_topic", lambda *_, **__: iter(records))
        monkeypatch.setattr(replaying, "describe_topics", lambda _, names: dict.fromkeys(names, 1))
        (tmp_path / "job.yaml").write_text(job)
        return CliRunner().invoke(app, ["dlq", str(tmp_path / "job.yaml"), *words], input=typed)

    return run


def test_what_cannot_be_repaired_is_left_by_reason(asked: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "fixed.yaml").write_text(JOB)
    values = [b'{"x": "1"}', b"oops", b"[1]", b'{"x": "one"}', b'{"x": 1e999}', None]
    done = asked(
        [dead(at, value) for at, value in enumerate(values)],
        *("replay", "--all", "--dry-run", "--json", "--map", "{x: to_number(x)}"),
        *("--fixed", str(tmp_path / "fixed.yaml")),
    )
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["records"] == 1
    assert told["left"] == {
        "its value is not JSON": 2,
        # Neither a list nor a text that is no number has an x: it becomes null.
        "--fixed still refuses it: contract null": 2,
        "what --map makes of it is not JSON": 1,
    }


def test_what_was_dropped_is_read_from_the_source_unless_another_stands_there(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source keeps only some, and was made anew below another."""
    at = 1_767_225_600_000
    source = {
        0: Record(b'{"x": 1}', b"k", [("tailrace.replay_attempt", b"3")], 0, 0, at),
        1: Record(b'{"x": 1}', b"k", [], 0, 1, at),
        2: Record(b'{"x": 1}', b"k", [], 0, 2, at + 1),
    }
    monkeypatch.setattr(replaying, "read_record", lambda _, topic, partition, offset: source.get(offset))
    dropped = [dead(offset, None) for offset in range(4)]
    records = [Record(None, None, each.headers, 0, each.offset, 0) for each in dropped]
    told = json.loads(asked(records, "replay", "--all", "--dry-run", "--json").stdout)
    assert (told["records"], told["left"]) == (0, {"the job writes no records": 4})
    told = json.loads(asked(records, "replay", "--all", "--dry-run", "--json", "--from-source").stdout)
    assert told["records"] == 1
    assert told["left"] == {"the source has it no more": 2, "replayed 3 times before": 1}


def test_a_mapping_to_no_object_is_left(asked: Callable[..., Any]) -> None:
    done = asked([dead(0, b"[1]")], "replay", "--all", "--dry-run", "--map", "@")
    assert done.stdout == "0 records would be replayed\n1 left: --map does not make an object of it\n"


def test_a_record_with_two_dead_letters_goes_back_once(asked: Callable[..., Any]) -> None:
    done = asked(
        [dead(3, b"{}"), dead(3, b"{}"), dead(4, b"{}")], "replay", "--all", "--dry-run", decided=(2,)
    )
    assert done.exit_code == 0
    assert done.stdout == "1 records would be replayed\n2 left: already decided\n"


def test_list_counts_by_reason_and_day_with_the_newest_example(asked: Callable[..., Any]) -> None:
    records = [dead(0, b"a"), dead(1, b"b", message="newest"), dead(2, b"c", "missing")]
    (wrong, missing) = json.loads(asked(records, "list", "--json", decided=(0,)).stdout)["groups"]
    assert (wrong["records"], wrong["open"], wrong["replayed"], wrong["example"]) == (2, 1, 1, "0:1")
    assert (wrong["first"][:10], wrong["last"][:10], wrong["message"]) == (
        "2026-01-01",
        "2026-01-02",
        "newest",
    )
    assert missing["reason"] == "missing"
    days = json.loads(asked(records, "list", "--json", "--by", "day").stdout)["groups"]
    assert [group["time"] for group in days] == ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--reason", "missing"), 1),
        (("--stage", "decode"), 0),
        (("--model", "m"), 0),
        (("--since", "2026-01-02"), 2),
        (("--until", "2026-01-02T10:00:00Z"), 1),
        (("0:1", "0:2", "0:9"), 2),
        (("--limit", "2", "--stage", "contract"), 2),
    ],
)
def test_a_selection_is_by_what_headers_say(
    asked: Callable[..., Any], words: tuple[str, ...], count: int
) -> None:
    records = [dead(0, b"a"), dead(1, b"b", "missing"), dead(2, b"c")]
    done = asked(records, "replay", *words, "--dry-run", "--json")
    assert json.loads(done.stdout)["records"] == count


@pytest.mark.parametrize(
    ("words", "job", "told"),
    [
        (("replay",), JOB, "--all"),
        (("drop",), JOB, "--all"),
        (("replay", "--map", "x["), JOB, "--map must be a JMESPath expression"),
        (("drop", "--rate", "5", "--all"), JOB, "--map, --fixed and --rate are for replay"),
        (("list", "--by", "week"), JOB, "--by must be hour or day"),
        (("replay", "17"), JOB, "PARTITION:OFFSET"),
        (("list", "--since", "noon"), JOB, "--since: a time must be ISO 8601"),
        (
            ("replay", "--all"),
            JOB.replace("schema:", "isolation: read_uncommitted, schema:"),
            "read_committed",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    asked: Callable[..., Any], words: tuple[str, ...], job: str, told: str
) -> None:
    done = asked([], *words, job=job)
    assert isinstance(done.exception, InputError)
    assert told in str(done.exception)


def test_late_records_of_windows_are_refused_and_dead_ones_warned_of(asked: Callable[..., Any]) -> None:
    windows = "features: {windows: {w: {by: k, over: 1h, select: {n: count(*)}}}}\n"
    job = JOB.replace("schema: {", "schema: {k: string, ") + windows
    refused = asked([dead(0, b"{}")], "replay", "--all", "--late", job=job)
    assert isinstance(refused.exception, InputError)
    assert "orders has windows, which have passed the time" in str(refused.exception)
    warned = asked([dead(0, b"{}")], "replay", "--all", "--dry-run", job=job)
    assert warned.exit_code == 0
    assert "a record that its watermark has passed ends as a late record" in warned.stderr


@given(
    st.binary()
    | st.none()
    | st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists, max_leaves=5)
)
def test_a_mapping_gives_an_object_of_json_or_says_why_not(value: Any) -> None:
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    for expression in ("@", "{x: to_number(x)}", "merge(@, {x: `1`})", "{s: sum(@)}"):
        try:
            made = Mapping(expression).of(raw)
        except Unrepairable:
            continue
        assert isinstance(json.loads(made), dict)


@given(st.sampled_from(["replay_attempt", "replay_of", "partition", "timestamp", "at"]), st.text(max_size=30))
def test_no_header_makes_a_replay_fail(name: str, text: str) -> None:
    found = as_dead_letter(dead(1, b"{}", **{name: text.encode("utf-8", "replace").decode()}), {})
    assert found.attempt >= 0
    assert found.timestamp is None or found.timestamp >= 0
    assert replaying._parsed(found.first) is None or "/" in found.first


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_is_asked_whether_all_are_meant(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    """And a program, which cannot answer, is told which options say so."""
    told = asked([dead(0, b"{}")], "drop")
    assert isinstance(told.exception, InputError)
    assert "--all" in str(told.exception)
    done: list[str] = []
    monkeypatch.setattr(replaying, "at_terminal", lambda: True)
    monkeypatch.setattr(replaying, "count_committed", lambda *_: 1234)
    monkeypatch.setattr(replaying._Work, "run", lambda _, action: done.append(action))
    told = asked([dead(0, b"{}")], "drop", typed=answer)
    assert "drop all 1,234 records of orders.dead-letters?" in told.stderr
    assert (told.exit_code, done) == (status, ["dropped"] if status == 0 else [])
