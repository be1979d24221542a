"""Counts a worker's batch for the monitor: predicted rows on bins, and dead and late ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from udfs.profile.collect import Collector, PartialProfile
from udfs.profile.counts import Ints, WindowCounts
from udfs.profile.keys import KeyPart, key_parts
from udfs.profile.params import CollectParams
from udfs.profile.reference import Reference
from udfs.profile.steps import StepCounter, StepPart
from udfs.profile.vectors import measures
from udfs.profile.wire import BatchProfile, encode_batch_profiles
from udfs.records.problems import Problem
from udfs.times import window_start

NO_VERSION = 0
# Among the columns of predicted rows: the record's key, or the column that is to be unique.
KEY = "_key"


class BatchProfiler:
    """Gathers the parts of one batch after the other. Without a reference only outcomes are counted.

    `version` is NO_VERSION for the outcomes of records that no version has seen.
    """

    def __init__(self, params: CollectParams, reference: Reference | None, version: int) -> None:
        self.params = params
        self._window_ms = params.window_ms
        self._centers = reference.vectors if reference else {}
        self._collector = Collector(params, reference, version) if reference else None
        self._stepper = StepCounter(params, reference, version) if reference and params.step_columns else None
        self._version = version
        self._parts: list[PartialProfile] = []
        self._steps: list[StepPart] = []
        self._keys: list[KeyPart] = []
        self._outcomes: dict[int | None, WindowCounts] = {}

    def predicted(self, columns: Mapping[str, pa.Array], event_time: Ints) -> None:
        """Counts n predicted rows; `event_time` in ms, shape (n,)."""
        if self._collector:
            self._parts += self._collector.collect(columns, event_time)
        if self._stepper:
            self._steps += self._stepper.count(columns, event_time)
        if KEY in columns:
            self._keys += key_parts(columns[KEY], event_time, self._window_ms, self._version)

    def measured(self, columns: pa.Table) -> dict[str, pa.Array]:
        """The measures of the vectors whose elements are among the columns."""
        found: dict[str, pa.Array] = {}
        for vector in self.params.vectors:
            parts = [columns.column(name).combine_chunks() for name in vector.columns]
            found |= measures(vector.name, parts, self._centers[vector.name])
        return found

    def dead(self, problem: Problem, event_time: int) -> None:
        """One dead letter; without an event time it counts in the window that is open when it arrives."""
        counts = self._window(window_start(event_time, self._window_ms) if event_time > 0 else None)
        counts.dead += 1
        key = (problem.stage, problem.reason, _field(problem))
        counts.problems[key] = counts.problems.get(key, 0) + 1

    def late(self, event_time: Ints) -> None:
        """Late records, which count where they would have been, if there is that window and it is open."""
        starts, sizes = np.unique(window_start(event_time, self._window_ms), return_counts=True)
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            self._window(start).late += size

    def take(self) -> bytes | None:
        """All since the last call as bytes, or None if there was nothing."""
        return encode_batch_profiles([self.take_counts()])

    def take_counts(self) -> BatchProfile:
        """All since the last call."""
        parts = self._parts + [
            PartialProfile(start, None, None, self._version, counts)
            for start, counts in self._outcomes.items()
        ]
        profile = BatchProfile(parts, self._steps, self._keys)
        self._parts, self._steps, self._keys, self._outcomes = [], [], [], {}
        return profile

    def _window(self, start: int | None) -> WindowCounts:
        return self._outcomes.setdefault(start, WindowCounts())


def _field(problem: Problem) -> str | None:
    """The JSON path that a message of the contract begins with, or the feature that failed."""
    path, separator, _ = problem.message.partition(": ")
    return path if separator and problem.stage in ("contract", "feature") else None
