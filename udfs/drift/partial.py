"""Tells windows in which the input began or ended, and takes back what was said of those, or of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from udfs.drift.judge import SegmentVerdict, WindowKey
from udfs.profile.counts import WindowCounts

_MISSING = 10
PART = "only a part of the window"


def is_partial(
    windows: Mapping[WindowKey, WindowCounts], start: int, end: int, *, first: bool, last: bool
) -> bool:
    """Whether the input began, or ended, within it: a tenth of it is missing, and ten records' time."""
    spans = [counts.span for key, counts in windows.items() if key[0] is None and counts.span]
    rows = sum(counts.predicted for key, counts in windows.items() if key[0] is None)
    return is_cut(spans, rows, start, end, first=first, last=last)


def is_cut(
    spans: Sequence[tuple[int, int]], rows: int, start: int, end: int, *, first: bool, last: bool
) -> bool:
    """The same, of so many rows between the first and the last time of each of `spans`."""
    if not spans:
        return False
    begins, ends = min(span[0] for span in spans), max(span[1] for span in spans)
    least = max((end - start) / _MISSING, _MISSING * (ends - begins) / rows)
    return (first and begins - start > least) or (last and end - ends > least)


def unjudged(verdict: SegmentVerdict, why: str = PART) -> SegmentVerdict:
    """What moved may be what the missing part of the window has."""
    columns = tuple(
        msgspec.structs.replace(column, verdict="insufficient_data", direction=why)
        for column in verdict.columns
    )
    joint = verdict.joint and msgspec.structs.replace(verdict.joint, verdict="insufficient_data")
    return SegmentVerdict(columns, joint, "insufficient_data", ())
