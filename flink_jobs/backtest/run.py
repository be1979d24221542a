"""Runs a job file on history once for each of two versions, and compares what they say.

request = Request(Path("flights.parquet"), "1", "2", label="late", by="origin")
found = backtest(load_job(Path("conf/flight_delay.yaml")), request)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from flink_jobs.backtest import compare
from flink_jobs.backtest.compare import ComparisonSettings
from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.labels import WINDOW_START, HistoryLabels, read_labels, require_column
from flink_jobs.backtest.outputs import Flags, Floats, label_values
from flink_jobs.backtest.pairs import Pairs, paired, times
from flink_jobs.backtest.records import Backtest
from flink_jobs.errors import InputError, WorkError
from flink_jobs.history import History, HistoryFile, Replay, read_records, read_tables
from flink_jobs.history.replay import replayed, with_version
from flink_jobs.history.table_files import label_type
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.personal import personal_columns
from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.spec.scalars import format_duration
from udfs.model.manifest import Output
from udfs.scoring.params import PREDICTION_FIELDS
from udfs.suggest import hint
from udfs.types import ColumnType

WEEK_MS = 604_800_000
Note = Callable[[str], None]
OnProgress = Callable[[Counter[str]], None]


@dataclass(frozen=True)
class Request:
    """What to compare on which file; `a` and `b` are as `--model` takes them, `labels` is (file, key)."""

    file: Path
    a: str
    b: str
    label: str | None = None
    labels: tuple[Path, str] | None = None
    by: str | None = None
    window_ms: int = WEEK_MS
    limit: int | None = None
    draws: Draws = field(default_factory=Draws)
    #: Files of changes of the lookups whose tables are topics.
    tables: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class _Prepared:
    """Everything that can be known before Flink runs; `include` is what both predictions carry."""

    job: JobSpec
    file: HistoryFile
    plans: tuple[Plan, Plan]
    labels: HistoryLabels | None
    include: tuple[str, ...]

    @property
    def output(self) -> Output:
        return self.plans[0].manifest.signature.output


def backtest(
    job: JobSpec,
    request: Request,
    note: Note = lambda _: None,
    on_progress: OnProgress | None = None,
    *,
    brokers: str | None = None,
) -> Backtest:
    """The comparison. `note` is told what happens; `on_progress` gets the job's counters while it runs.

    `brokers` are used instead of a broker of its own, if given; the topics stay there.
    Raises InputError for what the user can put right, before anything is started; WorkError and
    JobFailedError when broker or job fail.
    """
    note(f"reading {request.file}")
    ready = _prepare(replayed(job), request)
    tables = read_tables(job, request.tables, "--table NAME=FILE")
    note("starting a Kafka broker")
    read = ready.file.read_by(job), ready.file.records
    with Replay(*read, brokers=brokers, tables=tables) as replay:
        histories = []
        for side, plan in zip("AB", ready.plans, strict=True):
            name, version = plan.manifest.name, plan.manifest.version
            note(f"{side}: {name} version {version} on {replay.count:,} records")
            histories.append(
                replay.predictions(version, model=name, include=ready.include, on_progress=on_progress)
            )
    note("comparing")
    return _compared(ready, request, *histories)


def parse_version(text: str, job: JobSpec) -> tuple[str, int]:
    """(model, version) of a number, champion, latest, or MODEL:one of these. Raises InputError."""
    model, _, use = text.rpartition(":")
    model = model or job.model.name
    if not re.fullmatch(r"[1-9][0-9]{0,8}|champion|latest", use):
        meant = hint(use, ["champion", "latest"])
        raise InputError(f"--model must be a version, champion, latest or MODEL:VERSION; got {text!r}{meant}")
    registry = Registry(job.model.registry)
    return model, registry.resolve(model, int(use) if use.isdigit() else use).version


def _prepare(job: JobSpec, request: Request) -> _Prepared:
    versions = [parse_version(text, job) for text in (request.a, request.b)]
    if versions[0] == versions[1]:
        name, number = versions[0]
        raise InputError(f"--model must name two versions; both are {name} version {number}")
    kinds = _label_types(job, request, versions[0])
    file = read_records(job, request.file, request.limit, kinds)
    labels = _labels(job, request, file, kinds)
    keys = [key for key in labels.keys if key != WINDOW_START] if labels else []
    asked = [key for key in keys if not _of_file(job, file, key)]
    if request.by and not _of_file(job, file, request.by, shown=True):
        asked.insert(0, request.by)
    include = _include(job, asked)
    first, second = (
        make_plan(with_version(job, version, name, include), bounded=True) for name, version in versions
    )
    _require_alike(first, second)
    ready = _Prepared(job, file, (first, second), labels, include)
    if request.label or labels:
        every = labels.values if labels else file.columns.column(request.label)
        label_values(ready.output, every, _label_text(request, labels))
    return ready


def _label_types(job: JobSpec, request: Request, version: tuple[str, int]) -> dict[str, ColumnType]:
    """What CSV does not tell: the label is of the type that the model's output has."""
    if request.label is None:
        return {}
    output = Registry(job.model.registry).manifest(*version).signature.output
    return {request.label: label_type(output)}


def _labels(
    job: JobSpec, request: Request, file: HistoryFile, types: Mapping[str, ColumnType]
) -> HistoryLabels | None:
    windows = job.score == "per_window"
    if request.labels:
        path, key = request.labels
        field = job.source.columns.get(key)
        kinds = {**types, key: field.column_type} if field else types
        return read_labels(path, key, request.label, windows=windows, types=kinds)
    if request.label and windows:
        raise InputError("--label: rows of the input are no windows; give their labels with --labels")
    if request.label:
        require_column(file.columns.column_names, request.label, f"--label: {request.file}")
    return None


def _include(job: JobSpec, asked: Sequence[str]) -> tuple[str, ...]:
    """The included columns, and those that are asked for beside them."""
    include = dict.fromkeys(job.predictions.include)
    if asked:
        found = job_columns(job)
        columns, labels = found.columns, personal_columns(job, found)
        for name in asked:
            if name not in columns and name not in PREDICTION_FIELDS:
                known = ", ".join(columns)
                raise InputError(f"--by and --labels must name columns of the job ({known}); got {name!r}")
            if name in labels and name not in include:
                raise InputError(f"--by and keys of --labels must not be personal data; got {name!r}")
            include[name] = None
    return tuple(include)


def _of_file(job: JobSpec, file: HistoryFile, name: str, *, shown: bool = False) -> bool:
    """Whether the column is taken from the file; personal data is not, where it is `shown`."""
    private = shown and name in job.source.columns and job.source.columns[name].pii
    return job.score == "per_event" and name in file.columns.column_names and not private


def _require_alike(a: Plan, b: Plan) -> None:
    first, second = a.manifest.signature.output, b.manifest.signature.output
    if first != second:
        raise InputError(
            f"--model: both versions must have the same output; got {first.kind} {list(first.classes)} and "
            f"{second.kind} {list(second.classes)}"
        )


def _compared(ready: _Prepared, request: Request, a: History, b: History) -> Backtest:
    pairs = paired(a, b)
    if not len(pairs.a):
        raise WorkError(
            f"no row was scored by both versions: {a.table.num_rows} by A, {b.table.num_rows} by B, "
            f"{a.dead.num_rows} and {b.dead.num_rows} dead letters, {len(a.late)} and {len(b.late)} late; "
            f"the first: {next(iter(a.dead.to_pylist() + b.dead.to_pylist()), None)}"
        )
    first, second = a.table.take(pa.array(pairs.a)), b.table.take(pa.array(pairs.b))
    labels = _label_column(ready, request, a, pairs)
    truth, known = _truth(ready, request, labels, len(pairs.a))
    rows = compare.rows_of(ready.output, first, second, times(a)[pairs.a], truth, known)
    settings = ComparisonSettings(request.window_ms, request.draws)
    by = request.by
    numbers = a.context.column("row").take(pa.array(pairs.a)) if ready.job.score == "per_event" else None
    return Backtest(
        job=ready.job.job,
        input=str(request.file),
        read=a.read,
        kind=ready.output.kind,
        scored=ready.job.score,
        label=_label_name(request, ready.labels),
        a=compare.run_of(ready.plans[0].manifest, a),
        b=compare.run_of(ready.plans[1].manifest, b),
        window=format_duration(request.window_ms),
        block=format_duration(settings.block_ms),
        level=request.draws.level,
        resamples=request.draws.resamples,
        seed=request.draws.seed,
        total=compare.slice_of(rows, settings),
        windows=compare.over_time(rows, settings),
        segments=compare.by_segment(rows, by, _column(ready, a, pairs, by, shown=True), settings)
        if by
        else None,
        changed=compare.changed_rows(rows, first, second, numbers, labels),
    )


def _label_name(request: Request, labels: HistoryLabels | None) -> str | None:
    return labels.name if labels else request.label


def _label_text(request: Request, labels: HistoryLabels | None) -> str:
    return f"the label {_label_name(request, labels)!r}"


def _label_column(ready: _Prepared, request: Request, a: History, pairs: Pairs) -> pa.ChunkedArray | None:
    if ready.labels:
        found = ready.labels.of({key: _column(ready, a, pairs, key) for key in ready.labels.keys})
        if found.null_count == len(found):
            raise InputError(f"--labels: no {' and '.join(ready.labels.keys)} there is one of the history's")
        return found
    return _column(ready, a, pairs, request.label) if request.label else None


def _truth(
    ready: _Prepared, request: Request, labels: pa.ChunkedArray | None, rows: int
) -> tuple[Floats, Flags]:
    if labels is None:
        return np.zeros(rows), np.zeros(rows, np.bool_)
    return label_values(ready.output, labels, _label_text(request, ready.labels))


def _column(ready: _Prepared, a: History, pairs: Pairs, name: str, *, shown: bool = False) -> pa.ChunkedArray:
    """A column of the paired rows: of the file, of the windows, or as the predictions carry it."""
    places = pa.array(pairs.a)
    if _of_file(ready.job, ready.file, name, shown=shown):
        return ready.file.columns.column(name).take(pa.array(a.rows[pairs.a]))
    if name in a.context.column_names:
        return a.context.column(name).take(places)
    return a.table.column(name).take(places)
