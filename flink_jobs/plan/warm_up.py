"""Has a job that goes on from a savepoint read its source once more, to fill windows that the state does not.

A second, bounded reader of the topic begins before the savepoint's place. What it reads goes to the windows
alone, which take what they lack, and nowhere else: the records have their outcomes. Records that wait are
released when the watermarks of both readers have passed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from flink_jobs.plan import Plan, sql
from flink_jobs.plan.state import WARM_UP, kept_by, windows_by
from flink_jobs.plan.tables import source_read_again
from flink_jobs.plan.views import EVENT_TIME, Function, beside, types
from flink_jobs.plan.window_stages import OUTCOMES, WindowStages, shards_of
from flink_jobs.spec import JobSpec
from udfs.scoring.params import WarmParams
from udfs.scoring.rows import SHARDS
from udfs.windows.params import StageParams

# No record has an event time so early.
FROM_THE_FIRST = 0


def warmed_windows(plan: Plan) -> WindowStages | None:
    """The stages of windows over events, if there are any."""
    stages = plan.views.views.get(OUTCOMES)
    if isinstance(stages, WindowStages) and any(stage.windows for stage in stages.stages):
        return stages
    return None


def longest(plan: Plan) -> int:
    """The length of the longest window over events, in ms; 0 if there is none."""
    stages = plan.views.views.get(OUTCOMES)
    if not isinstance(stages, WindowStages):
        return 0
    return max((window.over_ms for stage in stages.stages for window in stage.windows), default=0)


def active_since(newest: Mapping[int, int], job: JobSpec, over: int) -> int | None:
    """The event time that windows need rows from; `newest` are partitions' newest event times that were read.

    None without any. A partition that is far behind the others was idle: the watermark has not waited for it.
    """
    if not newest:
        return None
    when = job.source.event_time
    last = max(newest.values())
    slowest = min(time for time in newest.values() if time >= last - over - when.out_of_order - when.idle)
    return slowest - when.out_of_order - over - 1


def first_timestamp(job: JobSpec, since: int) -> int:
    """No record before this Kafka timestamp has an event time of `since` or later."""
    when = job.source.event_time
    return max(0, since - (when.max_ahead if when.field or when.header else 0))


def covered_since(job: JobSpec, since: int, first: Mapping[int, int]) -> int:
    """What is whole where partitions have no more records before `first`, Kafka timestamps."""
    own = job.source.event_time
    ahead = own.max_ahead if own.field or own.header else 0
    return max([since, *(time + ahead + 1 for time in first.values())])


def with_warm_up(
    plan: Plan, since: int, start: int, ends: Mapping[int, int], number: int | None = None
) -> Plan:
    """The plan that reads records of event time `since` and later once more: from this timestamp to `ends`.

    These are offsets by partition. No record before the timestamp is of that event time. `number` tells this
    reading from earlier ones in the same state; by default `since` does.
    """
    stages = warmed_windows(plan)
    assert stages is not None
    reading = since if number is None else number
    name = f"{WARM_UP}{reading}"
    views: dict[str, str | WindowStages] = {f"{name}_records": sql.with_lateness(name)}
    functions, changes, made = dict(plan.views.functions), dict(stages.changes), []
    for number, stage in enumerate(stages.stages):
        if not stage.windows:
            made.append(stage)
            continue
        call = f"{name}_{number}"
        functions[call] = _function(stages, stage)
        arguments = "".join(f", {each}" for each in beside(stages.score))
        views[f"{call}_rows"] = (
            f"SELECT {call}(_value, {EVENT_TIME}, _late, _partition, _offset{arguments}) AS _result\n"
            f"FROM {name}_records"
        )
        changes[windows_by(stage)] = shards_of(f"{call}_rows")
        made.append(msgspec.structs.replace(stage, warm_from=since, warm_number=reading))
    warmed = replace(stages, stages=tuple(made), changes=changes)
    views = {**{n: v for n, v in plan.views.views.items() if n != OUTCOMES}, **views, OUTCOMES: warmed}
    return replace(
        plan,
        tables=(*plan.tables, source_read_again(plan.job, name, start, ends)),
        views=replace(plan.views, views=views, functions=functions),
    )


def _function(stages: WindowStages, stage: StageParams) -> Function:
    pack = msgspec.structs.replace(stages.pack, by=stage.by)
    return Function("WarmFunction", WarmParams(pack, kept_by(stage)), (), types((SHARDS,)))
