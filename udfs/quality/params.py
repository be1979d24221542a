"""What is counted for quality, and when it is published, as plain data."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.model.signatures import Trust
from udfs.profile.params import SegmentParams

Times = TypeVar("Times", int, npt.NDArray[np.int64])
# A day of waiting is published in so many steps, unless windows are longer.
REVISIONS = 24
# Blocks of a window.
SLOTS = 60


class QualityCount(msgspec.Struct, frozen=True):
    """Windows of the records' event time, and columns whose values are counted apart."""

    window_ms: int
    slices: tuple[SegmentParams, ...] = ()


class LabelWait(msgspec.Struct, frozen=True):
    """How long labels may take, and the time between two publications of the same window."""

    wait_ms: int
    revise_ms: int


class QualityParams(msgspec.Struct, frozen=True):
    """What publishes quality is told. `groups` are those slices that are compared for fairness.

    `trust` is what is demanded of each version in `model_folder`, `digests` are those that are known.
    """

    job: str
    model: str
    count: QualityCount
    labels: LabelWait | None = None
    groups: tuple[str, ...] = ()
    idle_ms: int = 300_000
    gap: float = 0.1
    quantile: float | None = None
    fall: float = 0.05
    model_folder: str | None = None
    trust: Trust = Trust()
    digests: dict[int, str] = {}


def published_at(start: int, label_time: int, count: QualityCount, labels: LabelWait) -> int:
    """The event time at which a label of `label_time` is published with its record's window."""
    due = (label_time // labels.revise_ms + 1) * labels.revise_ms
    return min(max(due, start + count.window_ms), final_at(start, count, labels))


def slot_of(at: Times, start: int, count: QualityCount) -> Times:
    """The block of a window that a time, or (n,) times, of it are in."""
    return (at - start) * SLOTS // count.window_ms


def final_at(start: int, count: QualityCount, labels: LabelWait) -> int:
    """The event time from which no label of the window comes any more."""
    return start + count.window_ms + labels.wait_ms
