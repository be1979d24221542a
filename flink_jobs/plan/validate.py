"""From the path of a job file to its plan, or to all that is wrong, each problem with its place in the file.

    plan = validated_plan(Path("conf/flight_delay.yaml"))
    plan.manifest.version

Needs the model's registry and the lookup files, but neither a broker nor a JVM.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from flink_jobs.errors import InputError, Problem, TailraceError
from flink_jobs.jobfile import load_job
from flink_jobs.jobfile.reader import read_document
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.expressions import ExpressionError, compile_all
from flink_jobs.plan.lookups import LookupFileError, describe_lookup
from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.spec.diagnostics import Location, dotted
from udfs.types import ColumnType

Placed = tuple[Location, TailraceError]


def validated_plan(path: Path, *, bounded: bool = False) -> Plan:
    """The plan of a job file.

    Raises InputError with every problem in the file, in the order of lines: those of the file itself, or,
    when it has none, those of the model, the lookups and the expressions that it names.
    """
    job = load_job(path)
    try:
        return make_plan(job, bounded=bounded)
    except InputError as error:
        problems = _problems(job, error)
    raise InputError(job.masks.hide("\n".join(_described(path, problems))))


def _described(path: Path, problems: list[Placed]) -> list[str]:
    document = read_document(path.read_text(encoding="utf-8"), {})
    placed = sorted(((document.line(place), place, error) for place, error in problems), key=lambda p: p[0])
    return [_text(str(path), line, dotted(place), error) for line, place, error in placed]


def _text(file: str, line: int, key_path: str, error: TailraceError) -> str:
    if isinstance(error, ExpressionError):
        return str(Problem(file, line, key_path, error.expected, error.found, error.suggestion))
    return f"{file}:{line}: {key_path}: {error}"


def _problems(job: JobSpec, first: InputError) -> list[Placed]:
    """All that keeps the job from being planned; `first` is what planning stumbled on."""
    columns = [*_lookup_problems(job)] or [*_expression_problems(job)]
    found = [*columns, *_model_problems(job), *_kafka_problems(job)]
    keys = ("predictions.include", "predictions.explain")
    part = next((key for key in keys if str(first).startswith(key)), "model")
    return found or [(tuple(part.split(".")), first)]


def _lookup_problems(job: JobSpec) -> Iterator[Placed]:
    for name, lookup in job.features.lookups.items():
        try:
            describe_lookup(lookup.file, lookup.key, lookup.select)
        except LookupFileError as error:
            yield ("features", "lookups", name, error.part), error


def _expression_problems(job: JobSpec) -> Iterator[Placed]:
    """One for each wrong expression; those that use a wrong one are passed over."""
    without = job.features.model_copy(update={"derive": {}})
    try:
        columns = job_columns(job.model_copy(update={"features": without})).columns
    except InputError as error:  # a lookup's key is of the wrong type; the message names its place
        yield ("features", "lookups"), error
        return
    types = {name: column.type for name, column in columns.items()}
    left = dict(job.features.derive)
    while wrong := _first_error(left, types):
        assert wrong.feature is not None
        yield ("features", "derive", wrong.feature), wrong
        _drop(left, wrong.feature)


def _first_error(expressions: Mapping[str, str], types: Mapping[str, ColumnType]) -> ExpressionError | None:
    try:
        compile_all(expressions, types)
    except ExpressionError as error:
        return error
    return None


def _drop(expressions: dict[str, str], name: str) -> None:
    """Removes an expression and all that mention it."""
    expressions.pop(name, None)
    for other in [n for n, text in expressions.items() if re.search(rf"\b{re.escape(name)}\b", text)]:
        if other in expressions:
            _drop(expressions, other)


def _model_problems(job: JobSpec) -> Iterator[Placed]:
    registry, model = Registry(job.model.registry), job.model
    try:
        registry.versions(model.name)
    except InputError as error:
        yield ("model", "name"), error
        return
    try:
        registry.manifest(model.name, registry.resolve(model.name, model.use).version)
    except InputError as error:
        yield ("model", "use"), error


def _kafka_problems(job: JobSpec) -> Iterator[Placed]:
    try:
        client_settings(job).java()
    except InputError as error:
        yield ("kafka", "security"), error
