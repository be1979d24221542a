"""Tells which version counts for a record, by the record's own time.

>>> first = ReleaseRecord(number=1, champion=1, written_at="2013-01-01T00:00:00Z")
>>> second = ReleaseRecord(number=2, champion=2, written_at="2013-02-01T00:00:00Z", at="2013-02-02T00:00:00Z")
>>> log = ReleaseLog([first, second])
>>> log.places(np.array([0, parse_time("2013-02-02T00:00:00Z")]))
array([0, 1])
>>> log.state(1).champion
2

Pure: who reads the files and when is `udfs.releases.follow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.errors import ModelError
from udfs.times import Milliseconds, parse_time

Action = Literal["promote", "canary", "shadow", "rollback", "withdraw", "approve", "confirm"]
BEGINNING = -(2**62)


class Canary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`share` (0 to 1) of the values of the column `key` go to `version`."""

    version: int
    share: float
    key: str

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {self.share}")


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the log, `releases/<8-digit number>.json`: all that is in force from its moment on.

    `at` is that moment, in event time (ISO 8601, UTC); null is the beginning of time. `withdraw` is a version
    that must not score at all any more, whatever the time. `digests` pins the versions that it names.

    A signed one (schema 3) names its `model`, and the chain before it by `previous`; `signature` is the key's
    over all else (`udfs.releases.chain`). `approves` is the number of the release that an approval is of.
    """

    schema: Literal["tailrace.release/1", "tailrace.release/2", "tailrace.release/3"] = "tailrace.release/2"
    number: int
    champion: int
    written_at: str
    action: Action = "promote"
    at: str | None = None
    lead_ms: int = 0
    canary: Canary | None = None
    shadows: tuple[int, ...] = ()
    withdraw: int | None = None
    digests: dict[int, str] = {}
    reason: str = ""
    by: str = ""
    model: str | msgspec.UnsetType = msgspec.UNSET
    previous: str | msgspec.UnsetType = msgspec.UNSET
    approves: int | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.at is not None:
            parse_time(self.at)

    @property
    def at_ms(self) -> int:
        """The moment in ms since the epoch; BEGINNING for none."""
        return BEGINNING if self.at is None else parse_time(self.at)

    @property
    def is_signed(self) -> bool:
        """Whether it says so; whose signature it is, and whether it is true, is the chain's to tell."""
        return isinstance(self.key, str)

    @property
    def versions(self) -> tuple[int, ...]:
        """All versions that score under it."""
        canary = (self.canary.version,) if self.canary else ()
        return (self.champion, *canary, *self.shadows)


@dataclass(frozen=True)
class State:
    """What the release with this `number` means once unusable versions are left out.

    `champion_since` is the release that the champion is from: an earlier one, where it stands in for another.
    """

    number: int
    champion: int
    champion_since: int
    canary: Canary | None = None
    shadows: tuple[int, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        canary = (self.canary.version,) if self.canary else ()
        return (self.champion, *canary, *self.shadows)


class ReleaseLog:
    """The whole log; `last` is its newest release that counts.

    In force at a time is the last one written whose moment is not after it.

    So a release replaces those with later moments that were written before it. Before the first moment the
    first release counts. Those with numbers in `waiting` are not in force: they lack an approval, or are one.
    Raises ModelError for a log that is empty, has a gap, or has nothing in force.
    """

    def __init__(self, records: Sequence[ReleaseRecord], waiting: frozenset[int] = frozenset()) -> None:
        self.records = tuple(records)
        self.waiting = waiting
        numbers = [record.number for record in self.records]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise ModelError(f"a release log must hold the numbers 1, 2, 3 …; got {numbers[:20]}")
        # A release that waits for approval may stop a version already: an emergency waits for nobody.
        self.withdrawn = frozenset(r.withdraw for r in self.records if r.withdraw is not None)
        counted = np.array([i for i, number in enumerate(numbers) if number not in waiting], dtype=np.intp)
        if not len(counted):
            raise ModelError(f"no release is in force: {len(numbers)} must be approved first")
        self._first = int(counted[0])
        self.last = self.records[int(counted[-1])]
        moments = np.array([self.records[place].at_ms for place in counted], dtype=np.int64)
        self._bounds = np.unique(moments)
        self._in_force = np.array(
            [counted[np.flatnonzero(moments <= bound)[-1]] for bound in self._bounds], dtype=np.intp
        )

    def places(self, times: Milliseconds) -> npt.NDArray[np.intp]:
        """The position in `records` of the release in force at each of n times (ms since the epoch)."""
        found = np.searchsorted(self._bounds, times, side="right") - 1
        positions: npt.NDArray[np.intp] = np.where(
            found < 0, self._first, self._in_force[np.maximum(found, 0)]
        )
        return positions

    def place_at(self, time: int) -> int:
        return int(self.places(np.array([time]))[0])

    def state(self, position: int, unusable: frozenset[int] = frozenset()) -> State:
        """What is in force at `records[position]`, without the versions that are withdrawn or `unusable`.

        In the place of such a champion is the one before it. Raises ModelError when there is none.
        """
        lost = self.withdrawn | unusable
        for record in reversed(self.records[: position + 1]):
            if record.champion not in lost and record.number not in self.waiting:
                return _state(self.records[position], record, lost)
        names = ", ".join(map(str, sorted(lost)))
        raise ModelError(f"release {self.records[position].number} has no version to score with: not {names}")

    def from_then_on(self, time: int) -> list[int]:
        """The positions of the release in force at `time` and of all that take over later."""
        first = self.place_at(time)
        later = self._in_force[self._bounds > time]
        return [first, *(int(position) for position in later if position != first)]

    def champions_to_come(self, time: int) -> dict[int, str]:
        """By version, the moment from which on it is champion, of those that take over after `time`.

        Raises ModelError when no version is left to score.
        """
        first, *later = self.from_then_on(time)
        found: dict[int, str] = {}
        for position in later:
            found.setdefault(self.state(position).champion, self.records[position].at or "")
        found.pop(self.state(first).champion, None)
        return found


def _state(record: ReleaseRecord, champion: ReleaseRecord, lost: frozenset[int]) -> State:
    canary = record.canary if record.canary and record.canary.version not in lost else None
    shadows = tuple(v for v in record.shadows if v not in lost and v != champion.champion)
    return State(record.number, champion.champion, champion.number, canary, shadows)


_decoder = msgspec.json.Decoder(ReleaseRecord)


def decode_release(data: bytes, number: int) -> ReleaseRecord:
    """Raises ModelError for what is not the record of that number."""
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"release {number} must be a tailrace.release/2 record: {error}") from None
    if record.number != number:
        raise ModelError(f"release {number} must say its number; it says {record.number}")
    return record


def encode_release(record: ReleaseRecord) -> bytes:
    """The record as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
