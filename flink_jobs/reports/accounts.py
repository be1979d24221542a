"""Accounts for each record that a job has read: one outcome, none, or more, by partition and offset.

accounts = Accounts({0: (0, 100)}, "orders")       # partition 0, offsets 0 to 99
accounts.add("predicted", 0, 17)
accounts.partitions[0].unanswered()                # runs of offsets without an outcome

A byte is kept for each offset. Offsets may have no record, such as markers of transactions: who has found
what is unanswered looks these up in the source, and says with `settle` which of them are records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from flink_jobs.errors import WorkError
from flink_jobs.kafka import Record
from flink_jobs.reports.held import Passed
from flink_jobs.reports.predictions import Origin
from udfs.records.headers import PREFIX
from udfs.scoring.accounts import AccountRecord, RangeAccount, checksum

# In the order of the kinds of `udfs.scoring.outcomes`.
OUTCOMES = ("predicted", "dead", "late")
# A byte for each offset: how many outcomes it has, up to 15, and above that the kind of the first.
_COUNT, _KIND = 15, 4
_LAST = 2**63
SHOWN = 10
# Of so many offsets that the source has deleted it is known which have an outcome, the newest.
REACH = 10_000_000


def origin_of_whole(record: Record) -> Origin | None:
    """Topic, partition and offset of a record that was not predicted, by its dead letter or late record."""
    own = {name: value or b"" for name, value in record.headers if name.startswith(PREFIX)}
    try:
        partition, offset = int(own[f"{PREFIX}partition"]), int(own[f"{PREFIX}offset"])
        return own[f"{PREFIX}topic"].decode(), partition, offset
    except (KeyError, ValueError):
        return None


_account = msgspec.json.Decoder(AccountRecord)


def accounts_of(record: Record, topic: str) -> Iterator[RangeAccount]:
    """What a record of the topic of accounts says of a source. Raises WorkError for one that is none."""
    try:
        found = _account.decode(record.value or b"")
    except msgspec.MsgspecError as error:
        place = f"{record.partition}:{record.offset}"
        raise WorkError(f"the record at {place} is no tailrace.account/1: {error}") from None
    if found.topic == topic:
        yield from found.partitions


@dataclass(frozen=True)
class Disagreement:
    """Offsets from `start` on, before `stop`, of which the job says what the topics do not have."""

    start: int
    stop: int
    why: str


@dataclass
class Partition:
    """The offsets of a partition from `start` on, before `end`, and how many outcomes each has."""

    start: int
    end: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    _seen: bytearray = field(init=False, repr=False)
    passed: Passed = field(default_factory=Passed, repr=False)
    _missing: dict[int, bool] = field(default_factory=dict, repr=False)
    _earlier: bytearray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._seen = bytearray(max(0, self.end - self.start))
        self._earlier = bytearray(min(self.start, REACH))

    def add(self, outcome: str, offset: int) -> None:
        """One outcome of a record; those of others are not counted here."""
        at = offset - self.start
        if 0 <= at < len(self._seen):
            self.counts[outcome] += 1
            before = self._seen[at]
            first = OUTCOMES.index(outcome) << _KIND
            self._seen[at] = first | 1 if not before else before + ((before & _COUNT) < _COUNT)
        elif at < 0 <= at + len(self._earlier):
            self._earlier[at] = 1

    def unanswered(self) -> list[tuple[int, int]]:
        """Runs of offsets, [from, to), without an outcome."""
        return _runs(np.frombuffer(self._seen, np.uint8) == 0, self.start)

    def gone(self, since: int = 0) -> list[tuple[int, int]]:
        """Runs of offsets before `start`, [from, to), after one with an outcome, that have none.

        The outputs must have all outcomes from `since` on. A run of one is left out: it may be a marker.
        """
        first = self._earlier.find(1)
        if first < 0:
            return []
        flags = np.frombuffer(self._earlier, np.uint8) == 0
        flags[: max(first, since - self.start + len(self._earlier))] = False
        runs = _runs(flags, self.start - len(self._earlier))
        return [(begin, end) for begin, end in runs if end - begin > 1]

    def settle(self, records: Iterable[int], held: Collection[int] = ()) -> None:
        """Which of the unanswered offsets are records, and which of these windows may still hold."""
        self._missing = {offset: offset in held for offset in sorted({*records})}

    @property
    def missing(self) -> list[int]:
        """Records without an outcome, which are to have one by now."""
        return [offset for offset, held in self._missing.items() if not held]

    @property
    def waiting(self) -> list[int]:
        """Records without an outcome that windows may still hold."""
        return [offset for offset, held in self._missing.items() if held]

    @property
    def doubled(self) -> list[int]:
        """Records with more than one outcome."""
        found = np.flatnonzero(np.frombuffer(self._seen, np.uint8) & _COUNT > 1) + self.start
        return [int(offset) for offset in found]

    @property
    def records(self) -> int:
        """How many records there are that have an outcome, or should."""
        return len(self._seen) - self._seen.count(0) + len(self._missing)

    def disagreements(self, said: Iterable[RangeAccount]) -> list[Disagreement]:
        """Where the job's own accounts, from the first on, are not what the topics have."""
        found: list[Disagreement] = []
        until: int | None = None
        for account in sorted(said, key=lambda each: each.start):
            if account.start < self.start or account.stop > self.end:
                continue
            until = account.start if until is None else until
            if account.start < until:
                found.append(Disagreement(account.start, min(until, account.stop), "accounted twice"))
            elif self._records_in(until, account.start):
                found.append(Disagreement(until, account.start, "records that no account has"))
            if why := self._differs(account):
                found.append(Disagreement(account.start, account.stop, why))
            until = max(until, account.stop)
        return found

    def _differs(self, account: RangeAccount) -> str | None:
        if (records := self._records_in(account.start, account.stop)) != account.read:
            return f"{account.read:,} read, {records:,} found"
        if account.windows:
            return None
        codes = self._codes(account.start, account.stop)
        offsets = np.flatnonzero(codes) + account.start
        kinds = (codes[codes > 0] >> _KIND).astype(np.int8)
        if checksum(offsets, kinds) != account.checksum:
            counts = ", ".join(f"{getattr(account, name):,} {name}" for name in OUTCOMES)
            return f"other outcomes than {counts}"
        return None

    def _records_in(self, start: int, stop: int) -> int:
        answered = int(np.count_nonzero(self._codes(start, stop)))
        return answered + sum(start <= offset < stop for offset in self._missing)

    def _codes(self, start: int, stop: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        return np.frombuffer(self._seen, np.uint8)[start - self.start : stop - self.start]


def _runs(flags: np.ndarray[tuple[int], np.dtype[np.bool_]], start: int) -> list[tuple[int, int]]:
    """Where flags are set, [from, to), of offsets from `start` on."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2) + start]


class Accounts:
    """Of the source topic, by partition; `ranges` are the offsets that are accounted for."""

    def __init__(self, ranges: Mapping[int, tuple[int, int]], topic: str) -> None:
        self.partitions = {number: Partition(*ranges[number]) for number in sorted(ranges)}
        self.topic = topic
        self.others = 0

    def add(self, outcome: str, origin: Origin | None) -> None:
        """Counts an outcome; one of no record of the topic is one of `others`."""
        if origin is None or origin[0] != self.topic or origin[1] not in self.partitions:
            self.others += 1
            return
        self.partitions[origin[1]].add(outcome, origin[2])

    def pass_by(self, origin: Origin, time: int) -> None:
        """The record was predicted, and has this event time in ms."""
        if origin[0] == self.topic and origin[1] in self.partitions:
            self.partitions[origin[1]].passed.add(origin[2], time)

    @property
    def balanced(self) -> bool:
        """Whether each record has one outcome."""
        return not any(each.missing or each.doubled for each in self.partitions.values())


def spans(runs: Iterable[tuple[int, int]], apart: int = 10_000) -> Iterator[tuple[int, int]]:
    """Runs that are near each other as one span, which is quicker to read than each alone.

    >>> list(spans([(3, 4), (90, 95), (50_000, 50_001)]))
    [(3, 95), (50000, 50001)]
    """
    first: int | None = None
    last = 0
    for start, stop in runs:
        if first is not None and start - last > apart:
            yield first, last
            first = None
        first = start if first is None else first
        last = stop
    if first is not None:
        yield first, last


def within(runs: Sequence[tuple[int, int]], records: Iterable[Record]) -> Iterator[Record]:
    """The records whose offsets are in one of the runs, which are in order."""
    for record in records:
        at = bisect_right(runs, (record.offset, _LAST)) - 1
        if at >= 0 and record.offset < runs[at][1]:
            yield record
