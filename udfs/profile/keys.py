"""Counts records of a window that repeat a key: exact to 131,072 different keys, then from a sample of them.

Keys are told apart by 64 bits of a hash. The level of a hash is the number of zero bits at its end: half of
all keys have at least level 1, a quarter level 2. When too many are known, those of the lowest level are
forgotten, and the rest stands for all. That depends on the keys alone, not on their order: the result is the
same however the work is split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.profile.counts import Ints
from udfs.times import window_start

MAX_KEYS = 2**17
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class KeyPart:
    """The different hashes of a batch's keys, sorted, and how many records there were of each level."""

    start: int
    version: int
    hashes: Hashes
    levels: Mapping[int, int]


def key_parts(keys: pa.Array, event_time: Ints, window_ms: int, version: int) -> list[KeyPart]:
    """One per window in the batch; records without a key repeat none."""
    present = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    if not len(present):
        return []
    hashes = hash_keys(keys if len(present) == len(keys) else keys.take(pa.array(present)))
    times = event_time[present]
    starts = window_start(times, window_ms)
    parts = []
    for start in np.unique(starts).tolist():
        chosen = hashes[starts == start]
        levels = np.bincount(_levels(chosen))
        counts = {level: int(levels[level]) for level in np.flatnonzero(levels).tolist()}
        parts.append(KeyPart(start, version, np.unique(chosen), counts))
    return parts


def hash_keys(keys: pa.Array) -> Hashes:
    """The same for the same text on every machine (SipHash, as pandas has it)."""
    import pandas as pd  # Start-up: most commands hash nothing.  # noqa: PLC0415

    texts = keys.cast(pa.string()).to_numpy(zero_copy_only=False)
    return pd.util.hash_array(texts, categorize=False).astype(np.uint64)


@dataclass(frozen=True)
class Keys:
    """The keys of a window whose level is at least `lowest`, sorted; `levels` counts all of its records."""

    hashes: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    lowest: int = 0
    levels: Mapping[int, int] = field(default_factory=dict)

    def added(self, hashes: Hashes, levels: Mapping[int, int]) -> tuple[Keys, Hashes]:
        """With another part, and the hashes that are new; if `lowest` rises, those are all that it has."""
        if self.lowest:
            hashes = hashes[_levels(hashes) >= self.lowest]
        new = hashes[~_contains(self.hashes, hashes)]
        merged = np.sort(np.concatenate([self.hashes, new]), kind="stable")
        counts = dict(self.levels)
        for level, count in levels.items():
            counts[level] = counts.get(level, 0) + count
        lowest = self.lowest
        while len(merged) > MAX_KEYS:
            lowest += 1
            merged = merged[_levels(merged) >= lowest]
        return Keys(merged, lowest, counts), new if lowest == self.lowest else merged

    def duplicates(self) -> tuple[int, int]:
        """Records with a key that the window had before, and that one key in so many was looked at."""
        records = sum(count for level, count in self.levels.items() if level >= self.lowest)
        sample = 2**self.lowest
        return (records - len(self.hashes)) * sample, sample


def _contains(known: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    indexes = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.asarray(known[indexes] == hashes)


def _levels(hashes: Hashes) -> Ints:
    """Zero bits at the end; the lowest bit that is set is a power of two, exact as a float."""
    lowest = hashes & (~hashes + np.uint64(1))
    levels: Ints = np.where(hashes == 0, 64, np.log2(np.maximum(lowest, 1).astype(np.float64))).astype(
        np.int64
    )
    return levels
