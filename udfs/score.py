"""From the bytes of a batch to one outcome per record: the only place that decides what becomes of it.

scorer = Scorer(params)
outcomes = scorer.score(Batch(raws, event_time, late, partition, offset, windows))
outcomes.kind[i]        # PREDICTED, DEAD or LATE; then prediction[i] or problem[i] is set
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.check import DEAD, LATE, PREDICTED, Checker, Outcomes, problem_json, undecided
from udfs.decode import Decoded
from udfs.drift.reference import parse_reference
from udfs.drift.watch import Watch
from udfs.encode import json_objects
from udfs.errors import ModelError
from udfs.explain.column import Explaining
from udfs.features import Features
from udfs.isolate import isolate
from udfs.manifest import PROFILE_FILE
from udfs.model import LoadedModel, Scored, load_version
from udfs.params import ModelParams, ScoreParams
from udfs.problems import Problem
from udfs.store import without_secrets
from udfs.types import ARROW

__all__ = ["DEAD", "LATE", "PREDICTED", "Batch", "Outcomes", "RowBatch", "Scorer"]


@dataclass(frozen=True)
class Batch:
    """Columns of n records. `event_time` is in ms since the epoch, NO_EVENT_TIME where there is none."""

    raws: Sequence[bytes | None]
    event_time: npt.NDArray[np.int64]
    late: npt.NDArray[np.bool_]
    partition: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    windows: Mapping[str, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True)
class RowBatch:
    """n rows that windows made: the time of each in ms since the epoch, and its columns."""

    event_time: npt.NDArray[np.int64]
    columns: Mapping[str, pa.Array]


class Scorer:
    """Loads the model once, then scores batch after batch; `counts` is what has happened so far.

    Without a model, a record's prediction is the included columns, in an object called `features`.
    `clock` gives nanoseconds, for the count of the time that the model takes.
    """

    def __init__(self, params: ScoreParams, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._params = params
        self._clock = clock
        self._model_ns = 0
        self._checker = Checker(params.source)
        self._model = _load(params.model) if params.model else None
        self._features = Features(params.features)
        self._tail = _tail(params, self._model)
        self._watch = _watch(params, self._model)
        self.counts: Counter[str] = Counter()
        self._explaining = Explaining(
            self._model.model if self._model else None, params.output.explain, self.counts
        )

    def score(self, batch: Batch) -> Outcomes:
        """Never raises for what a record contains or for what the model does with it."""
        decoded = self._checker.check(batch.raws, batch.event_time, batch.late)
        outcomes = undecided(len(batch.raws), batch.late)
        self._score_table(_context_columns(batch, decoded), decoded.rows, outcomes, batch.event_time)
        for row, problem in decoded.problems.items():
            self._reject(outcomes, row, problem, batch.event_time)
        if self._watch and batch.late.any():
            self._watch.late(batch.event_time[batch.late])
        return self._finished(outcomes)

    def score_rows(self, batch: RowBatch) -> Outcomes:
        """The same for rows that windows made; there is nothing to decode, and none is late."""
        rows = len(batch.event_time)
        table = pa.table(dict(batch.columns))
        table = table.append_column("event_time", pa.array(batch.event_time).cast(ARROW["timestamp"]))
        outcomes = undecided(rows, np.zeros(rows, dtype=np.bool_))
        self._score_table(table, np.arange(rows), outcomes, batch.event_time)
        dead = np.flatnonzero(outcomes.kind == DEAD)
        if len(dead):
            lost = table.take(pa.array(dead))
            columns = {name: _single(lost.column(name)) for name in lost.column_names}
            outcomes.prediction[dead] = json_objects(columns, {}).to_pandas().to_numpy()
        return self._finished(outcomes)

    def _score_table(
        self,
        table: pa.Table,
        rows: npt.NDArray[np.int64],
        outcomes: Outcomes,
        event_time: npt.NDArray[np.int64],
    ) -> None:
        """Decides the outcomes of the records at `rows`, whose columns are the table's rows."""
        featured, bad = self._features.compute(table)
        for i, problem in bad.items():
            self._reject(outcomes, int(rows[i]), problem, event_time)
        if bad:
            keep = np.ones(featured.num_rows, dtype=np.bool_)
            keep[list(bad)] = False
            featured, rows = featured.filter(pa.array(keep)), rows[keep]
        spans, failures = isolate(self._predict, featured)
        for start, stop, (lines, watched) in spans:
            outcomes.kind[rows[start:stop]] = PREDICTED
            outcomes.prediction[rows[start:stop]] = lines
            if self._watch:
                self._watch.predicted(watched, event_time[rows[start:stop]])
        model = f"{self._tail.get('model')}/{self._tail.get('version')}"
        for i, error in failures.items():
            text = f"{type(error).__name__}: {error}"[:300]
            problem = Problem("inference", "model_error", text, model)
            self._reject(outcomes, int(rows[i]), problem, event_time)

    def _predict(self, featured: pa.Table) -> tuple[npt.NDArray[np.object_], dict[str, pa.Array]]:
        """The predictions' bytes for feature rows, and what the monitor counts; raises if the model does."""
        included = self._included(featured)
        if self._params.model is None or self._model is None:
            nested = pa.StructArray.from_arrays(list(included.values()), list(included))
            return self._lines({"features": nested}, featured), {}
        inputs = _inputs(self._params.model, featured)
        scored = self._ask_model(self._model, inputs, self._params.model.threshold)
        scores = _score_columns(scored, self._model)
        watched = self._watched(featured) | scores if self._watch else {}
        explanation = self._explaining(inputs, scored)
        return self._lines(included | scores | explanation, featured), watched

    def _lines(self, columns: dict[str, pa.Array], featured: pa.Table) -> npt.NDArray[np.object_]:
        for name, column in self._params.output.context:
            columns[name] = _single(featured.column(column))
        lines: npt.NDArray[np.object_] = json_objects(columns, self._tail).to_pandas().to_numpy()
        return lines

    def _ask_model(self, model: LoadedModel, inputs: pa.Table, threshold: float) -> Scored:
        started = self._clock()
        try:
            return model.model.predict(inputs, threshold=threshold)
        finally:
            self._model_ns += self._clock() - started

    def _watched(self, featured: pa.Table) -> dict[str, pa.Array]:
        drift = self._params.drift
        assert drift is not None
        named = {name: _single(featured.column(column)) for name, column in drift.columns}
        return {s.column: _single(featured.column(s.column)) for s in drift.segments} | named

    def _included(self, featured: pa.Table) -> dict[str, pa.Array]:
        output = self._params.output
        columns = {name: _single(featured.column(name)) for name in output.include}
        for name in output.hashed:
            columns[name] = _keyed_hash(columns[name], output.hash_key)
        return columns

    def _reject(
        self, outcomes: Outcomes, row: int, problem: Problem, event_time: npt.NDArray[np.int64]
    ) -> None:
        if self._watch:
            self._watch.dead(problem, int(event_time[row]))
        outcomes.kind[row] = DEAD
        outcomes.problem[row] = problem_json(problem)
        self.counts[f"dead_{problem.stage}"] += 1

    def _finished(self, outcomes: Outcomes) -> Outcomes:
        kinds = np.bincount(outcomes.kind, minlength=3).tolist()
        for name, count in zip(("predicted", "dead", "late"), kinds, strict=True):
            self.counts[name] += count
        self.counts["batches"] += 1
        self.counts["lookup_misses"] = self._features.misses
        self.counts["model_ms"] = self._model_ns // 1_000_000
        return replace(outcomes, profile=self._watch.take()) if self._watch else outcomes


def _load(params: ModelParams) -> LoadedModel:
    return load_version(params.folder, digest=params.digest, trust=params.trust)


def _tail(params: ScoreParams, model: LoadedModel | None) -> dict[str, object]:
    """What all predictions of this worker end in."""
    if params.model is None or model is None:
        return {"topic": params.source.topic}
    return {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "digest": model.digest,
        "release": params.model.release,
        "topic": params.source.topic,
    }


def _watch(params: ScoreParams, model: LoadedModel | None) -> Watch | None:
    if params.drift is None or params.model is None or model is None:
        return None
    try:
        reference = parse_reference(model.profile)
    except ModelError as error:
        raise ModelError(f"{without_secrets(params.model.folder)}: {PROFILE_FILE}: {error}") from error
    return Watch(params.drift, reference, model.manifest.version)


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


def _inputs(params: ModelParams, featured: pa.Table) -> pa.Table:
    return pa.table({name: featured.column(column).cast(ARROW[kind]) for name, column, kind in params.inputs})


def _score_columns(scored: Scored, model: LoadedModel) -> dict[str, pa.Array]:
    columns: dict[str, Any] = {"prediction": pa.array(scored.prediction)}
    if scored.score is not None:
        columns["score"] = pa.array(scored.score)
    if scored.probabilities is not None:
        classes = [str(label) for label in model.manifest.signature.output.classes]
        arrays = [pa.array(scored.probabilities[:, k]) for k in range(len(classes))]
        columns["probabilities"] = pa.StructArray.from_arrays(arrays, classes)
    return columns


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _keyed_hash(column: pa.Array, key: bytes) -> pa.Array:
    return pa.array(
        [
            None if v is None else hashlib.blake2b(str(v).encode(), key=key[:64], digest_size=16).hexdigest()
            for v in column.to_pylist()
        ],
        type=pa.string(),
    )
