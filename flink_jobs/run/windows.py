"""Puts stages of windows into a job: from a query of blobs to the view of outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pyflink.common import Types
from pyflink.datastream import DataStream
from pyflink.datastream.data_stream import KeyedStream
from pyflink.java_gateway import get_gateway
from pyflink.table import Schema

from flink_jobs.plan.state import side_of, windows_by
from flink_jobs.plan.window_stages import OUTCOMES, REJECTED, SHARD_KEYS, SHARDS_OF_WINDOWS, WindowStages
from flink_jobs.run.translation import translate_together
from udfs.flink.windowing import (
    OUTCOME,
    SHARD_ROW,
    TO_SIDE,
    JoinedWindowReshardingStage,
    JoinedWindowScoringStage,
    ReshardingStage,
    ScoringStage,
    WindowReshardingStage,
    WindowScoringStage,
)
from udfs.scoring.params import PackParams, ScoreParams
from udfs.windows.params import StageParams


def attach_windows(planned: WindowStages, tables: Any, environment: Any) -> None:
    """Makes the views REJECTED and OUTCOMES."""
    queries = [planned.blobs, planned.rejected, *planned.changes.values()]
    stream, rejected, *read = translate_together(tables, environment, tables.create_statement_set(), queries)
    changes = dict(zip(planned.changes, read, strict=True))
    tables.create_temporary_view(REJECTED, tables.from_data_stream(rejected))
    outcomes = []
    stages = planned.stages
    first: PackParams | None = planned.pack
    for stage, following in pairwise(stages):
        pack = PackParams(planned.score.source, following.by, SHARD_KEYS)
        stream = _by_shard(stream, *_changes_for(stage, changes))
        stream = stream.process(_resharding(stages, stage)(stage, pack, first), output_type=SHARD_ROW)
        stream, first = _named(stream, stage), None
        outcomes.append(stream.get_side_output(TO_SIDE).uid(side_of(stage)))
    last = stages[-1]
    scoring = _scoring(stages, planned.score, first)
    stream = _by_shard(stream, *_changes_for(last, changes)).process(scoring, output_type=OUTCOME)
    outcomes.insert(0, _named(stream, last))
    tables.create_temporary_view(
        OUTCOMES, tables.from_data_stream(outcomes[0].union(*outcomes[1:]), _with_event_time())
    )


def _resharding(stages: Sequence[StageParams], stage: StageParams) -> type[ReshardingStage]:
    """What a stage that others follow is: of records, of windows, or of windows that are made already."""
    if stage.group:
        return WindowReshardingStage
    return JoinedWindowReshardingStage if stages[0].group else ReshardingStage


def _scoring(stages: Sequence[StageParams], score: ScoreParams, first: PackParams | None) -> ScoringStage:
    """The same of the last stage."""
    last, group = stages[-1], stages[0].group
    if group and not last.group:
        return JoinedWindowScoringStage(last, score, stages[0].by)
    return (WindowScoringStage if group else ScoringStage)(last, score, first)


def _named(stream: Any, stage: StageParams) -> Any:
    name = f"windows by {', '.join(stage.by)}"
    if stage.table:
        name = f"table {stage.table.name} by {', '.join(stage.by)}"
    return stream.uid(windows_by(stage)).name(name).set_max_parallelism(SHARDS_OF_WINDOWS)


def _changes_for(stage: StageParams, changes: Mapping[str, Any]) -> list[Any]:
    """What the stage reads too: changes of its table, or rows that are read once more."""
    name = stage.table.name if stage.table else windows_by(stage)
    return [changes[name]] if name in changes else []


def _by_shard(stream: Any, *others: Any) -> Any:
    """Keyed in Java: PyFlink's own key_by would send each blob through Python only to find its shard."""
    for each in (stream, *others):
        each._j_data_stream.getTransformation().setOutputType(SHARD_ROW.get_java_type_info())
    java = (stream.union(*others) if others else stream)._j_data_stream
    selector = get_gateway().jvm.KeyByKeySelector()
    keyed = java.keyBy(selector, Types.ROW([Types.INT()]).get_java_type_info())
    return KeyedStream(keyed, SHARD_ROW, DataStream(java))


def _with_event_time() -> Any:
    """The columns of outcomes, and the event time of those that are joined with labels."""
    builder = Schema.new_builder()
    builder.column_by_expression("event_time", "TO_TIMESTAMP_LTZ(COALESCE(_time, 0), 3)")
    return builder.watermark("event_time", "SOURCE_WATERMARK()").build()
