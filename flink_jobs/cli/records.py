"""Kafka records as text: a JSON line for programs, a short page for people.

    as_line("flights", record)   # {"topic": "flights", "partition": 0, …}
    print_pretty(record)

Records are anyone's: nothing in them reaches the terminal as a control sequence.
"""

from __future__ import annotations

import base64
import json

import msgspec
from rich.text import Text

from flink_jobs.kafka import Record
from flink_jobs.system.terminal import open_console
from udfs.times import iso

_console = open_console(soft_wrap=True)


def as_line(topic: str, record: Record) -> str:
    """The record as one line of JSON; bytes that are not UTF-8 as {"base64": …}."""
    return json.dumps(
        {
            "topic": topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": text_or_base64(record.key),
            "headers": [[name, text_or_base64(value)] for name, value in record.headers],
            "value": text_or_base64(record.value),
        }
    )


def print_pretty(record: Record) -> None:
    """Place, time and key in one line, then headers, then the value with its JSON set out."""
    place = f"{record.partition}:{record.offset}"
    title = Text.assemble((place, "bold cyan"), "  ", (_time(record.timestamp), "dim"), "  ")
    _console.print(title.append("key ", "dim").append(printable(record.key)))
    for name, value in record.headers:
        _console.print(Text.assemble(("  " + _escape(name), "yellow"), " = ", printable(value)))
    _console.print(Text(set_out(record.value)))


def printable(value: bytes | None) -> str:
    """Text for a terminal: UTF-8 with control characters escaped, other bytes as Python writes them."""
    if value is None:
        return "(null)"
    try:
        return _escape(value.decode())
    except UnicodeDecodeError:
        return repr(value)


def set_out(value: bytes | None) -> str:
    """The value with its JSON set out, as text for a terminal."""
    # Formatting the text, not a decoded copy, keeps duplicate keys and every digit visible.
    try:
        return printable(msgspec.json.format(value, indent=2) if value else value)
    except (msgspec.MsgspecError, RecursionError):
        return printable(value)


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _time(timestamp: int) -> str:
    if timestamp < 0:
        return "no timestamp"
    try:
        return iso(timestamp)
    except (ValueError, OverflowError, OSError):
        return f"{timestamp} ms"


def text_or_base64(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes in JSON."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
