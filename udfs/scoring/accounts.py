"""The job's own account of what it has read: counts and a checksum of outcomes by partition and offset range.

account = Accounting("orders", "orders.in").of(partitions, offsets, kinds)      # bytes, tailrace.account/1

An account is written in the transaction of the outcomes that it is of: both are there, or neither.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.scoring.outcomes import DEAD, LATE, PREDICTED

Integers = npt.NDArray[np.int64]
# Partitions come in long runs; where they do not, sorting is quicker.
_MANY_RUNS = 64
_WEYL, _MIX_1, _MIX_2 = (
    np.uint64(constant) for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class RangeAccount(msgspec.Struct, frozen=True, rename={"start": "from", "stop": "to"}):
    """What became of the records of a partition at offsets from `start` on, before `stop`.

    `windows` are those that wait for windows, whose outcome follows; `checksum` is of the others' outcomes.
    """

    partition: int
    start: int
    stop: int
    read: int
    predicted: int
    dead: int
    late: int
    windows: int
    checksum: str


class AccountRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Of one batch of an instance."""

    job: str
    topic: str
    partitions: tuple[RangeAccount, ...]
    schema: Literal["tailrace.account/1"] = "tailrace.account/1"


class Accounting:
    """Makes the accounts of a job; with `windowed`, records that are valid wait for windows."""

    def __init__(self, job: str, topic: str, *, windowed: bool = False) -> None:
        self._job, self._topic, self._windowed = job, topic, windowed

    def of(self, partitions: Integers, offsets: Integers, kinds: npt.NDArray[np.int8]) -> bytes:
        """The account of a batch of at least one record."""
        starts = _runs(partitions)
        if len(starts) > _MANY_RUNS:
            order = np.argsort(partitions.astype(np.int32), kind="stable")
            partitions, offsets, kinds = partitions[order], offsets[order], kinds[order]
            starts = _runs(partitions)
        mixed = _mixed(offsets, kinds)
        if self._windowed:
            mixed[kinds == PREDICTED] = 0
        columns = (
            partitions[starts],
            np.minimum.reduceat(offsets, starts),
            np.maximum.reduceat(offsets, starts),
            np.diff(starts, append=len(kinds)),
            *(np.add.reduceat(kinds == kind, starts, dtype=np.int64) for kind in (DEAD, LATE)),
            np.add.reduceat(mixed, starts),
        )
        runs: dict[int, list[int]] = {}
        for partition, *run in zip(*(column.tolist() for column in columns), strict=True):
            runs[partition] = _joined(runs[partition], run) if partition in runs else run
        parts = tuple(self._range(partition, *runs[partition]) for partition in sorted(runs))
        return msgspec.json.encode(AccountRecord(job=self._job, topic=self._topic, partitions=parts))

    def _range(
        self, partition: int, first: int, last: int, read: int, dead: int, late: int, mixed: int
    ) -> RangeAccount:
        valid = read - dead - late
        return RangeAccount(
            partition=partition,
            start=first,
            stop=last + 1,
            read=read,
            predicted=0 if self._windowed else valid,
            dead=dead,
            late=late,
            windows=valid if self._windowed else 0,
            checksum=f"{mixed:016x}",
        )


def _runs(partitions: Integers) -> Integers:
    """Where another partition begins."""
    return np.concatenate(([0], np.flatnonzero(partitions[1:] != partitions[:-1]) + 1))


def _joined(one: list[int], other: list[int]) -> list[int]:
    """Two runs of a partition as one."""
    first, last, *counts, mixed = zip(one, other, strict=True)
    return [min(first), max(last), *map(sum, counts), sum(mixed) % 2**64]


def checksum(offsets: Integers, kinds: npt.NDArray[np.int8]) -> str:
    """16 hex digits of outcomes (kinds as PREDICTED, DEAD, LATE) in any order.

    The sum modulo 2^64 of SplitMix64's mix (Steele, Lea, Flood 2014) of 4 × offset + kind.
    """
    return f"{int(_mixed(offsets, kinds).sum(dtype=np.uint64)):016x}"


def _mixed(offsets: Integers, kinds: npt.NDArray[np.int8]) -> npt.NDArray[np.uint64]:
    word = offsets.astype(np.uint64)
    word <<= np.uint64(2)
    word += kinds.view(np.uint8)
    word += _WEYL
    for shift, factor in ((30, _MIX_1), (27, _MIX_2)):
        word ^= word >> np.uint64(shift)
        word *= factor
    word ^= word >> np.uint64(31)
    return word
