"""Records on a terminal and as JSON lines, whatever bytes they hold."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.cli.records import as_line, print_pretty, printable
from flink_jobs.kafka import Record


def record(value: bytes | None, **changes: object) -> Record:
    given = {
        "value": value,
        "key": b"k",
        "headers": [],
        "partition": 1,
        "offset": 7,
        "timestamp": 0,
    } | changes
    return Record(**given)  # type: ignore[arg-type]


def decoded(value: object) -> bytes | None:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return value.encode() if isinstance(value, str) else None


@given(value=st.none() | st.binary(), key=st.none() | st.binary(), header=st.none() | st.binary())
def test_a_line_gives_back_every_byte(value: bytes | None, key: bytes | None, header: bytes | None) -> None:
    line = as_line("t", record(value, key=key, headers=[("h", header)]))
    assert "\n" not in line
    read = json.loads(line)
    assert (decoded(read["value"]), decoded(read["key"])) == (value, key)
    assert [(name, decoded(text)) for name, text in read["headers"]] == [("h", header)]


@given(st.none() | st.binary() | st.text().map(str.encode))
def test_nothing_reaches_the_terminal_as_a_control_sequence(value: bytes | None) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in printable(value))


def test_pretty_shows_place_time_key_headers_and_the_json_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_pretty(record(b'{"a":1,"a":1e400}', headers=[("stage", b"decode"), ("raw", b"\xff")]))
    assert capsys.readouterr().out.splitlines() == [
        "1:7  1970-01-01T00:00:00.000Z  key k",
        "  stage = decode",
        r"  raw = b'\xff'",
        "{",
        '  "a": 1,',
        '  "a": 1e400',
        "}",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "(null)"),
        (b"", ""),
        (b"not json \x1b[31m", r"not json \x1b[31m"),
        (b"\xff", r"b'\xff'"),
        (b"[" * 5000, "[" * 5000),
        ("Zürich".encode(), "Zürich"),
    ],
)
def test_pretty_shows_what_is_not_json_as_text(
    value: bytes | None, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_pretty(record(value, timestamp=-1))
    assert capsys.readouterr().out == f"1:7  no timestamp  key k\n{shown}\n"
