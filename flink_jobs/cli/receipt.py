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
from flink_jobs.kafka import Record, read_record, read_topic
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.tables import event_time_field
from flink_jobs.plan.topics import has_stages
from flink_jobs.plan.validate import validated_plan
from flink_jobs.reports.accounts import origin_of_prediction
from flink_jobs.reports.held import event_times
from flink_jobs.reports.receipt import Receipt, compare
from flink_jobs.spec import JobSpec
from flink_jobs.system.log import configure_logging
from flink_jobs.system.terminal import plain, print_json, say
from udfs.records.raws import Raws
from udfs.scoring.batch import Batch
from udfs.scoring.outcomes import PREDICTED
from udfs.scoring.params import ScoreParams
from udfs.scoring.scorer import Scorer

SCHEMA = "tailrace.receipt/1"


class _Told(msgspec.Struct):
    """What a prediction says of how it came to be."""

    version: int
    digest: str = ""
    release: int | None = None


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
    predictions = read_topic(settings, plan.job.predictions.topic)
    recorded = next((each.value for each in predictions if origin_of_prediction(each) == place), None)
    if recorded is None:
        raise InputError(f"{plan.job.predictions.topic} has no prediction of {topic} {partition}:{offset}")
    told = msgspec.json.decode(recorded, type=_Told)
    found = compare(recorded, _again(plan, record))
    if any(each.field == "version" for each in found.differences):
        pinned = make_plan(with_version(plan.job, told.version))
        found = _without_release(compare(recorded, _again(pinned, record)))
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
    if job.predictions.format != "json":
        raise InputError(f"predictions.format must be json for receipts; got {job.predictions.format}")


def _again(plan: Plan, record: Record) -> bytes:
    """What the job says of the record now. Raises InputError or WorkError where it does not."""
    params = plan.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    if params.source.parts:
        raise InputError("records whose key or headers are columns have no receipts")
    when = plan.job.source.event_time
    time = event_times(event_time_field(plan.job), when.max_ahead, plan.job.source.format)(record)
    if time is None:
        raise InputError("the event time of such records cannot be read here")
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


def _tell(job: JobSpec, place: tuple[str, int, int], told: _Told, found: Receipt, as_json: bool) -> None:
    topic, partition, offset = place
    if as_json:
        head: dict[str, Any] = {"schema": SCHEMA, "topic": topic, "partition": partition, "offset": offset}
        print_json(head | {"model": job.model.name} | msgspec.to_builtins(told) | msgspec.to_builtins(found))
        return
    by = f"version {told.version} of {job.model.name} ({told.digest})"
    if found.same:
        say(f"{by} says the same to the last bit: {found.size} bytes, sha256 {found.sha256}")
    elif not found.differences:
        say(f"{by} says the same of all but the release: {found.size} bytes, sha256 {found.sha256}")
    for each in found.differences:
        say(f"{by} says another {each.field}: {each.now!r}; recorded is {each.recorded!r}", error=True)
