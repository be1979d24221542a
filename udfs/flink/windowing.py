"""Runs windows in Flink's keyed state: one function for each key that windows are by, the last one scores."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.flink.functions import Published
from udfs.flink.results import BYTES
from udfs.flink.state import commit_together
from udfs.flink.worker import prepare_worker
from udfs.isolate import isolate
from udfs.profile.batch_profiler import NO_VERSION, BatchProfiler
from udfs.records.personal import Treating
from udfs.records.problems import Problem, unexpected
from udfs.scoring import dead_rate
from udfs.scoring.outcomes import (
    DEAD,
    LABEL_KEPT,
    LATE,
    PREDICTED,
    PROFILE_REPORT,
    QUALITY_REPORT,
    ROLLOUT_REPORT,
    SHADOW_LINES,
    Outcomes,
    decoded_problem,
    problem_json,
)
from udfs.scoring.params import PackParams, ScoreParams
from udfs.scoring.recheck import Rechecker
from udfs.scoring.rows import RECORD_KEY
from udfs.scoring.scorer import RowBatch, Scorer, WindowedBatch
from udfs.scoring.sealing import Sealing
from udfs.scoring.tallies import count_problem
from udfs.types import ARROW
from udfs.windows.blobs import RECORD_NAMES, TIME, pack, times_of
from udfs.windows.kept import ShardState
from udfs.windows.params import StageParams
from udfs.windows.stage import GroupStage, SlidingStage, Stage
from udfs.windows.table_stage import TableStage
from udfs.windows.window_rows import (
    WINDOW_PROBLEM,
    as_records,
    last_moments,
    problems_of_windows,
    with_problems,
)
from udfs.windows.windowed import Windowed

# Flink takes arrays apart in a time that grows faster than their length.
ARRAY_ROWS = 64
# How often the wall clock looks at shards whose rows wait.
LOOK_MS = 60_000
# The number in the map of kept rows under which the time is up to which rows were released.
UNTIL = -(2**63)
ARRAY = Types.OBJECT_ARRAY(BYTES)
OUTCOME_COLUMNS = {
    "_kind": Types.INT(),
    # Predictions, or what shadows say: the keys and values of many records.
    "_keys": ARRAY,
    "_values": ARRAY,
    # Headers of the records of predictions: as many for each as the job passes on, null where there is none.
    "_passed": ARRAY,
    # One record that is dead or late, with its problem and coordinates; or, in _value, a report on a batch.
    "_key": BYTES,
    "_value": BYTES,
    "_headers": Types.MAP(Types.STRING(), BYTES),
    "_partition": Types.INT(),
    "_offset": Types.LONG(),
    "_timestamp": Types.LONG(),
    "_time": Types.LONG(),
    "_problem": Types.STRING(),
    "_label_key": Types.STRING(),
}
OUTCOME = Types.ROW_NAMED(list(OUTCOME_COLUMNS), list(OUTCOME_COLUMNS.values()))
# Rows of arrays have none of the columns that follow.
_OF_ONE_RECORD = (None,) * (len(OUTCOME_COLUMNS) - 4)
Headers = npt.NDArray[np.object_]
SHARD_ROW = Types.ROW([Types.INT(), BYTES])
TO_SIDE = OutputTag("rejected", OUTCOME)


class _Blobs:
    """Map state of blobs, numbered from 0 on or down from -1, but for UNTIL."""

    def __init__(self, context: RuntimeContext, name: str) -> None:
        self.state = context.get_map_state(MapStateDescriptor(name, Types.LONG(), BYTES))
        self.get, self.put, self.remove = self.state.get, self.state.put, self.state.remove

    def items(self) -> Iterator[tuple[int, bytes]]:
        return ((number, blob) for number, blob in self.state.items() if number != UNTIL)


class _Until:
    """The time in the map of kept rows: each state that changes is sent and answered on its own.

    Versions before had a state for it, which is read where the map has no time yet.
    """

    def __init__(self, kept: _Blobs, before: Any) -> None:
        self._kept, self._before = kept.state, before

    def value(self) -> int | None:
        written = self._kept.get(UNTIL)
        if written is not None:
            return int.from_bytes(bytes(written), "big", signed=True)
        found: int | None = self._before.value()
        return found

    def update(self, until: int) -> None:
        self._kept.put(UNTIL, until.to_bytes(8, "big", signed=True))


class _StageFunction(KeyedProcessFunction):  # type: ignore[misc]
    """Takes blobs of one shard each; gives on what the watermark has passed, with the results of windows."""

    def __init__(self, params: StageParams, first: PackParams | None) -> None:
        self._stage_params, self._first = params, first

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        commit_together()
        self._published = Published(runtime_context.get_metrics_group())
        self._stage = self.make_stage(self._stage_params)
        self._looks: dict[int, int] = {}
        kept = _Blobs(runtime_context, "kept")
        self._state = ShardState(
            _Blobs(runtime_context, "pending"),
            kept,
            _Until(kept, runtime_context.get_state(ValueStateDescriptor("until", Types.LONG()))),
            runtime_context.get_state(ValueStateDescriptor("contract", BYTES)),
        )

    def make_stage(self, params: StageParams) -> Stage[Any]:
        """Windows that are scored themselves, a table, or windows over events."""
        recheck = Rechecker(self._first) if self._first else None
        if params.group:
            return GroupStage(params, params.group)
        if params.table:
            return TableStage(params, params.table, recheck)
        return SlidingStage(params, recheck)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        timers, key = ctx.timer_service(), ctx.get_current_key()
        blob = bytes(value)
        late, timer = self._stage.receive(key, self._state, blob, timers.current_watermark())
        self._set_timers(key, timer, timers)
        yield from self._dead_since_the_restart()
        if late is not None:
            yield from self.late(pa.Table.from_batches([late]))

    def on_timer(self, _timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        timers, key = ctx.timer_service(), ctx.get_current_key()
        if ctx.time_domain() == TimeDomain.PROCESSING_TIME:
            self._set_timers(key, self._stage.look(key, self._state), timers)
            yield from self._dead_since_the_restart()
            return
        watermark = timers.current_watermark()
        self._set_timers(key, self._stage.fire(key, self._state, watermark), timers)
        yield from self._dead_since_the_restart()
        if self._stage.is_complete(watermark) and (windowed := self._stage.take(watermark)):
            yield from self.windowed(windowed)

    def _set_timers(self, key: int, timer: int | None, timers: Any) -> None:
        """A shard whose rows wait is looked at by the wall clock, too.

        A watermark that waits for the end of a bundle fires its timers when a checkpoint ends that bundle:
        the checkpoint has neither these timers nor what they did.
        """
        if timer is not None:
            timers.register_event_time_timer(timer)
        now = timers.current_processing_time()
        if self._stage.waits(key) and self._looks.get(key, 0) <= now:
            self._looks[key] = (now // LOOK_MS + 1) * LOOK_MS
            timers.register_processing_time_timer(self._looks[key])

    def _publish(self, counts: Counter[str], started: int) -> None:
        """With what the stage counts itself."""
        self._published.publish(counts + Counter(self._stage.counts()), started)

    def _dead_since_the_restart(self) -> Iterator[Any]:
        for _, rows, problems in self._stage.take_dead():
            yield from self.dead(rows, problems)

    @abstractmethod
    def dead(self, rows: pa.Table, problems: npt.NDArray[np.object_]) -> Iterator[Any]:
        """What becomes of records that waited for a job that accepted them."""

    @abstractmethod
    def late(self, rows: pa.Table) -> Iterator[Any]:
        """What becomes of records that came too late."""

    @abstractmethod
    def windowed(self, windowed: Windowed) -> Iterator[Any]:
        """What becomes of records with the results of their windows."""


class ScoringStage(_StageFunction):
    """The last stage: blobs → OUTCOME. `first` is given to the stage that no other goes before."""

    def __init__(self, params: StageParams, score: ScoreParams, first: PackParams | None = None) -> None:
        super().__init__(params, first)
        self._params = score

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._scorer = Scorer(self._params)
        self._limit = dead_rate.limit_of(self._params.source)
        source = self._params.source
        self._sealing, self._treating = Sealing(source.privacy, source.topic), Treating(source.privacy)

    def close(self) -> None:
        self._scorer.close()

    def dead(self, rows: pa.Table, problems: npt.NDArray[np.object_]) -> Iterator[Row]:
        profile = self._scorer.count_dead(map(decoded_problem, problems), times_of(rows))
        yield from _rejected(DEAD, rows, problems, self._sealing)
        if profile:
            yield _row(PROFILE_REPORT, _value=profile)
        self._publish(self._scorer.counts, time.perf_counter_ns())

    def late(self, rows: pa.Table) -> Iterator[Row]:
        profile = self._scorer.count_late(times_of(rows))
        yield from _rejected(LATE, rows, np.full(rows.num_rows, None, dtype=object), self._sealing)
        if profile:
            yield _row(PROFILE_REPORT, _value=profile)
        self._publish(self._scorer.counts, time.perf_counter_ns())

    def windowed(self, windowed: Windowed) -> Iterator[Row]:
        started = time.perf_counter_ns()
        rows = windowed.rows
        batch = WindowedBatch(
            self._scored_columns(rows),
            times_of(rows),
            rows.column("_timestamp").to_numpy(),
            windowed.problems,
        )
        outcomes = self._scorer.score_windowed(batch)
        dead_rate.check(self._limit, outcomes)
        yield from self._outcome_rows(rows, outcomes)
        self._publish(self._scorer.counts, started)

    def _outcome_rows(self, rows: pa.Table, outcomes: Outcomes) -> Iterator[Row]:
        keys = self._safe_keys(rows.column("_key"))
        passed = _passed(rows, self._params.output.headers)
        yield from _arrays(PREDICTED, keys, outcomes.prediction, outcomes.kind == PREDICTED, passed)
        yield from _arrays(SHADOW_LINES, keys, outcomes.shadow, _present(outcomes.shadow))
        dead = np.flatnonzero(outcomes.kind == DEAD)
        if len(dead):
            yield from _rejected(DEAD, rows.take(pa.array(dead)), outcomes.problem[dead], self._sealing)
        yield from _reports(outcomes)
        if outcomes.told is not None and outcomes.label_key is not None:
            for i in np.flatnonzero(_present(outcomes.told)).tolist():
                at = rows.column(TIME)[i].as_py()
                yield _row(LABEL_KEPT, _value=outcomes.told[i], _label_key=outcomes.label_key[i], _time=at)

    def _safe_keys(self, keys: Any) -> Any:
        """The keys of n predictions as privacy wants them."""
        if self._params.source.privacy.key is None:
            return keys
        return pa.array(self._treating.keys(keys.to_pylist()), pa.binary())

    def _scored_columns(self, rows: pa.Table) -> pa.Table:
        table = rows.drop_columns(list(RECORD_NAMES))
        table = table.append_column("event_time", rows.column(TIME).cast(ARROW["timestamp"]))
        table = table.append_column("_partition", rows.column("_partition").cast(pa.int64()))
        table = table.append_column("_offset", rows.column("_offset"))
        if self._params.drift and self._params.drift.keys == RECORD_KEY:
            table = table.append_column(RECORD_KEY, _as_text(rows.column("_key")))
        return table


class WindowScoringStage(ScoringStage):
    """Of windows that are scored themselves: blobs → OUTCOME."""

    def windowed(self, windowed: Windowed) -> Iterator[Row]:
        yield from self.scored(*windowed, self._stage_params.by)

    def scored(self, rows: pa.Table, problems: dict[int, Problem], by: Sequence[str]) -> Iterator[Row]:
        """The outcomes of windows by this key."""
        started = time.perf_counter_ns()
        columns = {name: rows.column(name).combine_chunks() for name in rows.column_names}
        outcomes = self._scorer.score_rows(RowBatch(last_moments(rows), columns, problems))
        dead_rate.check(self._limit, outcomes)
        own_keys = window_keys([columns[name] for name in by])
        keys = self._safe_keys(own_keys)
        yield from _arrays(PREDICTED, keys, outcomes.prediction, outcomes.kind == PREDICTED)
        yield from _arrays(SHADOW_LINES, keys, outcomes.shadow, _present(outcomes.shadow))
        for i in np.flatnonzero(outcomes.kind == DEAD).tolist():
            row = {"_key": own_keys[i].as_py(), "_value": outcomes.prediction[i]}
            yield _row(DEAD, _problem=outcomes.problem[i], **self._sealing.row(DEAD, row))
        yield from _reports(outcomes)
        self._publish(self._scorer.counts, started)


class _TableOfWindows(_StageFunction):
    """Joins a table to windows. They have no other outcome: one that comes late is scored, too."""

    def make_stage(self, params: StageParams) -> Stage[Any]:
        assert params.table is not None
        return TableStage(params, params.table, joins_late=True)

    def late(self, rows: pa.Table) -> Iterator[Any]:
        yield from self.windowed(Windowed(rows, {}))


class JoinedWindowScoringStage(_TableOfWindows, WindowScoringStage):
    """Of windows that are scored themselves, by `by`, after a last table is joined: blobs → OUTCOME."""

    def __init__(self, params: StageParams, score: ScoreParams, by: Sequence[str]) -> None:
        super().__init__(params, score)
        self._by = by

    def windowed(self, windowed: Windowed) -> Iterator[Row]:
        rows, problems = windowed
        problems = {**problems, **problems_of_windows(rows)}
        yield from self.scored(rows.drop_columns([*RECORD_NAMES, WINDOW_PROBLEM]), problems, self._by)


class ReshardingStage(_StageFunction):
    """One that others follow: blobs → (shard of the next key, blob), and OUTCOME at the side."""

    def __init__(self, params: StageParams, following: PackParams, first: PackParams | None = None) -> None:
        super().__init__(params, first)
        self._following = following

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        counted = self._following.source.counted
        self._watch = BatchProfiler(counted, None, NO_VERSION) if counted else None
        source = self._following.source
        self._sealing = Sealing(source.privacy, source.topic)
        self._counts: Counter[str] = Counter()

    def late(self, rows: pa.Table) -> Iterator[Any]:
        if self._watch:
            self._watch.late(times_of(rows))
        self._counts["late"] += rows.num_rows
        nothing = np.full(rows.num_rows, None, dtype=object)
        yield from self._at_the_side(_rejected(LATE, rows, nothing, self._sealing))

    def windowed(self, windowed: Windowed) -> Iterator[Any]:
        rows, problems = windowed
        yield from self._dead_of(rows, problems)
        if problems:
            rows = rows.take(pa.array(np.delete(np.arange(rows.num_rows), list(problems))))
        spans, failures = isolate(self._packed, _with_record_last(rows))
        yield from self._dead_of(rows, {row: unexpected("feature", error) for row, error in failures.items()})
        for _, _, packed in spans:
            for key, blob in packed:
                yield Row(key, blob)

    def _packed(self, rows: pa.Table) -> list[tuple[int, bytes]]:
        return list(pack(rows, self._following.by, self._following.shard_keys))

    def _dead_of(self, rows: pa.Table, problems: dict[int, Problem]) -> Iterator[Any]:
        if problems:
            told = np.array([problem_json(problem) for problem in problems.values()], dtype=object)
            yield from self.dead(rows.take(pa.array(list(problems))), told)

    def dead(self, rows: pa.Table, problems: npt.NDArray[np.object_]) -> Iterator[Any]:
        for problem, event_time in zip(map(decoded_problem, problems), times_of(rows).tolist(), strict=True):
            self._counts["dead"] += 1
            count_problem(self._counts, problem, event_time, self._watch)
        yield from self._at_the_side(_rejected(DEAD, rows, problems, self._sealing))

    def _at_the_side(self, rejected: Iterator[Row]) -> Iterator[Any]:
        for row in rejected:
            yield TO_SIDE, row
        if self._watch and (profile := self._watch.take()):
            yield TO_SIDE, _row(PROFILE_REPORT, _value=profile)
        self._publish(self._counts, time.perf_counter_ns())


class WindowReshardingStage(ReshardingStage):
    """Windows that are scored after tables are joined: blobs of records → blobs of windows."""

    def windowed(self, windowed: Windowed) -> Iterator[Any]:
        rows, problems = windowed
        keys = window_keys([rows.column(name).combine_chunks() for name in self._stage_params.by])
        yield from super().windowed(Windowed(as_records(rows, keys, problems), {}))


class JoinedWindowReshardingStage(_TableOfWindows, ReshardingStage):
    """Windows that another table is joined to after this one. What is wrong with them goes on with them."""

    def windowed(self, windowed: Windowed) -> Iterator[Any]:
        yield from super().windowed(Windowed(with_problems(*windowed), {}))


def _with_record_last(rows: pa.Table) -> pa.Table:
    others = [name for name in rows.column_names if name not in RECORD_NAMES]
    return rows.select([*others, *RECORD_NAMES])


def _reports(outcomes: Outcomes) -> Iterator[Row]:
    if outcomes.profile:
        yield _row(PROFILE_REPORT, _value=outcomes.profile)
    if outcomes.rollout:
        yield _row(ROLLOUT_REPORT, _value=outcomes.rollout)
    if outcomes.quality:
        yield _row(QUALITY_REPORT, _value=outcomes.quality)


def window_keys(columns: Sequence[pa.Array]) -> pa.Array:
    """The keys of predictions of n windows: the value of one column as text, or a JSON array of several."""
    if len(columns) == 1:
        return columns[0].cast(pa.string()).cast(pa.binary())
    values = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array([msgspec.json.encode(key) for key in values], pa.binary())


def _present(values: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    return np.array([value is not None for value in values], dtype=np.bool_)


def _passed(rows: pa.Table, headers: Sequence[str]) -> Headers | None:
    """The last values of these headers for each of n rows, shape (n, headers)."""
    if not headers:
        return None
    found = np.full((rows.num_rows, len(headers)), None, dtype=object)
    names, values = (rows.column(name).to_pylist() for name in ("_header_names", "_header_values"))
    for row, (named, held) in enumerate(zip(names, values, strict=True)):
        if named:
            of_row = dict(zip(named, held, strict=True))
            found[row] = [of_row.get(name) for name in headers]
    return found


def _arrays(
    kind: int, keys: pa.ChunkedArray, values: Any, chosen: Any, passed: Headers | None = None
) -> Iterator[Row]:
    if not chosen.all():
        keys, values = keys.filter(pa.array(chosen)), values[chosen]
        passed = passed if passed is None else passed[chosen]
    # At once: as_py of each would take longer than all of the encoding that follows.
    listed, lines = keys.to_numpy(zero_copy_only=False).tolist(), values.tolist()
    for start in range(0, len(lines), ARRAY_ROWS):
        stop = start + ARRAY_ROWS
        given = None if passed is None else passed[start:stop].ravel().tolist()
        yield Row(kind, listed[start:stop], lines[start:stop], given, *_OF_ONE_RECORD)


def _rejected(kind: int, rows: pa.Table, problems: Any, sealing: Sealing) -> Iterator[Row]:
    """Whole records, each on its own."""
    for record, problem in zip(rows.select(list(RECORD_NAMES)).to_pylist(), problems.tolist(), strict=True):
        names, values = record.pop("_header_names"), record.pop("_header_values")
        headers = dict(zip(names, values, strict=True)) if names else None
        yield _row(kind, **sealing.row(kind, record | {"_headers": headers}), _problem=problem)


def _row(kind: int, **columns: Any) -> Row:
    return Row(kind, *(columns.get(name) for name in list(OUTCOME_COLUMNS)[1:]))


def _as_text(keys: pa.ChunkedArray) -> pa.Array:
    """Bytes as Latin text, which any bytes are."""
    return pa.array(
        [None if key is None else key.decode("iso-8859-1") for key in keys.to_pylist()], type=pa.string()
    )
