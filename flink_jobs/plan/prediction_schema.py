"""Makes the Avro schema of a job's predictions from its columns, where it asks for Avro."""

from __future__ import annotations

from collections.abc import Iterator

from flink_jobs.plan.columns import JobColumns
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.personal import Labels
from flink_jobs.spec import JobSpec, SchemaRegistry
from udfs.model.manifest import Manifest, Output
from udfs.records.avro_encode import AvroField, AvroOutput, Kind
from udfs.types import held_as

_CLASSES: dict[type, Kind] = {bool: "boolean", int: "long", str: "string"}


def avro_output(job: JobSpec, columns: JobColumns, labels: Labels, manifest: Manifest) -> AvroOutput | None:
    """The fields of predictions, in the order of those in JSON; None for a job that writes JSON."""
    if job.predictions.format != "avro":
        return None
    return AvroOutput(tuple(_fields(job, columns, labels, manifest.signature.output)))


def _fields(job: JobSpec, columns: JobColumns, labels: Labels, output: Output) -> Iterator[AvroField]:
    for name in job.predictions.include:
        # What is treated as personal data is text.
        yield AvroField(name, "string" if name in labels else held_as(columns[name].type))
    yield AvroField("prediction", _prediction(output))
    yield AvroField("score", "double")
    if output.kind == "multiclass":
        yield AvroField("probabilities", "map")
    if job.predictions.explain:
        yield AvroField("explanation", "string")
    if job.score == "per_event":
        yield AvroField("partition", "long", nullable=False)
        yield AvroField("offset", "long", nullable=False)
        yield AvroField("event_time", "timestamp", nullable=False)
    else:
        yield AvroField("window_start", "timestamp", nullable=False)
        yield AvroField("window_end", "timestamp", nullable=False)
        yield AvroField("records", "long", nullable=False)
    yield AvroField("model", "string", nullable=False)
    yield AvroField("version", "long", nullable=False)
    yield AvroField("digest", "string", nullable=False)
    yield AvroField("release", "long")
    yield AvroField("topic", "string", nullable=False)


def prediction_fields(
    job: JobSpec, columns: JobColumns, labels: Labels, manifest: Manifest
) -> dict[str, Kind]:
    """The fields of predictions in the job's format; what has fields of its own is a map."""
    output = manifest.signature.output
    found = {field.name: field.kind for field in _fields(job, columns, labels, output)}
    if job.predictions.format == "json":
        if output.kind not in ("binary", "anomaly"):
            del found["score"]
        found |= {"explanation": "map"} if "explanation" in found else {}
    return found


def _prediction(output: Output) -> Kind:
    if output.kind == "regression":
        return "double"
    return _CLASSES[type(output.classes[0])] if output.classes else "boolean"


def output_registry(job: JobSpec) -> SchemaRegistry | None:
    """Where the schema of predictions is: at their own registry, or at the source's."""
    return job.predictions.schema_registry or job.source.schema_registry


def output_subject(job: JobSpec) -> str:
    """What the registry calls the schemas of predictions."""
    own = job.predictions.schema_registry
    return (own.subject if own else None) or f"{job.predictions.topic}-value"


def collect_predictions(job: JobSpec, found: Collector) -> None:
    """Adds what predictions in Avro need, and what those in JSON must not have."""
    location = ("predictions", "schema_registry")
    if job.predictions.format == "avro" and output_registry(job) is None:
        expected = "given, unless source.schema_registry is, as the format is avro"
        found.add(location, expected, "nothing")
    if job.predictions.format == "json" and job.predictions.schema_registry:
        found.add(location, "left out, as the format is json", "a value")
