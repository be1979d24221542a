"""Makes the schema of a job's predictions from its columns, where it asks for a format with one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from flink_jobs.plan.columns import JobColumns
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.personal import Labels
from flink_jobs.spec import JobSpec, SchemaRegistry
from udfs.model.manifest import Manifest, Output
from udfs.records.output_schema import RECORD, Kind, OutputField, OutputSchema
from udfs.types import held_as

_FULL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_CLASSES: dict[type, Kind] = {bool: "boolean", int: "long", str: "string"}


def predictions_schema(
    job: JobSpec, columns: JobColumns, labels: Labels, manifest: Manifest
) -> OutputSchema | None:
    """The fields of predictions, in the order of those in JSON; None for a job that writes JSON."""
    written_as = job.predictions.format
    if written_as == "json":
        return None
    fields = _of_format(job, _fields(job, columns, labels, manifest.signature.output), manifest)
    own = job.predictions.schema_registry
    return OutputSchema(fields, written_as, (own.record if own else None) or RECORD)


def _of_format(job: JobSpec, fields: Iterable[OutputField], manifest: Manifest) -> tuple[OutputField, ...]:
    """JSON has a score only where it is another than the prediction."""
    scored = manifest.signature.output.kind in ("binary", "anomaly")
    plain = job.predictions.format in ("json", "json_schema")
    return tuple(field for field in fields if field.name != "score" or scored or not plain)


def _fields(job: JobSpec, columns: JobColumns, labels: Labels, output: Output) -> Iterator[OutputField]:
    for name in job.predictions.include:
        # What is treated as personal data is text.
        yield OutputField(name, "string" if name in labels else held_as(columns[name].type))
    yield OutputField("prediction", _prediction(output))
    yield OutputField("score", "double")
    if output.kind == "multiclass":
        yield OutputField("probabilities", "map")
    if job.predictions.explain:
        yield OutputField("explanation", "json")
    if job.score == "per_event":
        yield OutputField("partition", "long", nullable=False)
        yield OutputField("offset", "long", nullable=False)
        yield OutputField("event_time", "timestamp", nullable=False)
    else:
        yield OutputField("window_start", "timestamp", nullable=False)
        yield OutputField("window_end", "timestamp", nullable=False)
        yield OutputField("records", "long", nullable=False)
    yield OutputField("model", "string", nullable=False)
    yield OutputField("version", "long", nullable=False)
    yield OutputField("digest", "string", nullable=False)
    yield OutputField("release", "long")
    yield OutputField("topic", "string", nullable=False)


def prediction_fields(
    job: JobSpec, columns: JobColumns, labels: Labels, manifest: Manifest
) -> dict[str, Kind]:
    """The fields of predictions in the job's format; what has fields of its own is a map."""
    fields = _of_format(job, _fields(job, columns, labels, manifest.signature.output), manifest)
    text: Kind = "map" if job.predictions.format in ("json", "json_schema") else "string"
    return {field.name: text if field.kind == "json" else field.kind for field in fields}


def _prediction(output: Output) -> Kind:
    if output.kind == "regression":
        return "double"
    return _CLASSES[type(output.classes[0])] if output.classes else "boolean"


def output_registry(job: JobSpec) -> SchemaRegistry | None:
    """Where the schema of predictions is: at their own registry, or at the source's."""
    return job.predictions.schema_registry or job.source.schema_registry


def output_subject(job: JobSpec) -> str:
    """What the registry calls the schemas of predictions."""
    own, topic = job.predictions.schema_registry, job.predictions.topic
    return own.subject_of(topic) if own else f"{topic}-value"


def collect_predictions(job: JobSpec, found: Collector) -> None:
    """Adds what predictions with a schema need, and what those in JSON must not have."""
    location, predictions = ("predictions", "schema_registry"), job.predictions
    own = predictions.schema_registry
    if predictions.format == "json":
        if own:
            found.add(location, "left out, as the format is json", "a value")
        return
    if output_registry(job) is None:
        expected = f"given, unless source.schema_registry is, as the format is {predictions.format}"
        found.add(location, expected, "nothing")
    if own and own.record and not _FULL_NAME.fullmatch(own.record):
        found.add((*location, "record"), "a full name, such as shop.Scored", repr(own.record))
    if predictions.format == "protobuf":
        _collect_numbers(predictions.include, found)


def _collect_numbers(include: Sequence[str], found: Collector) -> None:
    from udfs.records.protobuf_schema import same_numbers  # Start-up: for this format.  # noqa: PLC0415

    if pair := same_numbers(include):
        first, second = pair
        expected = f"without a column of the number in Protobuf that {first!r} has: derive it by another name"
        found.add(("predictions", "include", include.index(second)), expected, repr(second))
