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
from udfs.records.headers import ATTEMPT, FIRST, LEFT_OUT, OURS, PREFIX
from udfs.times import parse_time

State = Literal["kept", "encrypted", "dropped"]


@dataclass(frozen=True)
class DeadLetter:
    """`place` is where the record stands: topic, partition and offset, None for the row of a window.

    `reason` has Tailrace's own headers by their names. `state` says how the topic has the record; without
    `original`, `why` says why there is none. `at` is the partition and offset of the dead letter itself.
    """

    place: tuple[str, int | None, int | None]
    reason: Mapping[str, str]
    state: State
    original: personal.Record | None
    why: str = ""
    at: tuple[int, int] = (0, 0)

    @property
    def identity(self) -> str:
        """The same for all dead letters of one record, and another in a topic that was made anew."""
        topic, partition, offset = self.place
        return f"{topic}/{partition}/{offset}/{self.reason.get('timestamp', '')}"

    @property
    def attempt(self) -> int:
        """How often the record had been replayed when it became this dead letter."""
        return _whole(self._replayed(ATTEMPT)) or 0

    @property
    def first(self) -> str:
        """Where its first dead letter stands; empty if it is this one."""
        return self._replayed(FIRST)

    @property
    def timestamp(self) -> int | None:
        """The record's Kafka timestamp in ms; None where it had none, or the header is not ours."""
        try:
            found = parse_time(self.reason.get("timestamp", ""))
        except (ValueError, OverflowError):
            return None
        return found if found >= 0 else None

    @property
    def died(self) -> int | None:
        """When it became a dead letter, in ms."""
        try:
            return parse_time(self.reason.get("at", ""))
        except (ValueError, OverflowError):
            return None

    def _replayed(self, name: str) -> str:
        headers = dict(self.original.headers) if self.original else {}
        return (headers.get(name) or b"").decode(errors="replace")


def keys_by_id(keys: Iterable[bytes]) -> dict[str, bytes]:
    """The keys by what envelopes call them."""
    return {key_id(key): key for key in keys}


def as_dead_letter(found: Record, keys: Mapping[str, bytes]) -> DeadLetter:
    """A record of a topic of dead letters, or of late records. Never raises for what it holds."""
    own = {name: (value or b"").decode(errors="replace") for name, value in found.headers if name in OURS}
    others = [(name, value) for name, value in found.headers if name not in OURS]
    place = own.get(f"{PREFIX}topic", ""), _number(own, "partition"), _number(own, "offset")
    reason = {name.removeprefix(PREFIX): value for name, value in own.items()}
    at = found.partition, found.offset
    if LEFT_OUT in own:
        why = f"its {own[LEFT_OUT]} bytes are more than can be written; the source topic has them"
        return DeadLetter(place, reason, "dropped", None, why, at)
    if KEY_HEADER in own:
        return _opened(found.value or b"", keys, place, reason, at)
    if found.value is None and found.key is None and reason.get("reason") != "tombstone":
        return DeadLetter(place, reason, "dropped", None, "the job writes no records", at)
    return DeadLetter(place, reason, "kept", personal.Record(found.key, found.value, others), at=at)


def _opened(
    value: bytes,
    keys: Mapping[str, bytes],
    place: tuple[str, int | None, int | None],
    reason: Mapping[str, str],
    at: tuple[int, int],
) -> DeadLetter:
    try:
        original = personal.open_record(value, keys, personal.about_record(*place))
    except EnvelopeError as error:
        return DeadLetter(place, reason, "encrypted", None, str(error), at)
    return DeadLetter(place, reason, "encrypted", original, at=at)


def _number(own: Mapping[str, str], name: str) -> int | None:
    return _whole(own.get(f"{PREFIX}{name}", ""))


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
