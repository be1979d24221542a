"""Builds OpenLineage's own classes of events that stand on standard input, one a line; runs in .venv-tools.

Exits with an error for a key, a type or a schema that OpenLineage's client does not know, and for an event
that it would write otherwise.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    processing_engine_run,
    schema_dataset,
)
from openlineage.client.serde import Serde

FACETS = {
    "schema": schema_dataset.SchemaDatasetFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
}


def facets(given: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, each in given.items():
        values = {key: value for key, value in each.items() if not key.startswith("_")}
        kind = FACETS.get(name)
        if kind is None:
            assert name.startswith("tailrace_"), name
            made[name] = RunFacet(producer=each["_producer"]).with_additional_properties(**values)
            continue
        if name == "schema":
            values["fields"] = [
                schema_dataset.SchemaDatasetFacetFields(**field) for field in values["fields"]
            ]
        made[name] = kind(producer=each["_producer"], **values)
        assert each["_schemaURL"] == kind._get_schema(), name
    return made


def built(event: dict[str, Any]) -> RunEvent:
    assert event["schemaURL"] == RunEvent._get_schema()
    run, job = event["run"], event["job"]
    kinds = (("inputs", InputDataset), ("outputs", OutputDataset))
    datasets = {
        key: [
            kind(each["namespace"], each["name"], facets=facets(each.get("facets", {})))
            for each in event[key]
        ]
        for key, kind in kinds
    }
    return RunEvent(
        eventType=RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=Run(run["runId"], facets=facets(run["facets"])),
        job=Job(job["namespace"], job["name"], facets=facets(job["facets"])),
        **datasets,
    )


def bare(data: Any) -> Any:
    """Without what is empty, and without the schema of facets that are not OpenLineage's own."""
    if isinstance(data, dict):
        kept = {key: bare(value) for key, value in data.items() if value not in (None, {}, [])}
        if not str(kept.get("_schemaURL", "")).startswith("https://openlineage.io/spec/facets/"):
            kept.pop("_schemaURL", None)
        return kept
    return [bare(item) for item in data] if isinstance(data, list) else data


for line in sys.stdin:
    event = json.loads(line)
    written = json.loads(Serde.to_json(built(event)))
    assert bare(written) == bare(event), f"{bare(written)}\n{bare(event)}"
