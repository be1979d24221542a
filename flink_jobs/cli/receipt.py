"""`tailrace receipt`: one prediction, made once more of its record by its version, and compared."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
import typer

from flink_jobs.cli.connection import environment
from flink_jobs.cli.dlq import JobFile
from flink_jobs.errors import InputError, WorkError
from flink_jobs.history.replay import with_version
from flink_jobs.kafka import ClientSettings, Record, read_record, read_topic
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.event_times import EventTimes, beside_values
from flink_jobs.plan.topics import has_stages
from flink_jobs.plan.validate import validated_plan
from flink_jobs.reports.predictions import Origin, Told, prediction_fields, prediction_reader
from flink_jobs.reports.receipt import Receipt, compare
from flink_jobs.run.prediction_schema import with_id
from flink_jobs.spec import JobSpec
from flink_jobs.system.log import configure_logging
from flink_jobs.system.terminal import plain, print_json, say
from udfs.records.framing import schema_id
from udfs.records.raws import Raws
from udfs.scoring.batch import Batch
from udfs.scoring.outcomes import PREDICTED
from udfs.scoring.params import ScoreParams
from udfs.scoring.scorer import Scorer

SCHEMA = "tailrace.receipt/1"


def receipt(
    job: JobFile,
    partition: Annotated[
        int, typer.Argument(min=0, help="Of the record in the source topic.", show_default=False)
    ],
    offset: Annotated[
        int, typer.Argument(min=0, help="Of the record in the source topic.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help=f"Print JSON ({SCHEMA}).")] = False,
) -> None:
    """Make one prediction again, of its record and by its version, and compare it to the last bit.

    The record is read from the source, its prediction from the topic of predictions. The version is that of
    the release which was in force for the record; where releases say another one by now, the one that the
    prediction names. For jobs without windows, tables and labels beside the record. Ends with 1 if anything
    differs.

    [bold]Examples[/]

      tailrace receipt conf/payments.yaml 0 4711
    """
    configure_logging()
    plan = validated_plan(job, environ=environment())
    _require_alone(plan.job)
    settings, topic = client_settings(plan.job), plan.job.source.topic
    record = read_record(settings, topic, partition, offset)
    if record is None:
        raise InputError(f"{topic} has no record at {partition}:{offset}")
    place = (topic, partition, offset)
    recorded, told = _prediction(plan.job, settings, place)
    fields = prediction_fields(plan.job, plan.predictions_schema) if plan.predictions_schema else None
    found = compare(recorded, _again(plan, record, recorded), fields)
    if any(each.field == "version" for each in found.differences):
        pinned = make_plan(with_version(plan.job, told.version))
        found = _without_release(compare(recorded, _again(pinned, record, recorded), fields))
    _tell(plan.job, place, told, found, as_json)
    if found.differences:
        raise typer.Exit(WorkError.exit_code)


def _require_alone(job: JobSpec) -> None:
    """Raises InputError for a job whose predictions are of more than one record."""
    if job.score != "per_event" or has_stages(job):
        raise InputError(
            f"{job.job} has windows or tables of topics, so that a prediction is of more than its record: "
            "tailrace backtest makes such again"
        )


def _prediction(job: JobSpec, settings: ClientSettings, place: Origin) -> tuple[bytes, Told]:
    """The first one of the record there, and what it says. Raises InputError where there is none."""
    told_by = prediction_reader(job)
    for each in read_topic(settings, job.predictions.topic):
        told = told_by(each.value)
        if told and told.origin == place and told.version is not None:
            return each.value or b"", told
    topic, partition, offset = place
    raise InputError(f"{job.predictions.topic} has no prediction of {topic} {partition}:{offset}")


def _again(plan: Plan, record: Record, recorded: bytes) -> bytes:
    """What the job says of the record now, after the id of the schema of what it has said.

    Raises InputError or WorkError where it does not.
    """
    params = plan.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    if params.output.schema:
        params = with_id(params, schema_id(recorded))
    [time] = EventTimes(plan.job).of([record])
    scorer = Scorer(params)
    try:
        outcomes = scorer.score(
            Batch(
                Raws(pa.array([record.value], pa.binary())),
                np.array([time]),
                np.zeros(1, dtype=np.bool_),
                np.array([record.partition]),
                np.array([record.offset]),
                np.array([record.timestamp]),
                beside=[Raws(pa.array(each, pa.binary())) for each in beside_values(params.source, [record])],
            )
        )
    finally:
        scorer.close()
    if outcomes.kind[0] != PREDICTED:
        raise WorkError(f"the record is a dead letter now: {plain(str(outcomes.problem[0]))}")
    return bytes(outcomes.prediction[0])


def _without_release(found: Receipt) -> Receipt:
    """A version that is named itself is by no release."""
    rest = tuple(each for each in found.differences if each.field != "release")
    return msgspec.structs.replace(found, differences=rest)


def _how(told: Told) -> dict[str, Any]:
    return {"version": told.version, "digest": told.digest, "release": told.release}


def _tell(job: JobSpec, place: Origin, told: Told, found: Receipt, as_json: bool) -> None:
    topic, partition, offset = place
    if as_json:
        head: dict[str, Any] = {"schema": SCHEMA, "topic": topic, "partition": partition, "offset": offset}
        print_json(head | {"model": job.model.name} | _how(told) | msgspec.to_builtins(found))
        return
    by = f"version {told.version} of {job.model.name} ({told.digest})"
    if found.same:
        say(f"{by} says the same to the last bit: {found.size} bytes, sha256 {found.sha256}")
    elif not found.differences:
        say(f"{by} says the same of all but the release: {found.size} bytes, sha256 {found.sha256}")
    for each in found.differences:
        say(f"{by} says another {each.field}: {each.now!r}; recorded is {each.recorded!r}", error=True)
