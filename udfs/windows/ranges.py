"""What the rows of many ranges of a batch amount to, and with the rows of older runs before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from udfs.windows.columns import Ints
from udfs.windows.frames import Places, Tail
from udfs.windows.monoids import Arrays, Monoid, Need, empty, put, take


class Range(NamedTuple):
    """Rows of a batch, for each row of it or for each group: `first` to before `stop`."""

    first: Ints
    stop: Ints


def reduce_ranges(lifted: Arrays, of: Monoid, ranges: Sequence[Range]) -> list[Arrays]:
    """The rows of each range combined, in log2(longest) steps over all rows: doubling.

    `level` holds for each row the aggregate of 2^k rows from it on; a range takes those of its length's bits.
    """
    found = [empty(of, lifted, len(wanted.first)) for wanted in ranges]
    done = [wanted.first.copy() for wanted in ranges]
    lengths = [wanted.stop - wanted.first for wanted in ranges]
    longest = max(int(length.max()) for length in lengths)
    level, size = lifted, 1
    while size <= longest:
        for total, at, length in zip(found, done, lengths, strict=True):
            (some,) = (length & size).nonzero()
            put(total, some, of.combine(take(total, some), take(level, at[some])))
            at[some] += size
        if 2 * size <= longest:
            level = of.combine(tuple(part[:-size] for part in level), tuple(part[size:] for part in level))
        size *= 2
    return found


def with_tails(within: Arrays, tails: Sequence[Tail], need: Need, of: Monoid) -> Arrays:
    """What windows amount to: the older runs' ends before what is in the batch."""
    total = within
    for tail in tails:
        suffixes, some = tail.run.suffixes[need], tail.some
        if len(some) == len(tail.begin):
            total = of.combine(take(suffixes, tail.begin), total)
        else:
            put(total, some, of.combine(take(suffixes, tail.begin[some]), take(total, some)))
    return total


def to_the_end(at: Places) -> Range:
    """Each row to the end of its slot's rows."""
    return Range(np.arange(len(at.batch)), at.end)
