"""Gathers what is counted beside the outcomes, so that it can be taken back where a batch is scored again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from udfs.features import FeatureBuilder
from udfs.profile.batch_profiler import BatchProfiler
from udfs.profile.wire import BatchProfile
from udfs.quality.counts import QualityReport, encode_report
from udfs.quality.predicted import QualityCounter
from udfs.records.problems import UNEXPECTED, Problem
from udfs.rollout.events import Event
from udfs.rollout.version_metrics import MetricsReport, VersionMetrics, decode, encode


def count_problem(
    counts: Counter[str], problem: Problem, event_time: int, watch: BatchProfiler | None
) -> None:
    """Counts one dead record by its stage, and tells the monitor of it."""
    counts[f"dead_{problem.stage}"] += 1
    if problem.reason == UNEXPECTED:
        counts[UNEXPECTED] += 1
    if watch:
        watch.dead(problem, event_time)


class Tallies:
    """What profilers and the comparison of versions have counted of the records that have an outcome."""

    def __init__(
        self,
        profilers: Callable[[], list[BatchProfiler]],
        metrics: VersionMetrics | None,
        features: FeatureBuilder,
        quality: QualityCounter | None = None,
    ) -> None:
        self._quality, self._counts = quality, QualityReport()
        self._profilers, self._metrics, self._features = profilers, metrics, features
        self._misses = features.misses
        self._profiles: list[BatchProfile] = []
        self._report = MetricsReport()

    def keep(self) -> None:
        self._misses = self._features.misses
        self._profiles += self._counted()
        if self._metrics and (report := self._metrics.take([])):
            self._report.add_all(decode(report))
        if self._quality:
            self._counts.add(self._quality.take_report())

    def drop(self) -> None:
        self._features.misses = self._misses
        self._counted()
        if self._metrics:
            self._metrics.take([])
        if self._quality:
            self._quality.take_report()

    def take_profiles(self) -> list[BatchProfile]:
        taken, self._profiles = self._profiles, []
        return taken

    def take_report(self, events: Iterable[Event]) -> bytes | None:
        report, self._report = self._report, MetricsReport()
        report.events += events
        return encode(report) if report.counts or report.events else None

    def take_quality(self) -> bytes | None:
        counts, self._counts = self._counts, QualityReport()
        return encode_report(counts) if counts.predicted else None

    def _counted(self) -> list[BatchProfile]:
        return [profiler.take_counts() for profiler in self._profilers()]
