"""Decides what becomes of each record of a batch, from its bytes to one outcome.

`Scorer(params).score(batch)` gives Outcomes: `kind[i]` is PREDICTED, DEAD or LATE, and then `prediction[i]`
or `problem[i]` is set.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.features import FeatureBuilder
from udfs.isolate import isolate_spans
from udfs.profile.batch_profiler import KEY, NO_VERSION, BatchProfiler
from udfs.profile.wire import encode_batch_profiles
from udfs.quality.predicted import CELL, QualityCounter
from udfs.records.decode import Decoded
from udfs.records.encode import RawJson, json_objects
from udfs.records.output_schema import OtherTypeError
from udfs.records.personal import Treating
from udfs.records.problems import Problem, unexpected
from udfs.records.written import written_records
from udfs.rollout.events import Role
from udfs.rollout.version_metrics import VersionMetrics
from udfs.scoring.batch import Batch, RowBatch, WindowedBatch
from udfs.scoring.checker import RecordChecker
from udfs.scoring.crashes import Crashes, CrashGuard, ModelCrashedError
from udfs.scoring.label_rows import label_lines
from udfs.scoring.last_net import RunningTotals, score_all
from udfs.scoring.latency import LatencyHistogram
from udfs.scoring.open_versions import open_versions
from udfs.scoring.outcomes import DEAD, LATE, PREDICTED, Outcomes, join_outcomes, problem_json, undecided
from udfs.scoring.params import ScoreParams
from udfs.scoring.rows import RECORD_KEY
from udfs.scoring.shadowing import Shadowing
from udfs.scoring.tallies import Tallies, count_problem
from udfs.scoring.version import score_columns
from udfs.scoring.versions import ScoringGroup
from udfs.times import Milliseconds, now_ms
from udfs.types import ARROW

Predicted = tuple[npt.NDArray[np.object_], dict[str, pa.Array], dict[str, pa.Array]]

__all__ = ["DEAD", "LATE", "PREDICTED", "Batch", "Outcomes", "RowBatch", "Scorer", "WindowedBatch"]


class Scorer:
    """Scores batch after batch; `counts` is what has happened so far.

    Without a model, a record's prediction is the included columns, in an object called `features`.
    `clock` gives nanoseconds, for the count of the time that the model takes, `wall_clock` ms since the
    epoch.
    """

    def __init__(
        self,
        params: ScoreParams,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], int] = now_ms,
    ) -> None:
        self._params = params
        self._clock = clock
        self._model_ns = 0
        self._checker = RecordChecker(params.source)
        self.counts: Counter[str] = Counter()
        self._latency = LatencyHistogram(self.counts, wall_clock)
        self._loads: Counter[str] = Counter()
        self._versions = open_versions(params, self.counts, self._loads) if params.model else None
        self._guard = CrashGuard(f"{params.source.topic} {params.model.folder}") if params.model else None
        self._features = FeatureBuilder(params.features)
        self._watch = BatchProfiler(params.drift, None, NO_VERSION) if params.drift else None
        self._version_metrics = VersionMetrics(params.rollout.window_ms) if params.rollout else None
        self._label_key = params.label_key
        self._personal = params.source.privacy.columns
        self._treating = Treating(params.source.privacy)
        self._quality = QualityCounter(params.quality) if params.quality else None
        self._tallies = Tallies(self._profilers, self._version_metrics, self._features, self._quality)

    def score(self, batch: Batch) -> Outcomes:
        """Never raises for what a record contains or for what the model does with it."""
        return self._score_all(lambda start, stop: self._score(batch.slice(start, stop)), batch.event_time)

    def score_rows(self, batch: RowBatch) -> Outcomes:
        """The same for rows that windows made; there is nothing to decode, and none is late."""
        outcomes = self._score_all(
            lambda start, stop: self._score_rows(batch.slice(start, stop)), batch.event_time
        )
        for i in np.flatnonzero(outcomes.kind == DEAD).tolist():
            if outcomes.prediction[i] is None:
                outcomes.prediction[i] = _row_as_json(batch.slice(i, i + 1))
        return outcomes

    def score_windowed(self, batch: WindowedBatch) -> Outcomes:
        """The same for records that were decoded and checked before their windows."""
        return self._score_all(
            lambda start, stop: self._score_windowed(batch.slice(start, stop)), batch.event_time
        )

    def count_late(self, event_time: Milliseconds) -> bytes | None:
        """Counts records that came too late for their windows; what the monitor is told of them."""
        self.counts["late"] += len(event_time)
        if self._watch:
            self._watch.late(event_time)
        return self._profile()

    def count_dead(self, problems: Iterable[Problem], event_time: Milliseconds) -> bytes | None:
        """Counts records that were rejected before; what the monitor is told of them."""
        for problem, at in zip(problems, event_time.tolist(), strict=True):
            self.counts["dead"] += 1
            count_problem(self.counts, problem, at, self._watch)
        return self._profile()

    def _profile(self) -> bytes | None:
        if not (self._watch and self._versions):
            return None
        self._tallies.keep()
        return encode_batch_profiles(self._tallies.take_profiles())

    def _score_all(self, score: Callable[[int, int], Outcomes], event_time: Milliseconds) -> Outcomes:
        """The outcomes of n records; one on which Tailrace itself fails becomes a dead letter."""
        rows = len(event_time)
        spans, failures = score_all(score, rows, "inference", [RunningTotals(self.counts), self._tallies])
        if len(spans) == 1 and not failures:
            return self._finished(spans[0][2], event_time)
        outcomes = join_outcomes(rows, spans, labelled=self._label_key is not None)
        for row, problem in failures.items():
            self._reject(outcomes, row, problem, event_time, self._watch)
        self._tallies.keep()
        return self._finished(outcomes, event_time)

    def _score(self, batch: Batch) -> Outcomes:
        decoded = self._checker.check(batch.raws, batch.event_time, batch.late, batch.beside)
        outcomes = self._undecided(len(batch.raws), batch.late)
        table = _context_columns(batch, decoded)
        self._score_table(table, decoded.rows, outcomes, batch.event_time, batch.routing_time())
        for row, problem in decoded.problems.items():
            self._reject(outcomes, row, problem, batch.event_time, self._watch)
        if self._watch and batch.late.any():
            self._watch.late(batch.event_time[batch.late])
        return outcomes

    def _undecided(self, rows: int, late: npt.NDArray[np.bool_]) -> Outcomes:
        outcomes = undecided(rows, late)
        if self._label_key is None:
            return outcomes
        key, told = (np.full(rows, None, dtype=object) for _ in range(2))
        return replace(outcomes, label_key=key, told=told)

    def _score_windowed(self, batch: WindowedBatch) -> Outcomes:
        count = len(batch.event_time)
        outcomes = self._undecided(count, np.zeros(count, dtype=np.bool_))
        table, rows = self._without_problems(batch.problems, batch.table, outcomes, batch.event_time)
        self._score_table(table, rows, outcomes, batch.event_time, batch.routing_time())
        return outcomes

    def _without_problems(
        self,
        problems: Mapping[int, Problem],
        table: pa.Table,
        outcomes: Outcomes,
        event_time: Milliseconds,
    ) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The rows whose windows are as they should be, and their places; the others are dead."""
        for row, problem in problems.items():
            self._reject(outcomes, row, problem, event_time, self._watch)
        rows = np.delete(np.arange(table.num_rows), list(problems))
        return table.take(pa.array(rows)) if problems else table, rows

    def _score_rows(self, batch: RowBatch) -> Outcomes:
        rows = len(batch.event_time)
        table = pa.table(dict(batch.columns))
        table = table.append_column("event_time", pa.array(batch.event_time).cast(ARROW["timestamp"]))
        outcomes = undecided(rows, np.zeros(rows, dtype=np.bool_))
        held, places = self._without_problems(batch.problems, table, outcomes, batch.event_time)
        self._score_table(held, places, outcomes, batch.event_time, batch.event_time)
        dead = np.flatnonzero(outcomes.kind == DEAD)
        if len(dead):
            lost = table.take(pa.array(dead))
            columns = {name: _single(lost.column(name)) for name in lost.column_names}
            outcomes.prediction[dead] = json_objects(columns, {}).to_pandas().to_numpy()
        return outcomes

    def close(self) -> None:
        """Ends the threads and processes that go with the versions."""
        if self._versions:
            self._versions.close()
        if self._guard:
            self._guard.close()

    def _score_table(
        self,
        table: pa.Table,
        rows: npt.NDArray[np.int64],
        outcomes: Outcomes,
        event_time: Milliseconds,
        routing_time: Milliseconds,
    ) -> None:
        """Decides the outcomes of the records at `rows`, whose columns are the table's rows."""
        featured, bad = self._features.compute(table)
        for i, problem in bad.items():
            self._reject(outcomes, int(rows[i]), problem, event_time, self._watch)
        if bad:
            keep = np.ones(featured.num_rows, dtype=np.bool_)
            keep[list(bad)] = False
            featured, rows = featured.filter(pa.array(keep)), rows[keep]
        if self._versions is None:
            outcomes.kind[rows], outcomes.prediction[rows] = PREDICTED, self._feature_lines(featured)
            return
        for group in self._versions.groups(featured, routing_time[rows]):
            part = featured if group.rows is None else featured.take(pa.array(group.rows))
            places = rows if group.rows is None else rows[group.rows]
            self._score_group(group, part, places, outcomes, event_time)

    def _score_group(
        self,
        group: ScoringGroup,
        featured: pa.Table,
        rows: npt.NDArray[np.int64],
        outcomes: Outcomes,
        event_time: Milliseconds,
    ) -> None:
        """The rows of one version, beside which its shadows score the same rows."""
        watch, metrics, times = group.version.watch, self._version_metrics, event_time[rows]
        shadowing = Shadowing(group, featured, metrics) if group.shadows and metrics else None
        before = self._model_ns
        crashes = self._guard.crashes(group.version.elsewhere, featured) if self._guard else Crashes()

        def predict(start: int, stop: int) -> Predicted:
            crashes.check(start, stop)
            explains = start not in crashes.unexplained
            return self._predict(group, featured.slice(start, stop - start), explains=explains)

        slices = self._slices(featured)
        spans, failures = isolate_spans(predict, featured.num_rows)
        took = self._model_ns - before
        for start, stop, (lines, scores, watched) in spans:
            outcomes.kind[rows[start:stop]] = PREDICTED
            outcomes.prediction[rows[start:stop]] = lines
            if watch:
                watch.predicted(watched, times[start:stop])
            if metrics:
                share = took * (stop - start) // featured.num_rows
                buckets = None if group.buckets is None else group.buckets[start:stop]
                metrics.scored(*_who(group), times[start:stop], scores, share, buckets)
            if self._quality:
                found = {name: column.slice(start, stop - start) for name, column in slices.items()}
                self._quality.predicted(
                    group.version.number, _output(group), scores, found, times[start:stop]
                )
        for i, error in failures.items():
            problem = _inference_problem(error, group)
            self._reject(outcomes, int(rows[i]), problem, event_time, watch or self._watch)
        if metrics and failures:
            chosen = list(failures)
            buckets = None if group.buckets is None else group.buckets[chosen]
            metrics.failed(*_who(group), times[chosen], buckets)
        predicted = [(start, stop, scores) for start, stop, (_, scores, _) in spans]
        if shadowing:
            plain = [(a, b, {n: c for n, c in scores.items() if n != CELL}) for a, b, scores in predicted]
            outcomes.shadow[rows] = shadowing.lines(
                plain, times, self._context(featured), self._params.source.topic
            )
        if outcomes.told is not None:
            answers = shadowing.answers if shadowing else []
            outcomes.told[rows] = label_lines(group, len(rows), predicted, answers, slices)
            outcomes.label_key[rows] = self._label_keys(featured)  # type: ignore[index]

    def _predict(self, group: ScoringGroup, featured: pa.Table, *, explains: bool) -> Predicted:
        """The predictions' bytes, the scores, and what the monitor counts; raises if the model does."""
        version = group.version
        inputs = version.inputs_of(featured)
        started = self._clock()
        try:
            with self._noted(featured):
                scored = version.predict(inputs)
            scores = score_columns(scored, version.loaded.manifest)
        except Exception as error:
            raise _ModelRaisedError from error
        finally:
            self._model_ns += self._clock() - started
        tail = version.tail(group.release, self._params.source.topic)
        explanation: Mapping[str, RawJson] = {}
        if version.explaining and explains:
            with self._noted(featured):
                explanation = version.explaining(inputs, scored)
        elif version.explaining:
            explanation = version.explaining.nothing(featured.num_rows)
        lines = self._written({**self._included(featured), **scores, **explanation}, featured, tail)
        self._check_size(lines)
        return (
            _objects(lines),
            {**scores, **version.cells(inputs, scores)} if self._quality else scores,
            self._watched(version.watch, featured) | scores if version.watch else {},
        )

    def _noted(self, featured: pa.Table) -> AbstractContextManager[None]:
        """Within, a process that dies does so of these rows."""
        return self._guard.predicting(featured) if self._guard else nullcontext()

    def _slices(self, featured: pa.Table) -> dict[str, pa.Array]:
        """What quality is told apart by."""
        if self._quality is None:
            return {}
        return self._quality.slices_of(
            {name: _single(featured.column(name)) for name in self._quality.columns}
        )

    def _label_keys(self, featured: pa.Table) -> npt.NDArray[np.object_]:
        assert self._label_key is not None
        keys: npt.NDArray[np.object_]
        keys = _single(featured.column(self._label_key)).cast(pa.string()).to_pandas().to_numpy()
        return keys

    def _feature_lines(self, featured: pa.Table) -> npt.NDArray[np.object_]:
        included = self._included(featured)
        nested = pa.StructArray.from_arrays(list(included.values()), list(included))
        return _objects(self._written({"features": nested}, featured, {"topic": self._params.source.topic}))

    def _written(
        self, columns: Mapping[str, pa.Array | RawJson], featured: pa.Table, tail: Mapping[str, object]
    ) -> pa.Array:
        return written_records(self._params.output.schema, {**columns, **self._context(featured)}, tail)

    def _check_size(self, lines: pa.Array) -> None:
        """Raises for predictions of which one is beyond the limit; it is then looked for among them."""
        largest, limit = pc.max(pc.binary_length(lines)).as_py() or 0, self._params.output.max_bytes
        if largest > limit:
            raise _TooLargeError(f"the prediction has {largest} bytes, of at most {limit}")

    def _watched(self, watch: BatchProfiler, featured: pa.Table) -> dict[str, pa.Array]:
        named = {name: _single(featured.column(column)) for name, column in watch.params.columns}
        if watch.params.keys:
            named[KEY] = self._counted_keys(watch.params.keys, featured)
        named |= watch.measured(featured)
        return {s.column: _single(featured.column(s.column)) for s in watch.params.segments} | named

    def _counted_keys(self, name: str, featured: pa.Table) -> pa.Array:
        """Those of which repeats are counted; the monitor keeps hashes, which only a key protects."""
        keys = _single(featured.column(name))
        private = name in self._personal or (name == RECORD_KEY and self._params.source.privacy.key)
        return self._treating.column(name, "hash", keys) if private else keys

    def _context(self, featured: pa.Table) -> dict[str, pa.Array]:
        return {name: _single(featured.column(column)) for name, column in self._params.output.context}

    def _included(self, featured: pa.Table) -> dict[str, pa.Array]:
        output = self._params.output
        columns = {name: _single(featured.column(name)) for name in output.include}
        for name in columns.keys() & self._personal.keys():
            columns[name] = self._treating.column(name, self._personal[name], columns[name])
        return columns

    def _reject(
        self,
        outcomes: Outcomes,
        row: int,
        problem: Problem,
        event_time: Milliseconds,
        watch: BatchProfiler | None,
    ) -> None:
        count_problem(self.counts, problem, int(event_time[row]), watch)
        outcomes.kind[row] = DEAD
        outcomes.problem[row] = problem_json(problem)

    def _finished(self, outcomes: Outcomes, event_time: Milliseconds) -> Outcomes:
        kinds = np.bincount(outcomes.kind, minlength=3).tolist()
        for name, count in zip(("predicted", "dead", "late"), kinds, strict=True):
            self.counts[name] += count
        self.counts["batches"] += 1
        self.counts["lookup_misses"] = self._features.misses
        self.counts["lookup_reload_failures"] = self._features.failures
        self.counts["model_ms"] = self._model_ns // 1_000_000
        self.counts["model_loads"] = self._loads["loads"]
        self.counts["model_load_ms"] = self._loads["ns"] // 1_000_000
        self._latency.add(event_time[outcomes.kind == PREDICTED])
        if self._watch and self._versions:
            outcomes = replace(outcomes, profile=encode_batch_profiles(self._tallies.take_profiles()))
        if self._version_metrics and self._versions:
            report = self._tallies.take_report(self._versions.take_events())
            outcomes = replace(outcomes, rollout=report)
        if self._quality:
            outcomes = replace(outcomes, quality=self._tallies.take_quality())
        return outcomes

    def _profilers(self) -> list[BatchProfiler]:
        return [*self._versions.watches(), self._watch] if self._watch and self._versions else []


class _TooLargeError(Exception):
    """A prediction is larger than the job allows."""


class _ModelRaisedError(Exception):
    """The model raised the error that is the cause."""


def _inference_problem(error: Exception, group: ScoringGroup) -> Problem:
    if isinstance(error, ModelCrashedError):
        return Problem("inference", "model_crash", str(error), group.version.title)
    if isinstance(error, _TooLargeError):
        return Problem("inference", "too_large", str(error), group.version.title)
    if isinstance(error, OtherTypeError):
        return Problem("inference", "model_error", str(error), group.version.title)
    if not isinstance(error, _ModelRaisedError):
        return unexpected("inference", error)
    assert error.__cause__ is not None
    text = group.version.said(error.__cause__)
    return Problem("inference", "model_error", text, group.version.title)


def _objects(lines: pa.Array) -> npt.NDArray[np.object_]:
    found: npt.NDArray[np.object_] = lines.to_pandas().to_numpy()
    return found


def _who(group: ScoringGroup) -> tuple[int, Role, int]:
    return group.version.number, group.role, group.release or 0


def _output(group: ScoringGroup) -> tuple[str, tuple[object, ...]]:
    output = group.version.loaded.manifest.signature.output
    return output.kind, output.classes


def _context_columns(batch: Batch, decoded: Decoded) -> pa.Table:
    """The decoded fields with the event time, the windows' results, and the coordinates of their records."""
    table, rows = decoded.table, decoded.rows
    event_time = pa.array(batch.event_time[rows]).cast(ARROW["timestamp"])
    table = table.append_column("event_time", event_time)
    taken = None if len(rows) == len(batch.raws) else pa.array(rows)
    for name, column in batch.windows.items():
        table = table.append_column(name, column if taken is None else column.take(taken))
    table = table.append_column("_partition", pa.array(batch.partition[rows]))
    return table.append_column("_offset", pa.array(batch.offset[rows]))


def _row_as_json(row: RowBatch) -> bytes:
    """The only row of a batch on which Tailrace failed: as much of it as can be written."""
    written = b"{}"
    with suppress(Exception):
        written = json_objects(row.columns, {})[0].as_py()
    return written


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
