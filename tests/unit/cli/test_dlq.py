"""`tailrace dlq`: dead letters against who has no key, an old one, or writes to the topic himself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flink_jobs.cli import app, letters
from flink_jobs.errors import InputError
from flink_jobs.kafka import Record
from flink_jobs.kafka.dead_letters import as_dead_letter, keys_by_id
from udfs.records.envelope import Sealer, key_id
from udfs.records.personal import Record as Original
from udfs.records.personal import about_record

NEW, OLD, STRANGE = bytes(range(32)), bytes(range(1, 33)), bytes(32)
ANN = b'{"email": "ann@example.com", "amount": "x"}'
JOB = """
job: orders
source: {topic: orders, schema: {email: {type: string, pii: drop}, amount: double}}
model: {name: m}
dead_letters: {pii: encrypt}
privacy: {encrypt_key: "${KEY}"}
"""


def dead(key: bytes, offset: int = 7, at: bytes | None = None, **headers: bytes) -> Record:
    """An encrypted dead letter of the record at `offset`, whose headers say that it is at `at`."""
    original = Original(b"ann", ANN, [("h", b"\xff"), ("n", None)])
    value = Sealer(key).seal(msgspec.msgpack.encode(original), about_record("orders", 0, offset))
    own = {"topic": b"orders", "partition": b"0", "offset": at or str(offset).encode()}
    own |= {
        "stage": b"contract",
        "reason": b"wrong_type",
        "message": b"m",
        "encrypted_with": key_id(key).encode(),
    }
    return Record(
        value, None, [(f"tailrace.{name}", text) for name, text in (own | headers).items()], 0, 3, 0
    )


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[Record], *options: str) -> Any:
    def topic(_settings: object, name: str, **_: object) -> Iterator[Record]:
        assert name == ("orders.late" if "--late" in options else "orders.dead-letters")
        return iter(records)

    monkeypatch.setattr(letters, "read_topic", topic)
    monkeypatch.setenv("KEY", NEW.hex())
    (tmp_path / "job.yaml").write_text(JOB)
    return CliRunner().invoke(app, ["dlq", str(tmp_path / "job.yaml"), "export", *options])


def test_who_has_the_key_gets_each_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(tmp_path, monkeypatch, [dead(NEW)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "schema": "tailrace.dead-letter/1",
        "topic": "orders",
        "partition": 0,
        "offset": 7,
        "stage": "contract",
        "reason": "wrong_type",
        "message": "m",
        "model": "",
        "at": "",
        "written": "encrypted",
        "original": {
            "key": "ann",
            "headers": [["h", {"base64": "/w=="}], ["n", None]],
            "value": ANN.decode(),
        },
        "why": None,
    }


def test_after_a_rotation_the_old_key_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shut = run(tmp_path, monkeypatch, [dead(OLD), dead(NEW)])
    assert shut.exit_code == 1
    assert "1 records could not be opened" in shut.stderr
    first, second = map(json.loads, shut.stdout.splitlines())
    assert (first["original"], second["original"]["value"]) == (None, ANN.decode())
    assert first["why"] == f"it is encrypted with the key {key_id(OLD)}; given: {key_id(NEW)}"
    (tmp_path / "old.key").write_text(OLD.hex() + "\n")
    assert run(tmp_path, monkeypatch, [dead(OLD)], "--key-file", str(tmp_path / "old.key")).exit_code == 0


def test_a_wrong_key_file_is_said_without_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.key").write_text("hunter2")
    done = run(tmp_path, monkeypatch, [], "--key-file", str(tmp_path / "old.key"))
    assert isinstance(done.exception, InputError)
    assert "hunter2" not in done.output + str(done.exception)


def test_late_records_are_opened_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, [dead(NEW)], "--late").exit_code == 0


@pytest.mark.parametrize(
    "forged",
    [
        dead(NEW, at=b"8"),
        dead(NEW, topic=b"payments"),
        dead(NEW, partition=b""),
        dead(NEW, at=b"9" * 5_000),
        dead(STRANGE, encrypted_with=key_id(NEW).encode()),
    ],
)
def test_an_envelope_under_other_headers_is_not_replayed_for_another_record(forged: Record) -> None:
    found = as_dead_letter(forged, keys_by_id([NEW]))
    assert found.original is None
    assert found.why


def test_plain_ones_are_as_they_are_and_dropped_ones_say_so() -> None:
    own: list[tuple[str, bytes | None]] = [("tailrace.reason", b"not_json"), ("tailrace.topic", b"orders")]
    kept = as_dead_letter(Record(b"oops", None, [("a", b"1"), *own], 0, 0, 0), {})
    assert kept.original == Original(None, b"oops", [("a", b"1")])
    dropped = as_dead_letter(Record(None, None, own, 0, 0, 0), {})
    assert (dropped.state, dropped.original) == ("dropped", None)


@given(
    st.none() | st.binary(),
    st.lists(
        st.tuples(
            st.sampled_from(["tailrace.encrypted_with", "tailrace.offset", "x"]), st.none() | st.binary()
        )
    ),
)
def test_nothing_that_is_in_the_topic_raises(value: bytes | None, headers: list[Any]) -> None:
    as_dead_letter(Record(value, None, headers, 0, 0, 0), keys_by_id([NEW]))
