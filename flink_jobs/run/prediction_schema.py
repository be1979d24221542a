"""Registers the schema of a job's predictions before it starts, and tells the workers its id."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from flink_jobs.errors import InputError, WorkError
from flink_jobs.plan import Plan, Runnable
from flink_jobs.plan.formats import registry_params
from flink_jobs.plan.prediction_schema import output_registry, output_subject
from flink_jobs.plan.window_stages import WindowStages
from flink_jobs.spec import JobSpec
from udfs.records.output_schema import OutputSchema
from udfs.records.schema_registry import NoSuchSchemaError, RefusedSchemaError, RegistryError, SchemaRegistry
from udfs.records.schema_texts import schema_text
from udfs.scoring.params import ScoreParams


def with_registered_schema(plan: Runnable) -> Runnable:
    """The plan whose workers know the id.

    Raises InputError where the registry refuses the schema or does not have it, WorkError where it does not
    answer.
    """
    if not isinstance(plan, Plan) or plan.predictions_schema is None:
        return plan
    number = _registered(plan.job, plan.predictions_schema)
    views = plan.views
    functions = {
        name: replace(each, params=with_id(each.params, number))
        if isinstance(each.params, ScoreParams)
        else each
        for name, each in views.functions.items()
    }
    found = {
        name: replace(each, score=with_id(each.score, number)) if isinstance(each, WindowStages) else each
        for name, each in views.views.items()
    }
    return replace(plan, views=replace(views, functions=functions, views=found))


def _registered(job: JobSpec, schema: OutputSchema) -> int:
    text = schema_text(schema)
    registry, subject = output_registry(job), output_subject(job)
    assert registry
    client = SchemaRegistry(registry_params(registry))
    try:
        if job.predictions.register_schema:
            return client.register(subject, text, schema.kind)
        return client.find(subject, text, schema.kind)
    except RefusedSchemaError as error:
        raise InputError(f"predictions: the registry refuses the schema of {subject!r}: {error}") from error
    except NoSuchSchemaError as error:
        raise InputError(
            f"predictions: {subject!r} must have their schema, as register_schema is false; it is {text}"
        ) from error
    except RegistryError as error:
        raise WorkError(f"predictions: {subject}: {error}") from error


def with_id(params: ScoreParams, number: int) -> ScoreParams:
    """What workers are told that write predictions with a schema, by the id of it."""
    assert params.output.schema
    schema = msgspec.structs.replace(params.output.schema, id=number)
    output = msgspec.structs.replace(params.output, schema=schema)
    return msgspec.structs.replace(params, output=output)
