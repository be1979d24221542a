"""Reads dead letters and late records as what they were: original key, value and headers, with the reason.

found = as_dead_letter(record, keys)     # `keys` by their ids, for records that are encrypted
found.original                           # None where the job writes no record, or the key is not given
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from flink_jobs.kafka.records import Record
from udfs.errors import EnvelopeError
from udfs.records import personal
from udfs.records.envelope import KEY_HEADER, key_id

PREFIX = "tailrace."

State = Literal["kept", "encrypted", "dropped"]


@dataclass(frozen=True)
class DeadLetter:
    """`place` is where the record stands: topic, partition and offset, None for the row of a window.

    `reason` has Tailrace's own headers by their names. `state` says how the topic has the record; without
    `original`, `why` says why there is none.
    """

    place: tuple[str, int | None, int | None]
    reason: Mapping[str, str]
    state: State
    original: personal.Record | None
    why: str = ""


def keys_by_id(keys: Iterable[bytes]) -> dict[str, bytes]:
    """The keys by what envelopes call them."""
    return {key_id(key): key for key in keys}


def as_dead_letter(found: Record, keys: Mapping[str, bytes]) -> DeadLetter:
    """A record of a topic of dead letters, or of late records. Never raises for what it holds."""
    own = {
        name: (value or b"").decode(errors="replace")
        for name, value in found.headers
        if name.startswith(PREFIX)
    }
    others = [(name, value) for name, value in found.headers if not name.startswith(PREFIX)]
    place = own.get(f"{PREFIX}topic", ""), _number(own, "partition"), _number(own, "offset")
    reason = {name.removeprefix(PREFIX): value for name, value in own.items()}
    if KEY_HEADER in own:
        return _opened(found.value or b"", keys, place, reason)
    if found.value is None and found.key is None and reason.get("reason") != "tombstone":
        return DeadLetter(place, reason, "dropped", None, "the job writes no records")
    return DeadLetter(place, reason, "kept", personal.Record(found.key, found.value, others))


def _opened(
    value: bytes,
    keys: Mapping[str, bytes],
    place: tuple[str, int | None, int | None],
    reason: Mapping[str, str],
) -> DeadLetter:
    try:
        original = personal.open_record(value, keys, personal.about_record(*place))
    except EnvelopeError as error:
        return DeadLetter(place, reason, "encrypted", None, str(error))
    return DeadLetter(place, reason, "encrypted", original)


def _number(own: Mapping[str, str], name: str) -> int | None:
    text = own.get(f"{PREFIX}{name}", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
