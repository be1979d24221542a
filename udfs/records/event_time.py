"""Whether a record's event time is written as the job says, and if not, why, for a person.

Flink reads the event time, so that it can make watermarks of it, but takes more forms than are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.problems import Problem
from udfs.times import parse_time

Unit = Literal["ms", "s", "us", "iso8601"]

ISO_8601 = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z?"
)


class EventTimeField(msgspec.Struct, frozen=True):
    """Where the event time is: a field of the record or a header, and its unit.

    `path` leads to the field in the record, a.b.c, where it is not at the top under its own name; it may also
    be at `others`. `event` says what of a CloudEvent it is.
    """

    name: str
    unit: Unit
    header: bool = False
    path: str = ""
    others: tuple[str, ...] = ()
    event: Literal["", "attribute", "data"] = ""


def explain_event_time(where: EventTimeField | None, record: Mapping[str, object], time: int) -> Problem:
    """The problem of a record whose event time Flink could not use, and of which it made `time`, in ms.

    Kafka's sign for no timestamp is -1; what is too far ahead became 0.
    """
    if where is None and time < 0:
        return Problem("contract", "event_time_missing", "the Kafka record has no timestamp")
    if where is None:
        text = "the Kafka timestamp is too far ahead of now, or that of 1970"
        return Problem("contract", "event_time_ahead", text)
    if where.header:
        ahead = "too far ahead of the Kafka timestamp or of now"
        text = f"header {where.name!r}: missing, not in {where.unit}, or {ahead}"
        return Problem("contract", "event_time_unparsable", text)
    if is_event_time(record[where.name], where.unit):
        text = f"$.{where.path or where.name}: too far ahead of the Kafka timestamp or of now, or before 1970"
        return Problem("contract", "event_time_ahead", text)
    return Problem(
        "contract", "event_time_unparsable", f"$.{where.path or where.name}: expected a time in {where.unit}"
    )


def is_event_time(value: object, unit: Unit) -> bool:
    """Whether the value is written as the unit asks for."""
    if unit == "iso8601":
        return isinstance(value, str) and re.fullmatch(ISO_8601, value) is not None and _is_date(value[:10])
    return isinstance(value, int)


def milliseconds(written: object, unit: Unit) -> int | None:
    """A written event time; None where it is none. What a header has are bytes.

    >>> milliseconds("2026-01-01T00:00:00Z", "iso8601"), milliseconds(b"7", "s"), milliseconds("x", "ms")
    (1767225600000, 7000, None)
    """
    if isinstance(written, bytes):
        text = written.decode(errors="replace")
        written = text if unit == "iso8601" or not text.isdecimal() else int(text)
    if not is_event_time(written, unit) or isinstance(written, bool):
        return None
    if isinstance(written, str):
        return parse_time(written)
    assert isinstance(written, int)
    return written // 1_000 if unit == "us" else written * (1_000 if unit == "s" else 1)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def are_iso_8601(texts: pa.ChunkedArray, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each text is what the unit iso8601 asks for, shape (rows,); `times` in ms are Flink's reading.

    Flink makes 28 February of the 30th, so the dates are compared too.
    """
    dates = pa.array(times).cast(pa.timestamp("ms")).cast(pa.date32()).cast(pa.string())
    same_day = pc.equal(pc.utf8_slice_codeunits(texts, 0, 10), dates)
    written = pc.and_(pc.match_substring_regex(texts, f"^({ISO_8601})$"), same_day)
    exact: npt.NDArray[np.bool_] = pc.fill_null(written, False).to_numpy()
    return exact
