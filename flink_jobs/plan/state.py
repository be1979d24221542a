"""Says what of a savepoint another run of a job can go on from, before Flink tries to.

A running job carries its account of its state, `JobState`; `tailrace stop` leaves it beside the savepoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from flink_jobs.plan import Runnable
from flink_jobs.plan.lookups import table_name, topic_lookups
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.plan.topics import compared_labels, labels_of
from flink_jobs.plan.window_stages import WindowStages
from flink_jobs.spec import JobSpec, Window
from flink_jobs.spec.scalars import format_duration
from udfs.windows.params import Columns, StageParams, columns_read

MONITOR, ROLLOUT, ROLLOUT_WINDOWS = "tailrace-monitor", "tailrace-rollout", "tailrace-rollout-windows"
QUALITY, QUALITY_WINDOWS = "tailrace-quality", "tailrace-quality-windows"
LABEL_JOIN, LABELS_FIRST = "tailrace-label-join", "tailrace-labels-first"
# What the tables are called that are read once more, before the event time from which on they are.
WARM_UP = "warm_up_"
_READ_AGAIN = "records that were read once more"
# The Flink option by which a job carries its account, and the file beside a savepoint.
PARAMETER, FILE = "tailrace.state", "tailrace.json"
# What --allow-empty calls records that wait in windows which are left behind.
WAITING = "waiting"

# Results that are of rows before, whatever the window's length.
_BACK = ("lag(", "time_since_last(")

Outcome = Literal["goes on", "changes", "starts empty", "is left", "refused"]


def reads(table: str) -> str:
    """The operator that reads this table."""
    return f"tailrace-from-{table}"


def writes(output: str) -> str:
    """The operator that writes this output."""
    return f"tailrace-to-{output}"


def windows_by(stage: StageParams) -> str:
    """The operator of this stage; another key or table, or windows of the other kind, are another one."""
    if stage.table:
        return f"tailrace-table-{stage.table.name}-by-{'-'.join(stage.by)}"
    return f"tailrace-{'groups' if stage.group else 'windows'}-{'-'.join(stage.by)}"


def side_of(stage: StageParams) -> str:
    """What leaves this stage at the side."""
    name = f"table-{stage.table.name}-" if stage.table else ""
    return f"tailrace-windows-side-{name}{'-'.join(stage.by)}"


class WindowState(msgspec.Struct, frozen=True):
    """A window: its kind and length as in the job file, in ms if it is a time, and its results as text."""

    kind: str
    size: int
    every: int
    select: dict[str, str]


class StageState(msgspec.Struct, frozen=True):
    """Windows or a table by one key. `columns` are those of records that wait, `kept` those that are read."""

    uid: str
    by: tuple[str, ...]
    columns: Columns
    kept: Columns
    windows: dict[str, WindowState]
    table: str = ""


class JobState(msgspec.Struct, frozen=True):
    """What a job keeps: `parts` are the other operators with state, with words for them.

    `model` is used as `use` says, from `registry`; `file` is the job file, on the machine that submitted it;
    `topic_id` is Kafka's id of the source topic, if it was asked for.
    """

    job: str
    topic: str
    parts: dict[str, str]
    stages: tuple[StageState, ...] = ()
    drained: bool = False
    version: int = 1
    model: str = ""
    use: str = ""
    registry: str = ""
    file: str = ""
    topic_id: str = ""


class Verdict(NamedTuple):
    """What becomes of one part. `names` are what --allow-empty calls it by."""

    part: str
    outcome: Outcome
    why: str = ""
    names: tuple[str, ...] = ()


def state_of(plan: Runnable, file: str = "", topic_id: str = "") -> JobState:
    """The plan's account of its state; `file` is the job file."""
    job = plan.job
    model, registry = job.masks.hide(job.model.name), job.masks.hide(str(job.model.registry))
    return JobState(
        job.job,
        job.source.topic,
        _parts(plan),
        tuple(_stages(plan)),
        model=model,
        use=str(job.model.use),
        registry=registry,
        file=file,
        topic_id=topic_id,
    )


def _parts(plan: Runnable) -> dict[str, str]:
    job = plan.job
    parts = {reads("source"): f"offsets of {job.source.topic}"}
    parts |= {writes(output.name): f"transactions of {output.name}" for output in outputs_of(job)}
    if plan.drift:
        parts[MONITOR] = "drift"
    if plan.controller:
        parts[ROLLOUT] = "comparisons"
    if plan.webhook:
        parts["tailrace-webhook"] = "alerts that wait for the webhook"
    if plan.quality:
        parts |= {QUALITY_WINDOWS: "windows of quality", QUALITY: "quality"}
    if compared_labels(job):
        parts[ROLLOUT_WINDOWS] = "windows that wait for labels"
    if labels := labels_of(job):
        parts |= {
            reads("labels"): f"offsets of {labels.topic}",
            LABEL_JOIN: "records that wait for labels",
            LABELS_FIRST: "labels of before",
        }
    again = [table.name for table in plan.tables if table.name.startswith(WARM_UP)]
    parts |= {reads(name): _READ_AGAIN for name in again}
    tables = topic_lookups(job).items()
    return parts | {reads(table_name(name)): f"offsets of {lookup.topic}" for name, lookup in tables}


def _stages(plan: Runnable) -> Iterator[StageState]:
    for view in plan.views.views.values():
        if isinstance(view, WindowStages):
            for stage in view.stages:
                yield _stage(plan.job, stage)


def _stage(job: JobSpec, stage: StageParams) -> StageState:
    if stage.table:
        types = dict(stage.columns)
        kept = (*((name, types[name]) for name in stage.by), *stage.results)
        return StageState(windows_by(stage), stage.by, stage.columns, kept, {}, stage.table.name)
    windows = {n: w for n, w in job.features.windows.items() if tuple(w.by) == stage.by}
    described = {name: _window(window) for name, window in windows.items()}
    return StageState(windows_by(stage), stage.by, stage.columns, kept_by(stage), described)


def kept_by(stage: StageParams) -> Columns:
    """The columns that windows keep of rows: those of the key, and those that they read."""
    types = dict(stage.columns)
    of = stage.windows or ((stage.group,) if stage.group else ())
    read = columns_read(a for w in of for a in w.select.values())
    return tuple((name, types[name]) for name in dict.fromkeys((*stage.by, *read)))


def _window(window: Window) -> WindowState:
    select = {name: str(aggregate) for name, aggregate in window.select.items()}
    return WindowState(window.kind, window.size, window.every or 0, select)


def judge(before: JobState, after: JobState) -> tuple[Verdict, ...]:
    """What becomes of each part of a savepoint of `before`, and of each part that is new."""
    old, new = ({stage.uid: stage for stage in state.stages} for state in (before, after))
    warm = any(map(_warms, after.parts))
    return (
        *_judged_parts(before, after),
        *(
            verdict
            for uid in {**old, **new}
            for verdict in _judged_stage(
                old.get(uid), new.get(uid), before, first=_is_first(uid, after), warm=warm
            )
        ),
    )


def _is_first(uid: str, state: JobState) -> bool:
    return bool(state.stages) and state.stages[0].uid == uid


def _judged_parts(before: JobState, after: JobState) -> Iterator[Verdict]:
    for uid in {**before.parts, **after.parts}:
        old, new = before.parts.get(uid), after.parts.get(uid)
        if _warms(uid):
            if old and not new:
                yield Verdict(old, "is left")
        elif old and new and uid.startswith(reads("")) and old != new:
            why = f"the savepoint has {old}: Flink would read that topic on"
            yield Verdict(new, "refused", why)
        elif old and new and uid == reads("source") and _made_anew(before, after):
            yield Verdict(
                new,
                "refused",
                "the topic was deleted and made anew since, and the savepoint's offsets are those of the one "
                "before: records would be left out. Begin anew, with empty windows: submit --again",
            )
        elif old and new:
            yield Verdict(new, "goes on")
        elif new:
            yield Verdict(new, "starts empty", "the savepoint has none")
        elif old:
            yield Verdict(old, "refused", "the job has none any more", (_section(uid),))


def _warms(uid: str) -> bool:
    return uid.startswith(reads(WARM_UP))


def _made_anew(before: JobState, after: JobState) -> bool:
    """Where both are known."""
    return bool(before.topic_id and after.topic_id) and before.topic_id != after.topic_id


def _section(uid: str) -> str:
    """The section of the job file that an operator is there for."""
    if uid.startswith(writes("")):
        return uid.removeprefix(writes(""))
    if uid == MONITOR:
        return "drift"
    if uid.startswith(reads("table_")):
        return uid.removeprefix(reads("table_"))
    if uid.endswith("webhook"):
        return "webhook"
    return "comparisons" if uid == ROLLOUT else "labels"


def looks_back_anew(before: JobState | None, now: JobState) -> bool:
    """Whether results look back otherwise than in the savepoint: by rows, so nobody knows how far in time.

    Of a savepoint without an account any might. Windows of a key that is new are not filled.
    """
    if before is None:
        return any(_looks_back(window) for stage in now.stages for window in stage.windows.values())
    known = {stage.uid: stage for stage in before.stages}
    return any(
        _backs_lack(known[stage.uid], stage, window)
        for stage in now.stages
        if stage.uid in known
        for window in stage.windows.values()
    )


def _looks_back(window: WindowState) -> list[str]:
    """The results that are of rows before, however old."""
    every = window.select.values()
    return [text for text in every if window.kind == "rows" or text.startswith(_BACK)]


def _backs_lack(old: StageState, new: StageState, window: WindowState) -> bool:
    """Whether the state may lack rows that the window looks back to."""
    asked, unknown = _looks_back(window), _unknown(old, new)
    if any(name in text for text in asked for name in unknown):
        return True
    if window.kind == "rows":
        return window.size > max((w.size for w in old.windows.values() if w.kind == "rows"), default=0)
    known = {text for w in old.windows.values() for text in _looks_back(w)}
    return any(text not in known for text in asked)


def _unknown(old: StageState, new: StageState) -> list[str]:
    """The columns that are not kept of records of before."""
    was = dict(old.kept)
    return [name for name, kind in new.kept if was.get(name) != kind]


def _judged_stage(
    old: StageState | None, new: StageState | None, before: JobState, *, first: bool, warm: bool
) -> Iterator[Verdict]:
    if table := (old or new or _NOTHING).table:
        yield from _judged_table(table, old, new, before, first=first)
    elif old is None and new is not None:
        for name, window in new.windows.items():
            yield Verdict(_of(name, new), "starts empty", _complete(window))
    elif new is None and old is not None:
        names = tuple(old.windows)
        part = f"windows by {', '.join(old.by)} ({', '.join(names)})"
        yield Verdict(part, "refused", "the job has no windows of this key and kind any more", names)
        yield from _judged_lost(part, before)
    elif old is not None and new is not None:
        yield from _judged_windows(old, new, before, first=first, warm=warm)


_NOTHING = StageState("", (), (), (), {})


def _judged_table(
    name: str, old: StageState | None, new: StageState | None, before: JobState, *, first: bool
) -> Iterator[Verdict]:
    part = f"table {name} by {', '.join((old or new or _NOTHING).by)}"
    if new is None:
        yield Verdict(part, "refused", "the job has no such table by this key any more", (name,))
        yield from _judged_lost(part, before)
    elif old is None:
        yield Verdict(part, "starts empty", "its topic is read from its beginning")
    elif refused := _other_types(old, new):
        yield Verdict(part, "refused", refused)
    else:
        yield from _judged_waiting(part, old, new, before, first=first)
        unknown = [column for column in new.kept if column not in old.kept]
        why = f"{', '.join(column for column, _ in unknown)} is null in versions of before"
        yield Verdict(part, "changes", why) if unknown else Verdict(part, "goes on")


def _judged_lost(part: str, before: JobState) -> Iterator[Verdict]:
    """Of a stage that is left behind: what waits in it has no outcome yet, and its offset is committed."""
    if not before.drained:
        why = "they would have no outcome: stop the job as it was with --drain"
        yield Verdict(f"records that wait for {part}", "refused", why, (WAITING,))


def _judged_waiting(
    part: str, old: StageState, new: StageState, before: JobState, *, first: bool
) -> Iterator[Verdict]:
    if old.columns != new.columns and not before.drained:
        part = f"records that wait for {part}"
        if not first:
            why = "they were read with other columns: stop the job as it was with --drain"
            yield Verdict(part, "refused", why)
        else:
            yield Verdict(part, "changes", "they are read again with the new schema")


def _judged_windows(
    old: StageState, new: StageState, before: JobState, *, first: bool, warm: bool
) -> Iterator[Verdict]:
    if refused := _other_types(old, new):
        yield Verdict(f"windows by {', '.join(new.by)}", "refused", refused)
        return
    yield from _judged_waiting(f"windows by {', '.join(new.by)}", old, new, before, first=first)
    for name in {**old.windows, **new.windows}:
        was, now = old.windows.get(name), new.windows.get(name)
        if now is None:
            yield Verdict(_of(name, old), "is left")
        elif was == now:
            yield Verdict(_of(name, new), "goes on")
        else:
            yield Verdict(_of(name, new), "changes", "; ".join(_filled(was, now, old, new, warm=warm)))


def _other_types(old: StageState, new: StageState) -> str:
    was, now = dict(old.kept), dict(new.kept)
    changed = [name for name in was if name in now and was[name] != now[name]]
    keys = [name for name in changed if name in new.by]
    return "; ".join(f"{name} was a {was[name]}, and is a {now[name]}" for name in keys)


def _filled(
    earlier: WindowState | None, now: WindowState, old: StageState, new: StageState, *, warm: bool
) -> Iterator[str]:
    """How right the results of an added or changed window are, and from when on."""
    unknown = [name for name in _unknown(old, new) if _reads(now, name)]
    reach = max((w.size for w in old.windows.values() if w.kind != "rows"), default=0)
    back = _backs_lack(old, new, now)
    longer = now.kind == "over" and now.size > reach
    lacks = now.kind in ("over", "rows") and bool(unknown or back or longer)
    if warm and lacks:
        yield "filled from the state, and from the topic what that lacks; complete at the start"
        return
    if unknown:
        yield f"{', '.join(unknown)} is null in records of before"
    if lacks:
        when = _complete(now) if now.kind == "rows" or unknown or longer else _FURTHER
        yield f"filled as far as the state reaches; {when}, or at the start with --warm-up"
    elif now.kind in ("over", "rows") or (
        earlier and (earlier.kind, earlier.size, earlier.every) == (now.kind, now.size, now.every)
    ):
        yield "filled from the state"
    else:
        yield "records that were in no scored window yet are in all of its windows"


def _reads(window: WindowState, column: str) -> bool:
    return any(column in text for text in window.select.values())


_FURTHER = "complete once a key has records enough to look back to"


def _complete(window: WindowState) -> str:
    if window.kind == "rows":
        return f"complete after {window.size} records of a key"
    if window.kind == "session":
        return "complete from the first session on that begins after the start"
    return f"complete {format_duration(window.size)} after the start"


def _of(name: str, stage: StageState) -> str:
    return f"window {name} by {', '.join(stage.by)}"


def refusals(verdicts: Sequence[Verdict], allowed: Sequence[str]) -> list[Verdict]:
    """What stands in the way, but for what may be left behind."""
    return [v for v in verdicts if v.outcome == "refused" and not (v.names and {*v.names} <= {*allowed})]


def as_refusal(verdict: Verdict) -> str:
    """Why the part stands in the way, and how to leave it behind."""
    options = " ".join(f"--allow-empty {name}" for name in verdict.names)
    return f"{verdict.part}: {verdict.why}" + (f" (leave it behind with {options})" if options else "")


def leaves(verdicts: Iterable[Verdict]) -> bool:
    """Whether Flink finds state for which the job has no operator, and which may be left."""
    return any(verdict.outcome == "is left" and verdict.part == _READ_AGAIN for verdict in verdicts)


def in_words(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each part."""
    width = max((len(verdict.part) for verdict in verdicts), default=0)
    return [f"{v.part:<{width}}  {v.outcome}{': ' if v.why else ''}{v.why}" for v in verdicts]


def parse_state(text: bytes) -> JobState:
    """Raises msgspec.DecodeError for what is no such account."""
    return msgspec.json.decode(text, type=JobState)


def encode_state(state: JobState) -> bytes:
    """As JSON."""
    return msgspec.json.encode(state)
