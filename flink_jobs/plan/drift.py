"""Plans the monitor of a job: columns, segments and rules, checked against the model's reference."""

from __future__ import annotations

from dataclasses import dataclass

from flink_jobs.plan.alerts import alert_rules
from flink_jobs.plan.columns import JobColumns, ModelInput, vector_parts
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.model import ModelVersion, trust_of
from flink_jobs.plan.personal import Labels
from flink_jobs.plan.recent import recent_params
from flink_jobs.plan.watched import Watched, watched_columns
from flink_jobs.spec import Drift, JobSpec
from flink_jobs.spec.scalars import format_duration
from udfs.drift.params import JudgeSettings, MonitorParams, SequentialParams
from udfs.errors import ModelError
from udfs.model.loading import verified_file
from udfs.model.manifest import PROFILE_FILE, digest
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.reference import CategoricalReference, Reference, parse_reference
from udfs.profile.references import ReferenceParts
from udfs.scoring.rows import RECORD_KEY
from udfs.store import open_store

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class DriftPlan:
    """`collect` goes to the workers that score, `monitor` to the one that judges; `note` to a person."""

    collect: CollectParams
    monitor: MonitorParams
    note: str | None = None


def drift_plan(
    job: JobSpec,
    version: ModelVersion | None,
    inputs: tuple[ModelInput, ...],
    columns: JobColumns,
    labels: Labels,
    found: Collector,
) -> DriftPlan | None:
    """None without a drift section, and without a version to compare with.

    Adds to `found` what does not fit the model's reference; what does not need it is checked without.
    """
    if job.drift is None or job.alerts is None:
        return None
    reference = _reference(job, job.drift, version, found) if version else None
    watched = Watched()
    if version and reference:
        elements = vector_parts(job).keys()
        never, shown = labels.keys() | elements, elements - labels.keys()
        watched = watched_columns(job.drift, version, inputs, reference, never, shown, found)
    watched.check(job.drift.thresholds, ("drift", "thresholds"), found)
    watched.check(job.drift.min_effects, ("drift", "min_effects"), found)
    sequential = _sequential(job.drift, watched, found)
    recent = recent_params(job.drift, found)
    max_dead = job.dead_letters.max_rate
    rules = alert_rules(job.alerts, watched, job.drift.sequential is not None, found, max_dead)
    keys = _keys(job, job.drift, columns, found)
    segments = _segments(job, job.drift, inputs, reference, columns, found)
    if not version or not reference:
        return None
    collect = CollectParams(
        job.drift.window,
        tuple((item.name, item.column.name) for item in watched.inputs),
        segments,
        step_ms=sequential.step_ms if sequential else 0,
        step_columns=sequential.columns if sequential else (),
        keys=keys,
        vectors=watched.vectors,
    )
    monitor = MonitorParams(
        job=job.job,
        model=version.manifest.name,
        versions={version.manifest.version: version.folder},
        model_folder=version.model_folder if job.model.use == "champion" else None,
        window_ms=job.drift.window,
        roles=dict(watched.roles),
        rules=rules,
        settings=JudgeSettings(
            level=job.drift.level,
            min_effect=job.drift.min_effect,
            min_ratio=job.drift.least_ratio,
            min_effects=dict(job.drift.min_effects),
            thresholds={
                column: {str(name): value for name, value in fixed.items()}
                for column, fixed in job.drift.thresholds.items()
            },
        ),
        idle_ms=job.drift.idle,
        early_ms=job.drift.early,
        sequential=sequential,
        segments=segments,
        seasonal=job.drift.seasonal is not None,
        recent=recent,
        duplicates=collect.keys is not None,
        trust=trust_of(job),
        digests={version.manifest.version: digest(version.manifest)},
    )
    notes = (_rhythm(reference, sequential), _unwatched(job, inputs, reference, labels))
    return DriftPlan(collect, monitor, "\n  warning: ".join(filter(None, notes)) or None)


def _unwatched(
    job: JobSpec, inputs: tuple[ModelInput, ...], reference: Reference, labels: Labels
) -> str | None:
    """Vectors of the model that an older profile says nothing of."""
    fed, parts = {item.column.name for item in inputs}, vector_parts(job)
    known = {f"{name}_0" for name in reference.vectors}
    first = {item.column.name for item in inputs if item.name in known}
    names = [
        name
        for part, name in parts.items()
        if part == f"{name}_0" and part in fed and part not in first and part not in labels
    ]
    if not names or job.drift is None or job.drift.columns:
        return None
    return (
        f"drift: the vectors {', '.join(names)} are not watched, as the reference profile was made without "
        f"them: reference_profile(..., vectors=[...]), or tailrace profile --vectors {','.join(names)}"
    )


def _rhythm(reference: Reference, sequential: SequentialParams | None) -> str | None:
    """What no profile without times can know, and steps of part of a day take for a change."""
    timed = bool(bytes(reference.hour_of_week))
    if sequential is None or timed or sequential.step_ms % _DAY_MS == 0:
        return None
    columns = ", ".join(sequential.columns)
    return (
        f"drift.sequential.step: with steps of {format_duration(sequential.step_ms)} a rhythm of the day in "
        f"{columns} is a change, as the reference profile does not know how alike rows near in time are: "
        "make it with their times (tailrace profile --event-time COLUMN), or choose steps of a day"
    )


def _reference(job: JobSpec, drift: Drift, version: ModelVersion, found: Collector) -> Reference | None:
    """The reference of the version, with hours of the week where they are asked for."""
    path = open_store(version.here).where(PROFILE_FILE)
    if PROFILE_FILE not in version.manifest.files:
        found.add(("drift",), "left out for a version without a reference profile", f"no file {path}")
        return None
    try:
        profile = verified_file(
            version.here, PROFILE_FILE, digest=digest(version.manifest), trust=trust_of(job)
        )
        reference = parse_reference(profile)
        parts = ReferenceParts(reference, ())
    except ModelError as error:
        found.add(("drift",), "left out unless the reference profile can be read", f"{path}: {error}")
        return None
    if not reference.columns and not reference.outputs:
        found.add(("drift",), "left out for a reference without columns to compare with", str(path))
        return None
    if drift.seasonal and drift.reference == "training" and not parts.seasonal:
        expected = (
            "left out for a reference without hours of the week "
            "(reference_profile(..., event_time=...) makes it, or tailrace profile --event-time COLUMN)"
        )
        found.add(("drift", "seasonal"), expected, str(path))
    return reference


def _segments(
    job: JobSpec,
    drift: Drift,
    inputs: tuple[ModelInput, ...],
    reference: Reference | None,
    columns: JobColumns,
    found: Collector,
) -> tuple[SegmentParams, ...]:
    """The values of segments are known before the job starts: all workers agree."""
    segments = []
    for index, name in enumerate(drift.segments):
        values: tuple[str, ...] | None = None
        if name in job.source.columns and job.source.columns[name].values:
            values = tuple(str(value) for value in job.source.columns[name].values)
        elif name in columns.columns and columns[name].type == "boolean":
            values = ("false", "true")
        elif reference:
            values = _values_of_reference(name, inputs, reference)
            if values is None and not found.is_unknown(name):
                _unknown_values(name, index, found)
        segments.append(SegmentParams(name, (values or ())[: drift.max_segments]))
    return tuple(segments)


def _unknown_values(name: str, index: int, found: Collector) -> None:
    expected = (
        "a column whose values are known: with `values` in source.schema, boolean, or a categorical input in "
        "the model's reference profile"
    )
    found.add(("drift", "segments", index), expected, repr(name))


def _values_of_reference(
    name: str, inputs: tuple[ModelInput, ...], reference: Reference
) -> tuple[str, ...] | None:
    for item in inputs:
        column = reference.columns.get(item.name)
        if item.column.name == name and isinstance(column, CategoricalReference):
            return tuple(column.values)
    return None


def _keys(job: JobSpec, drift: Drift, columns: JobColumns, found: Collector) -> str | None:
    """The column whose repeated values are counted."""
    location = ("drift", "duplicates")
    if drift.duplicates is False:
        return None
    if drift.duplicates is True:
        if job.score == "per_window":
            found.add(location, "a column with score: per_window", "true")
        return RECORD_KEY
    name = drift.duplicates
    if name not in columns.columns and not found.is_unknown(name):
        known = ", ".join(columns.columns)
        found.add(location, f"true or a column ({known})", repr(name), name=name, choices=columns.columns)
    return name


def _sequential(drift: Drift, watched: Watched, found: Collector) -> SequentialParams | None:
    """Its step is a part of the window, and its run length one that can be set by so many steps."""
    asked, location = drift.sequential, ("drift", "sequential")
    if asked is None:
        return None
    outputs = [name for name in ("score", "prediction") if name in watched.roles]
    columns = asked.columns or tuple(outputs[:1])
    watched.check(asked.columns, (*location, "columns"), found)
    if watched.unsure is not None and not columns:
        found.add((*location, "columns"), f"watched columns ({', '.join(watched.roles)})", "none")
    if found.doubts.below(("drift", "window")) or found.doubts.below(location):
        return None
    step = asked.step or next(
        drift.window // parts for parts in (12, 10, 8, 6, 5, 4, 3, 2, 1) if drift.window % parts == 0
    )
    if drift.window % step:
        expected = f"a divisor of the window of {format_duration(drift.window)}"
        found.add((*location, "step"), expected, format_duration(step))
        return None
    count = len(columns) or 1
    if not 20 <= asked.run_length / step * count <= 100_000:
        expected = f"20 to {100_000 // count:,} steps of {format_duration(step)}"
        found.add((*location, "run_length"), expected, format_duration(asked.run_length))
    return SequentialParams(columns, step, asked.run_length)
