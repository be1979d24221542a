"""The vectorized UDFs that Flink's Python workers run: thin shells around `udfs.scoring.scorer`.

Each holds plain data until `open()`, because Flink pickles it at submission.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyflink.table.udf import FunctionContext, ScalarFunction

from udfs.flink.arrow import hand_over_arrow
from udfs.flink.worker import prepare_worker
from udfs.quality.labelled import count_quality
from udfs.records.personal import Treating
from udfs.records.raws import Raws
from udfs.rollout.labels import LabelReader, count_labels
from udfs.scoring import dead_rate
from udfs.scoring.accounts import Accounting
from udfs.scoring.changes import ChangesReader
from udfs.scoring.checker import RecordChecker
from udfs.scoring.latency import BUCKETS
from udfs.scoring.outcomes import PREDICTED, Outcomes
from udfs.scoring.params import ChangesParams, LabelParams, PackParams, ScoreParams, SourceParams, WarmParams
from udfs.scoring.recheck import checked_columns
from udfs.scoring.rows import (
    LABELS,
    QUALITY_LABELS,
    READ_LABEL,
    SHARDS,
    OutcomeColumn,
    checked_row,
    on_first_row,
    scored_row,
)
from udfs.scoring.scorer import Batch, Scorer
from udfs.scoring.sealing import Sealing
from udfs.scoring.warm_up import WarmReader
from udfs.times import Milliseconds
from udfs.types import ARROW, ColumnType
from udfs.windows.blobs import RECORD, pack, row_schema

Columns = tuple[tuple[str, ColumnType], ...]
# The columns of a ROW, by name.
Given = dict[str, Any]
_NO_TIME = -(2**63)

COUNTERS = (
    "predicted",
    "dead",
    "late",
    "dead_decode",
    "dead_contract",
    "dead_feature",
    "dead_inference",
    "unexpected",
    "batches",
    "lookup_misses",
    "lookup_reload_failures",
    "table_changes",
    "table_late",
    "table_rejected",
    "explain_failures",
    "model_ms",
    "model_loads",
    "model_load_ms",
    "worker_ms",
)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Published:
    """Publishes counts as Flink counters, all from the first batch on: rates need a 0 to begin with.

    The worker's memory is a gauge, as OpenTelemetry's reporter leaves out what a counter goes down by.
    """

    def __init__(self, group: Any) -> None:
        group = group.add_group("tailrace")
        self._counters = {name: group.counter(name) for name in COUNTERS}
        group.gauge("worker_bytes", resident_bytes)
        latency = group.add_group("latency")
        for name, bound in BUCKETS.items():
            self._counters[name] = latency.add_group("le", bound).counter("bucket")
        self._published: Counter[str] = Counter()
        self._first = True
        self._worker_ns = 0

    def publish(self, counts: Mapping[str, int], started: int) -> None:
        """`counts` are running totals; `started` is the time.perf_counter_ns() at which the batch came."""
        self._worker_ns += time.perf_counter_ns() - started
        totals = {**counts, "worker_ms": self._worker_ns // 1_000_000}
        for name, counter in self._counters.items():
            total = totals.get(name, 0)
            if self._first or total != self._published[name]:
                counter.inc(total - self._published[name])
                self._published[name] = total
        self._first = False


def resident_bytes() -> int:
    """Memory of this process as the kernel counts it; 0 where it does not say (not Linux)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


class _Vectorized(ScalarFunction):  # type: ignore[misc]
    """One that takes Arrow arrays of all rows of a batch."""

    def open(self, _function_context: FunctionContext) -> None:
        prepare_worker()
        hand_over_arrow()


class _Counting(_Vectorized):
    """One that publishes what it counts."""

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self.publish = Published(function_context.get_metric_group()).publish


class PackFunction(_Counting):
    """(value, event time, late, the rest of a record, beside…) → ROW(_kind, _problem, _shards).

    The first row of a batch has the blobs of all its valid records, by Flink's key of their shard.
    """

    def __init__(self, params: PackParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._checker = RecordChecker(self._params.source, self._params.conditions)
        self._limit = dead_rate.limit_of(self._params.source)
        self._accounting = _accounting(self._params.source, windowed=True)
        self._schema = row_schema(checked_columns(self._params))
        self._sealing = Sealing(self._params.source.privacy, self._params.source.topic)

    def eval(
        self,
        value: pa.Array,
        event_time: pa.Array,
        late: pa.Array,
        *others: pa.Array,
    ) -> Given:
        started = time.perf_counter_ns()
        times = _milliseconds(event_time)
        count = len(others) - len(self._params.source.parts)
        record, beside = others[:count], [Raws(part) for part in others[count:]]
        outcomes, table = self._checker.extract(Raws(value), times, _flags(late, len(value)), beside)
        dead_rate.check(self._limit, outcomes)
        outcomes = self._with_account(self._with_envelopes(outcomes, (value, *record)), record)
        frame = _columns(checked_row(self._params.source), outcomes)
        frame[SHARDS.name] = self._packed(outcomes, table, (value, *record), times)
        self.publish(self._checker.counts, started)
        return frame

    def _with_envelopes(self, outcomes: Outcomes, record: tuple[pa.Array, ...]) -> Outcomes:
        if not self._params.source.privacy.seals:
            return outcomes
        *whole, _timestamp = record
        return replace(outcomes, sealed=self._sealing.sealed(outcomes.kind, whole))

    def _with_account(self, outcomes: Outcomes, record: tuple[pa.Array, ...]) -> Outcomes:
        *_, partition, offset, _timestamp = record
        return _with_account(self._accounting, outcomes, partition, offset)

    def _packed(
        self, outcomes: Outcomes, table: pa.Table, record: tuple[pa.Array, ...], times: Milliseconds
    ) -> npt.NDArray[np.object_]:
        value, key, names, values, partition, offset, timestamp = record
        columns = (key, value, names, values, partition, offset, _milliseconds(timestamp), times)
        arrays = [
            column.cast(kind) if isinstance(column, pa.Array) else pa.array(column, type=kind)
            for column, (_, kind) in zip(columns, RECORD, strict=True)
        ]
        rows = pa.Table.from_arrays([*table.columns, *arrays], schema=self._schema)
        valid = outcomes.kind == PREDICTED
        if not valid.all():
            rows = rows.filter(pa.array(valid))
        packed = np.full(len(times), None, dtype=object)
        packed[0] = list(pack(rows, self._params.by, self._params.shard_keys)) or None
        return packed


class ChangesFunction(_Counting):
    """(value, event time, key, partition, offset) → ROW(_shards): the changes of a table, by their shards."""

    def __init__(self, params: ChangesParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._reader = ChangesReader(self._params)

    def eval(
        self, value: pa.Array, event_time: pa.Array, key: pa.Array, partition: pa.Array, offset: pa.Array
    ) -> Given:
        started = time.perf_counter_ns()
        places = partition.cast(pa.int64()).to_numpy(), offset.to_numpy()
        shards = np.full(len(value), None, dtype=object)
        read = self._reader.read(list(Raws(value)), list(Raws(key)), _milliseconds(event_time), places)
        shards[0] = read or None
        self.publish(self._reader.counts, started)
        return {SHARDS.name: shards}


class WarmFunction(_Vectorized):
    """(value, event time, late, partition, offset, beside…) → ROW(_shards): rows that fill windows."""

    def __init__(self, params: WarmParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._reader = WarmReader(self._params)

    def eval(
        self,
        value: pa.Array,
        event_time: pa.Array,
        late: pa.Array,
        partition: pa.Array,
        offset: pa.Array,
        *others: pa.Array,
    ) -> Given:
        shards = np.full(len(value), None, dtype=object)
        flags, beside = _flags(late, len(value)), [Raws(part) for part in others]
        read = self._reader.read(Raws(value), _milliseconds(event_time), flags, beside, (partition, offset))
        shards[0] = read or None
        return {SHARDS.name: shards}


class ScoreFunction(_Counting):
    """(value, event time, late, partition, offset, timestamp, columns…) → ROW(_kind, _prediction, …).

    Then come key and headers that have columns; where privacy asks for them, key, header names and header
    values come last.
    """

    def __init__(self, params: ScoreParams, windows: Columns = ()) -> None:
        self._params = params
        self._windows = windows

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._scorer = Scorer(self._params)
        self._limit = dead_rate.limit_of(self._params.source)
        self._accounting = _accounting(self._params.source)
        source = self._params.source
        self._sealing, self._treating = Sealing(source.privacy, source.topic), Treating(source.privacy)

    def close(self) -> None:
        self._scorer.close()

    def eval(
        self,
        value: pa.Array,
        event_time: pa.Array,
        late: pa.Array | bool,
        partition: pa.Array,
        offset: pa.Array,
        timestamp: pa.Array,
        *others: pa.Array,
    ) -> Given:
        started = time.perf_counter_ns()
        columns = others[: len(self._windows)]
        rest = len(columns) + len(self._params.source.parts)
        batch = Batch(
            Raws(value),
            _milliseconds(event_time),
            _flags(late, len(value)),
            partition.cast(pa.int64()).to_numpy(),
            offset.to_numpy(),
            _milliseconds(timestamp),
            _typed(self._windows, columns),
            [Raws(part) for part in others[len(columns) : rest]],
        )
        record = (value, *others[rest:], partition, offset)
        scored = self._scorer.score(batch)
        dead_rate.check(self._limit, scored)
        outcomes = _with_account(self._accounting, self._private(scored, record), partition, offset)
        frame = _columns(scored_row(self._params), outcomes)
        self.publish(self._scorer.counts, started)
        return frame

    def _private(self, outcomes: Outcomes, record: tuple[pa.Array, ...]) -> Outcomes:
        """With keys and whole records as privacy asks for them."""
        privacy = self._params.source.privacy
        if privacy.seals:
            outcomes = replace(outcomes, sealed=self._sealing.sealed(outcomes.kind, record))
        if privacy.key:
            _, key, *_ = record
            keys = np.array(self._treating.keys(key.to_pylist()), dtype=object)
            outcomes = replace(outcomes, key=keys)
        return outcomes


class LabelFunction(_Vectorized):
    """(value, event time, late) → ROW(_label_key, _label, _labels): records with labels, and their counts."""

    def __init__(self, params: LabelParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._reader = LabelReader(self._params.key, self._params.field, self._params.window_ms)

    def eval(self, value: pa.Array, event_time: pa.Array, late: pa.Array) -> Given:
        rows = len(value)
        read = self._reader.read(list(Raws(value)), _milliseconds(event_time), _flags(late, rows))
        columns = (read.keys, read.labels, on_first_row(read.report, rows))
        names = (column.name for column in READ_LABEL)
        return dict(zip(names, columns, strict=True))


class LabelledFunction(_Vectorized):
    """(told, label, first, times of label and record) → ROW(_labels, …) on one row: how right it was."""

    def __init__(self, params: LabelParams, columns: Columns = ()) -> None:
        self._params = params

    def eval(
        self, told: pa.Array, label: pa.Array, first: pa.Array, event_time: pa.Array, told_at: pa.Array
    ) -> Given:
        params, rows = self._params, len(told)
        records, labels, flags = told.to_pylist(), label.to_pylist(), _flags(first, rows)
        times = _milliseconds(event_time)
        reports: dict[str, bytes | None] = {}
        if params.compared:
            reports[LABELS.name] = count_labels(records, labels, flags, times, params.window_ms)
        if params.quality and params.wait:
            reports[QUALITY_LABELS.name] = count_quality(
                records, labels, flags, _milliseconds(told_at), times, params.quality, params.wait
            )
        return {name: on_first_row(report, rows) for name, report in reports.items()}


def _accounting(source: SourceParams, *, windowed: bool = False) -> Accounting | None:
    return Accounting(source.accounts_of, source.topic, windowed=windowed) if source.accounts_of else None


def _with_account(
    accounting: Accounting | None, outcomes: Outcomes, partition: pa.Array, offset: pa.Array
) -> Outcomes:
    if accounting is None or not len(outcomes.kind):
        return outcomes
    places = partition.cast(pa.int64()).to_numpy(), offset.to_numpy()
    return replace(outcomes, account=accounting.of(*places, outcomes.kind))


def _columns(row: Iterable[OutcomeColumn], outcomes: Outcomes) -> Given:
    return {column.name: column.values(outcomes) for column in row}


def _milliseconds(times: pa.Array) -> Milliseconds:
    values: Milliseconds = times.cast(pa.timestamp("ms")).cast(pa.int64()).fill_null(_NO_TIME).to_numpy()
    return values


def _flags(values: pa.Array | bool, rows: int) -> npt.NDArray[np.bool_]:
    """Flags per row; Flink passes a constant as a plain value."""
    if isinstance(values, bool):
        return np.full(rows, values, dtype=np.bool_)
    flags: npt.NDArray[np.bool_] = values.fill_null(False).to_numpy(zero_copy_only=False)
    return flags


def _typed(columns: Columns, values: tuple[pa.Array, ...]) -> dict[str, pa.Array]:
    return {name: array.cast(ARROW[kind]) for (name, kind), array in zip(columns, values, strict=True)}
