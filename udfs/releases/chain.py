"""Verifies a signed release log: who may release, in which order, and with whose approval.

Each entry has a head: the SHA-256 of the head before it ("" at first), a line feed, and the bytes of its
file. A signed entry names its model and the head before it, so that no entry can be moved to another log,
left out, put elsewhere or changed without the key of each one that follows. What a chain cannot tell is that
its end was cut off: for that, whoever has seen a head must remember it (`udfs.releases.trusted`).

Entries that were there before the first signed one are vouched for by whoever signed that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from udfs.ed25519 import is_signed, shown_key
from udfs.errors import ModelError
from udfs.releases.log import ReleaseLog, ReleaseRecord, decode_release


class Head(msgspec.Struct, frozen=True):
    """An entry's number, and the hash of all entries up to it."""

    number: int
    sha256: str


class ReleaseTrust(msgspec.Struct, frozen=True):
    """What a job demands of a release log before it follows it.

    `keys`: of releasers, base64 of their 32 bytes. `approvals`: how many of them must have signed before
    another version may score. `pinned`: an entry that the log must have, as when the job was planned.
    `max_age_ms`: how old the newest signed entry may be when a worker begins.
    """

    keys: tuple[str, ...] = ()
    signed: bool = False
    approvals: int = 1
    pinned: Head | None = None
    max_age_ms: int | None = None


ANY_RELEASER = ReleaseTrust()


class Entry(msgspec.Struct, frozen=True):
    """A file of the log as it is; `data` is None for one that cannot be read as a file."""

    number: int
    data: bytes | None


@dataclass(frozen=True)
class Chain:
    """The entries that are what they say, with the head of each, and why no more are."""

    records: tuple[ReleaseRecord, ...]
    heads: tuple[Head, ...]
    waiting: frozenset[int]
    problem: str | None = None

    def log(self) -> ReleaseLog | None:
        """None without an entry. Raises ModelError when none is in force."""
        return ReleaseLog(self.records, self.waiting) if self.records else None

    def extends(self, known: Head) -> bool:
        """Whether the chain goes on from there."""
        return known.number <= len(self.heads) and self.heads[known.number - 1] == known


def signed_message(record: ReleaseRecord) -> bytes:
    """What is signed: the record without its signature, as JSON with sorted keys."""
    unsigned = msgspec.structs.replace(record, signature=msgspec.UNSET)
    return msgspec.json.encode(msgspec.to_builtins(unsigned, str_keys=True), order="sorted")


def next_head(before: str, data: bytes) -> str:
    """The head of the entry with these bytes.

    >>> next_head("", b"{}")[:16]
    'a062dd4952b935e4'
    """
    return hashlib.sha256(before.encode() + b"\n" + data).hexdigest()


def verify(entries: Sequence[Entry], model: str, trust: ReleaseTrust) -> Chain:
    """The longest part from the beginning that is what the job demands.

    Without demands entries need no signature, but one that they have must be a true one.
    """
    records: list[ReleaseRecord] = []
    heads: list[Head] = []
    head, problem = "", None
    for place, entry in enumerate(entries, 1):
        try:
            record = _checked(entry, place, model, head, trust, after_signed=_signed(records))
        except ModelError as error:
            problem = str(error)
            break
        head = next_head(head, entry.data or b"")
        records.append(record)
        heads.append(Head(place, head))
    if trust.signed and not _signed(records):
        problem = problem or ("release 1 is not signed" if records else None)
        records, heads = [], []
    return Chain(tuple(records), tuple(heads), _waiting(records, trust), problem)


def _signed(records: Sequence[ReleaseRecord]) -> bool:
    return any(record.is_signed for record in records)


def _checked(
    entry: Entry, number: int, model: str, head: str, trust: ReleaseTrust, *, after_signed: bool
) -> ReleaseRecord:
    if entry.number != number:
        raise ModelError(f"release {number} is missing")
    if entry.data is None:
        raise ModelError(f"release {number} cannot be read")
    record = decode_release(entry.data, number)
    if not isinstance(record.key, str) or not isinstance(record.signature, str):
        if after_signed:
            raise ModelError(f"release {number} is not signed")
        return record
    if not is_signed(signed_message(record), record.key, record.signature):
        raise ModelError(f"release {number}: the signature by {shown_key(record.key)} is not one of it")
    if trust.signed and record.key not in trust.keys:
        wanted = ", ".join(map(shown_key, trust.keys))
        raise ModelError(f"release {number} is signed by {shown_key(record.key)}, none of {wanted}")
    if record.model != model:
        raise ModelError(f"release {number} is one of model {record.model}")
    if record.previous != head:
        raise ModelError(f"release {number} does not follow on the one before it")
    return record


def _waiting(records: Sequence[ReleaseRecord], trust: ReleaseTrust) -> frozenset[int]:
    """The numbers of what is not in force: it wants an approval, or is one that changes nothing."""
    counts = _Approvals(trust.approvals)
    waiting = {record.number for record in records if not counts.in_force(record)}
    first = next((record.number for record in records if record.is_signed), None)
    if first in waiting and first not in counts.approved:
        # Nobody but its author vouches for what was there before.
        waiting |= set(range(1, first))
    return frozenset(waiting)


class _Approvals:
    """Takes the entries of a log in order, and tells which of them change what is in force."""

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self._champions: set[int] = set()
        self._canaries: dict[int, float] = {}
        self._open: dict[int, tuple[ReleaseRecord, set[str]]] = {}
        self._last = 0
        self.approved: set[int] = set()

    def in_force(self, record: ReleaseRecord) -> bool:
        changes = self._completes(record) if record.action == "approve" else self._enough(record)
        # Of what is not signed nobody has said that it may score.
        if changes and record.is_signed:
            self._last = record.number
            self._champions.add(record.champion)
            if record.canary:
                version, share = record.canary.version, record.canary.share
                self._canaries[version] = max(share, self._canaries.get(version, 0.0))
        return changes

    def _enough(self, record: ReleaseRecord) -> bool:
        if self._needed <= 1 or not record.is_signed:
            return True
        if record.action not in ("promote", "canary") and self._known(record):
            return True
        self._open[record.number] = (record, {str(record.key)})
        return False

    def _known(self, record: ReleaseRecord) -> bool:
        """Whether all that scores was approved before: to go back, or to stop, one releaser is enough."""
        canary = record.canary
        return record.champion in self._champions and (
            canary is None or canary.share <= self._canaries.get(canary.version, 0.0)
        )

    def _completes(self, record: ReleaseRecord) -> bool:
        number = record.approves if isinstance(record.approves, int) else 0
        if number not in self._open or number < self._last:
            return False
        target, signers = self._open[number]
        if _content(target) != _content(record):
            return False
        signers.add(str(record.key))
        if len(signers) < self._needed:
            return False
        del self._open[number]
        self.approved.add(number)
        return True


def _content(record: ReleaseRecord) -> tuple[object, ...]:
    return record.champion, record.canary, record.shadows, record.digests
