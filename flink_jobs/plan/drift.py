"""What the monitor of a job is told: columns, segments and rules, checked against the model's reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.errors import InputError
from flink_jobs.plan.columns import JobColumns, ModelInput
from flink_jobs.plan.views import RECORD_KEY
from flink_jobs.spec import AlertRule, Alerts, Drift, JobSpec
from flink_jobs.spec.scalars import format_duration
from udfs.alerts.webhook import WebhookParams
from udfs.drift.alert_rules import DEFAULT_RULES, AlertRuleParams
from udfs.drift.params import JudgeSettings, MonitorParams, SequentialParams
from udfs.errors import ModelError
from udfs.model.manifest import PROFILE_FILE
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.reference import CategoricalReference, Reference, parse_reference
from udfs.store import open_store

SEQUENTIAL_RULE = "sequential"

if TYPE_CHECKING:
    from udfs.model.manifest import Manifest
    from udfs.profile.params import Role


@dataclass(frozen=True)
class DriftPlan:
    """`collect` goes to the workers that score, `monitor` to the one that judges."""

    collect: CollectParams
    monitor: MonitorParams


def drift_plan(
    job: JobSpec,
    manifest: Manifest,
    folder: str,
    inputs: tuple[ModelInput, ...],
    columns: JobColumns,
    model_folder: str | None = None,
) -> DriftPlan | None:
    """None without a drift section. Raises InputError where it does not fit the model's reference.

    `model_folder` is where later versions may appear.
    """
    if job.drift is None or job.alerts is None:
        return None
    reference = _reference(folder)
    watched = _watched(job, job.drift, inputs, reference)
    roles: dict[str, Role] = {
        item.name: "input" if item.column.origin.startswith("field") else "feature" for item in watched
    }
    roles |= {name: "score" if name == "score" else "prediction" for name in reference.outputs}
    _check_thresholds(job.drift, roles)
    sequential = _sequential(job.drift, roles)
    if sequential and SEQUENTIAL_RULE in job.alerts.rules:
        raise InputError(f"alerts.rules: must not name a rule {SEQUENTIAL_RULE!r} beside drift.sequential")
    segments = tuple(
        _segment(job, job.drift, name, inputs, reference, columns) for name in job.drift.segments
    )
    _check_parts(job.drift, reference, folder)
    collect = CollectParams(
        job.drift.window,
        tuple((item.name, item.column.name) for item in watched),
        segments,
        step_ms=sequential.step_ms if sequential else 0,
        step_columns=sequential.columns if sequential else (),
        keys=_keys(job, job.drift, columns),
    )
    monitor = MonitorParams(
        job=job.job,
        model=manifest.name,
        versions={manifest.version: folder},
        model_folder=model_folder,
        window_ms=job.drift.window,
        roles=roles,
        rules=_rules(job.alerts, roles),
        settings=JudgeSettings(
            level=job.drift.level,
            min_effect=job.drift.min_effect,
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
        duplicates=collect.keys is not None,
    )
    return DriftPlan(collect, monitor)


def _reference(folder: str) -> Reference:
    store = open_store(folder)
    path = store.where(PROFILE_FILE)
    try:
        reference = parse_reference(store.read(PROFILE_FILE))
    except FileNotFoundError:
        raise InputError(f"drift: {path} is missing: the model version has no reference profile") from None
    except ModelError as error:
        raise InputError(f"drift: {path}: {error}") from error
    if not reference.columns and not reference.outputs:
        raise InputError(f"drift: {path}: must have at least one column to compare with")
    return reference


def _watched(
    job: JobSpec, drift: Drift, inputs: tuple[ModelInput, ...], reference: Reference
) -> list[ModelInput]:
    """The inputs to watch: those named, or all that the reference has; never personal data."""
    by_name = {item.name: item for item in inputs if not _is_private(job, item)}
    for name in drift.columns:
        if name not in by_name or name not in reference.columns:
            known = ", ".join(name for name in by_name if name in reference.columns)
            raise InputError(
                f"drift.columns: must name inputs of the model that its reference profile has and that are "
                f"not personal data ({known}); got {name!r}"
            )
    wanted = drift.columns or [name for name in by_name if name in reference.columns]
    return [by_name[name] for name in wanted]


def _is_private(job: JobSpec, item: ModelInput) -> bool:
    field = job.source.fields.get(item.column.name)
    return field is not None and field.pii is not None


def _segment(
    job: JobSpec,
    drift: Drift,
    name: str,
    inputs: tuple[ModelInput, ...],
    reference: Reference,
    columns: JobColumns,
) -> SegmentParams:
    """The values of a segment column are known before the job starts, so they are the same on each worker."""
    if name in job.source.fields and job.source.fields[name].values:
        values = tuple(str(value) for value in job.source.fields[name].values)
    elif columns[name].type == "boolean":
        values = ("false", "true")
    else:
        values = _values_of_reference(name, inputs, reference)
    return SegmentParams(name, values[: drift.max_segments])


def _values_of_reference(name: str, inputs: tuple[ModelInput, ...], reference: Reference) -> tuple[str, ...]:
    for item in inputs:
        column = reference.columns.get(item.name)
        if item.column.name == name and isinstance(column, CategoricalReference):
            return tuple(column.values)
    raise InputError(
        "drift.segments: must be columns whose values are known: with `values` in source.schema, boolean, or "
        f"a categorical input in the model's reference profile; got {name!r}"
    )


def _check_parts(drift: Drift, reference: Reference, folder: str) -> None:
    """References of segments are used where there are some; of hours only if the job asks for them."""
    from udfs.profile.references import ReferenceParts  # noqa: PLC0415  # Start-up: few jobs have parts

    path = open_store(folder).where(PROFILE_FILE)
    try:
        parts = ReferenceParts(reference, ())
    except ModelError as error:
        raise InputError(f"drift: {path}: {error}") from error
    if drift.seasonal and not parts.seasonal:
        raise InputError(
            f"drift.seasonal: {path} must have a reference by hour of the week; it has none "
            "(reference_profile(..., event_time=...) makes it, or tailrace profile --event-time COLUMN)"
        )


def _keys(job: JobSpec, drift: Drift, columns: JobColumns) -> str | None:
    """The column whose repeated values are counted."""
    if drift.duplicates is False:
        return None
    if drift.duplicates is True:
        if job.score == "per_window":
            raise InputError("drift.duplicates: must name a column with score: per_window; got true")
        return RECORD_KEY
    if drift.duplicates not in columns.columns:
        known = ", ".join(columns.columns)
        raise InputError(f"drift.duplicates: must be true or a column ({known}); got {drift.duplicates!r}")
    return drift.duplicates


def _sequential(drift: Drift, roles: dict[str, Role]) -> SequentialParams | None:
    """Its step is a part of the window, and its run length one that can be set by so many steps."""
    asked = drift.sequential
    if asked is None:
        return None
    outputs = [name for name in ("score", "prediction") if name in roles]
    columns = asked.columns or tuple(outputs[:1])
    for name in columns or ("",):
        if name not in roles:
            raise InputError(
                f"drift.sequential.columns: must name watched columns ({', '.join(roles)}); got {name!r}"
            )
    step = asked.step or next(
        drift.window // parts for parts in (12, 10, 8, 6, 5, 4, 3, 2, 1) if drift.window % parts == 0
    )
    if drift.window % step:
        raise InputError(
            f"drift.sequential.step: must divide the window of {format_duration(drift.window)}; "
            f"got {format_duration(step)}"
        )
    steps = asked.run_length / step
    if not 20 <= steps * len(columns) <= 100_000:
        raise InputError(
            f"drift.sequential.run_length: must be 20 to {100_000 // len(columns):,} steps of "
            f"{format_duration(step)}; got {format_duration(asked.run_length)}"
        )
    return SequentialParams(columns, step, asked.run_length)


def _check_thresholds(drift: Drift, roles: dict[str, Role]) -> None:
    for name in drift.thresholds:
        if name not in roles:
            raise InputError(
                f"drift.thresholds: must name watched columns ({', '.join(roles)}); got {name!r}"
            )


def webhook_params(alerts: Alerts | None) -> WebhookParams | None:
    """Where alerts are sent besides their topic; None where nothing is asked for."""
    asked = alerts.webhook if alerts else None
    if asked is None:
        return None
    headers = tuple((name, value.get_secret_value()) for name, value in asked.headers.items())
    return WebhookParams(asked.url.get_secret_value(), headers, asked.timeout / 1000, asked.retries)


def _rules(alerts: Alerts, roles: dict[str, Role]) -> tuple[AlertRuleParams, ...]:
    for name, rule in alerts.rules.items():
        for column in rule.columns:
            if column not in roles:
                place = f"alerts.rules.{name}.columns"
                raise InputError(f"{place}: must name watched columns ({', '.join(roles)}); got {column!r}")
    return tuple(_rule(name, rule) for name, rule in alerts.rules.items()) or DEFAULT_RULES


def _rule(name: str, rule: AlertRule) -> AlertRuleParams:
    return AlertRuleParams(
        name=name,
        on=rule.on,
        columns=tuple(rule.columns),
        statistic=rule.statistic,
        above=rule.above,
        severity=rule.severity,
        windows=(rule.bad, rule.of),
        resolve_after=rule.resolve_after,
        segments=rule.segments,
        cooldown_ms=rule.cooldown or 0,
    )
