"""The vectorized UDFs that Flink's Python workers run: thin shells around `udfs.scoring.scorer`.

Each holds plain data until `open()`, because Flink pickles it at submission.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyflink.table.udf import FunctionContext, ScalarFunction

from udfs.flink.worker import prepare_worker
from udfs.quality.labelled import count_quality
from udfs.rollout.labels import LabelReader, count_labels
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import PREDICTED, Outcomes
from udfs.scoring.params import LabelParams, PackParams, ScoreParams
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
from udfs.times import Milliseconds
from udfs.types import ARROW, ColumnType
from udfs.windows.blobs import RECORD, pack, row_schema

Columns = tuple[tuple[str, ColumnType], ...]

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
    "explain_failures",
    "model_ms",
    "worker_ms",
)


class Published:
    """Publishes counts as Flink counters, all from the first batch on: rates need a 0 to begin with."""

    def __init__(self, group: Any) -> None:
        group = group.add_group("tailrace")
        self._counters = {name: group.counter(name) for name in COUNTERS}
        self._published: Counter[str] = Counter()
        self._worker_ns = 0

    def publish(self, counts: Mapping[str, int], started: int) -> None:
        """`counts` are running totals; `started` is the time.perf_counter_ns() at which the batch came."""
        self._worker_ns += time.perf_counter_ns() - started
        totals = {**counts, "worker_ms": self._worker_ns // 1_000_000}
        for name, counter in self._counters.items():
            total = totals.get(name, 0)
            counter.inc(total - self._published[name])
            self._published[name] = total


class _Counting(ScalarFunction):  # type: ignore[misc]
    """One that publishes what it counts."""

    def open(self, function_context: FunctionContext) -> None:
        prepare_worker()
        self.publish = Published(function_context.get_metric_group()).publish


class PackFunction(_Counting):
    """(value, event time, late, and the rest of a record) → ROW(_kind, _problem, _shards).

    The first row of a batch has the blobs of all its valid records, by Flink's key of their shard.
    """

    def __init__(self, params: PackParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._checker = RecordChecker(self._params.source, self._params.conditions)
        self._schema = row_schema(checked_columns(self._params))

    def eval(
        self,
        value: pd.Series,
        event_time: pd.Series,
        late: pd.Series,
        *record: pd.Series,
    ) -> pd.DataFrame:
        started = time.perf_counter_ns()
        times = _milliseconds(event_time)
        outcomes, table = self._checker.extract(value.tolist(), times, _flags(late, len(value)))
        frame = _columns(checked_row(self._params.source), outcomes)
        frame[SHARDS.name] = self._packed(outcomes, table, (value, *record), times)
        result = pd.DataFrame(frame, copy=False)
        self.publish(self._checker.counts, started)
        return result

    def _packed(
        self, outcomes: Outcomes, table: pa.Table, record: tuple[pd.Series, ...], times: Milliseconds
    ) -> npt.NDArray[np.object_]:
        value, key, names, values, partition, offset, timestamp = record
        columns = (key, value, names, values, partition, offset, _milliseconds(timestamp), times)
        arrays = [
            pa.array(column, type=kind, from_pandas=True)
            for column, (_, kind) in zip(columns, RECORD, strict=True)
        ]
        rows = pa.Table.from_arrays([*table.columns, *arrays], schema=self._schema)
        valid = outcomes.kind == PREDICTED
        if not valid.all():
            rows = rows.filter(pa.array(valid))
        packed = np.full(len(times), None, dtype=object)
        packed[0] = list(pack(rows, self._params.by, self._params.shard_keys)) or None
        return packed


class ScoreFunction(_Counting):
    """(value, event time, late, partition, offset, timestamp, windows…) → ROW(_kind, _prediction, …)."""

    def __init__(self, params: ScoreParams, windows: Columns = ()) -> None:
        self._params = params
        self._windows = windows

    def open(self, function_context: FunctionContext) -> None:
        super().open(function_context)
        self._scorer = Scorer(self._params)

    def close(self) -> None:
        self._scorer.close()

    def eval(
        self,
        value: pd.Series,
        event_time: pd.Series,
        late: pd.Series | bool,
        partition: pd.Series,
        offset: pd.Series,
        timestamp: pd.Series,
        *windows: pd.Series,
    ) -> pd.DataFrame:
        started = time.perf_counter_ns()
        batch = Batch(
            value.tolist(),
            _milliseconds(event_time),
            _flags(late, len(value)),
            partition.to_numpy(np.int64),
            offset.to_numpy(np.int64),
            _milliseconds(timestamp),
            _to_arrow(self._windows, windows),
        )
        result = _to_frame(self._scorer.score(batch), self._params)
        self.publish(self._scorer.counts, started)
        return result


class LabelFunction(ScalarFunction):  # type: ignore[misc]
    """(value, event time, late) → ROW(_label_key, _label, _labels): records with labels, and their counts."""

    def __init__(self, params: LabelParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        prepare_worker()
        self._reader = LabelReader(self._params.key, self._params.field, self._params.window_ms)

    def eval(self, value: pd.Series, event_time: pd.Series, late: pd.Series) -> pd.DataFrame:
        rows = len(value)
        read = self._reader.read(value.tolist(), _milliseconds(event_time), _flags(late, rows))
        columns = (read.keys, read.labels, on_first_row(read.report, rows))
        names = (column.name for column in READ_LABEL)
        return pd.DataFrame(dict(zip(names, columns, strict=True)), copy=False)


class LabelledFunction(ScalarFunction):  # type: ignore[misc]
    """(told, label, first, times of label and record) → ROW(_labels, …) on one row: how right it was."""

    def __init__(self, params: LabelParams, columns: Columns = ()) -> None:
        self._params = params

    def open(self, function_context: FunctionContext) -> None:
        prepare_worker()

    def eval(
        self, told: pd.Series, label: pd.Series, first: pd.Series, event_time: pd.Series, told_at: pd.Series
    ) -> pd.DataFrame:
        params, rows = self._params, len(told)
        records, labels, flags = told.tolist(), label.tolist(), _flags(first, rows)
        times = _milliseconds(event_time)
        reports: dict[str, bytes | None] = {}
        if params.compared:
            reports[LABELS.name] = count_labels(records, labels, flags, times, params.window_ms)
        if params.quality and params.wait:
            reports[QUALITY_LABELS.name] = count_quality(
                records, labels, flags, _milliseconds(told_at), times, params.quality, params.wait
            )
        columns = {name: on_first_row(report, rows) for name, report in reports.items()}
        return pd.DataFrame(columns, copy=False)


def _to_frame(outcomes: Outcomes, params: ScoreParams) -> pd.DataFrame:
    return pd.DataFrame(_columns(scored_row(params), outcomes), copy=False)


def _columns(row: Iterable[OutcomeColumn], outcomes: Outcomes) -> dict[str, Any]:
    return {column.name: column.values(outcomes) for column in row}


def _milliseconds(times: pd.Series) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = times.to_numpy().astype("datetime64[ms]").astype(np.int64)
    return values


def _flags(values: pd.Series | bool, rows: int) -> npt.NDArray[np.bool_]:
    """Flags per row; Flink passes a constant as a plain value."""
    return np.full(rows, values, dtype=np.bool_)


def _to_arrow(columns: Columns, values: tuple[pd.Series, ...]) -> dict[str, pa.Array]:
    """Series as Arrow arrays; pandas shows the nulls of doubles as NaN, from_pandas turns them back.

    Longs beside nulls are exact as objects, which `udfs.flink.worker` sees to.
    """
    return {
        name: pa.Array.from_pandas(series, type=ARROW[kind])
        for (name, kind), series in zip(columns, values, strict=True)
    }
