"""Tells a catalog of each run of a job by OpenLineage's events: what it reads and writes, by which model.

lineage = lineage_of(os.environ)            # None unless OPENLINEAGE_URL is set
lineage.send(started(plan, job_id))

The event is that of https://openlineage.io/spec/2-0-2/OpenLineage.json. A catalog that does not answer never
stops a job: the log says so.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec
import requests
import structlog

from flink_jobs.errors import InputError
from flink_jobs.plan import Plan
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.plan.prediction_schema import prediction_fields
from flink_jobs.plan.topics import labels_of
from flink_jobs.registry import Registry
from flink_jobs.system.addresses import WEB_URL
from udfs.store.base import without_secrets

SPEC = "https://openlineage.io/spec"
TYPES = {
    "event": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "schema": f"{SPEC}/facets/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "version": f"{SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "jobType": f"{SPEC}/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "errorMessage": f"{SPEC}/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "processing_engine": f"{SPEC}/facets/1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
    "tailrace_model": "urn:tailrace:facet:model:1",
}
_SECONDS = 5.0
_LONGEST_ERROR = 2_000
EventType = Literal["START", "COMPLETE", "ABORT", "FAIL"]
Event = dict[str, Any]


@dataclass(frozen=True)
class Lineage:
    """Where events go: a file, to which a line each is added, or a server with an API key or none."""

    url: str
    namespace: str = "tailrace"
    key: str | None = None

    def send(self, event: Event) -> None:
        """Sends one event; logs a warning where that fails, whatever the reason."""
        event = {**event, "job": {"namespace": self.namespace, **event["job"]}}
        try:
            if self.url.startswith("file://"):
                with Path(unquote(urlsplit(self.url).path)).open("ab") as file:
                    file.write(msgspec.json.encode(event) + b"\n")
            else:
                self._post(event)
        except (OSError, requests.RequestException) as error:
            kind = event["eventType"]
            structlog.get_logger().warning("lineage_not_sent", event_type=kind, reason=str(error))

    def _post(self, event: Event) -> None:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        answer = requests.post(
            self.url,
            data=msgspec.json.encode(event),
            headers=headers,
            timeout=_SECONDS,
            allow_redirects=False,
        )
        if answer.status_code // 100 != 2:
            raise requests.HTTPError(f"{self.url} answered {answer.status_code}")


def lineage_of(environ: Mapping[str, str]) -> Lineage | None:
    """By OpenLineage's own variables; None where it is not asked for. Raises InputError for a wrong URL."""
    url = environ.get("OPENLINEAGE_URL")
    if not url or environ.get("OPENLINEAGE_DISABLED", "").lower() in ("true", "1"):
        return None
    namespace = environ.get("OPENLINEAGE_NAMESPACE") or "tailrace"
    if url.startswith("file:///"):
        return Lineage(url, namespace)
    if "@" in url or "?" in url:
        raise InputError(
            "OPENLINEAGE_URL must have no password and no query; OPENLINEAGE_API_KEY has the key"
        )
    if not re.fullmatch(WEB_URL, url):
        raise InputError(f"OPENLINEAGE_URL must be http(s)://host:port or file:///path; got {url!r}")
    endpoint = environ.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage"
    return Lineage(f"{url.rstrip('/')}/{endpoint}", namespace, environ.get("OPENLINEAGE_API_KEY") or None)


def started(plan: Plan, job_id: str) -> Event:
    """The event of a run that has begun, with all that is read and written."""
    return {
        **_event("START", plan.job.job),
        "run": {"runId": run_id(job_id), "facets": {**_engine(), "tailrace_model": _model_facet(plan)}},
        "inputs": list(_inputs(plan)),
        "outputs": list(_outputs(plan)),
    }


def ended(job: str, job_id: str, kind: EventType, error: str = "", *, at: int | None = None) -> Event:
    """The event of a run that is over since `at`, in ms (None: now); of one that failed, with the reason."""
    facets = {}
    if error:
        text = error[:_LONGEST_ERROR]
        facets["errorMessage"] = _facet("errorMessage", message=text, programmingLanguage="python")
    return {
        **_event(kind, job, at),
        "run": {"runId": run_id(job_id), "facets": facets},
        "inputs": [],
        "outputs": [],
    }


def run_id(job_id: str) -> str:
    """Flink's id of a job, 32 hexadecimal digits, as the UUID that it is.

    >>> run_id("1f2e3d4c5b6a79880102030405060708")
    '1f2e3d4c-5b6a-7988-0102-030405060708'
    """
    return str(uuid.UUID(hex=job_id))


def _event(kind: EventType, job: str, at: int | None = None) -> Event:
    time = datetime.now(UTC) if at is None else datetime.fromtimestamp(at / 1000, UTC)
    how = _facet("jobType", processingType="STREAMING", integration="TAILRACE", jobType="JOB")
    return {
        "eventType": kind,
        "eventTime": time.isoformat(timespec="milliseconds"),
        "producer": _producer(),
        "schemaURL": TYPES["event"],
        "job": {"name": job, "facets": {"jobType": how}},
    }


def _producer() -> str:
    return f"urn:tailrace:{metadata.version('tailrace')}"


def _facet(facet: str, /, **values: object) -> dict[str, object]:
    return {"_producer": _producer(), "_schemaURL": TYPES[facet], **values}


def _engine() -> dict[str, object]:
    flink, own = metadata.version("apache-flink"), metadata.version("tailrace")
    engine = _facet("processing_engine", version=flink, name="Apache Flink", openlineageAdapterVersion=own)
    return {"processing_engine": engine}


def _model_facet(plan: Plan) -> dict[str, object]:
    manifest, release = plan.manifest, plan.release
    return _facet(
        "tailrace_model",
        name=manifest.name,
        version=manifest.version,
        use=str(plan.job.model.use),
        release=release.number,
    )


def _inputs(plan: Plan) -> Iterator[dict[str, object]]:
    """Topics, lookup files and the model's version."""
    job = plan.job
    yield _topic(plan, job.source.topic, {name: each.type for name, each in job.source.columns.items()})
    if labels := labels_of(job):
        yield _topic(plan, labels.topic, {})
    for lookup in job.features.lookups.values():
        if lookup.file:
            yield _placed(str(lookup.file))
        elif lookup.topic:
            yield _topic(plan, lookup.topic, {})
    place = Registry(job.model.registry).location(plan.manifest.name, plan.manifest.version)
    version = _facet("version", datasetVersion=str(plan.manifest.version))
    yield {**_placed(place), "facets": {"version": version}}


def _outputs(plan: Plan) -> Iterator[dict[str, object]]:
    fields = prediction_fields(plan.job, plan.columns, plan.labels, plan.manifest)
    for output in outputs_of(plan.job):
        yield _topic(plan, output.topic(plan.job), fields if output.name == "predictions" else {})


def _topic(plan: Plan, name: str, fields: Mapping[str, str]) -> dict[str, object]:
    first, *_ = str(plan.job.kafka.brokers).split(",")
    found: dict[str, object] = {"namespace": f"kafka://{first.strip()}", "name": name}
    if fields:
        columns = [{"name": column, "type": kind} for column, kind in fields.items()]
        found["facets"] = {"schema": _facet("schema", fields=columns)}
    return found


def _placed(place: str) -> dict[str, object]:
    """A file or folder: of a bucket by its name, else of the file system."""
    place = without_secrets(place)
    parts = urlsplit(place) if "://" in place else None
    if parts is None or parts.scheme == "file":
        return {"namespace": "file", "name": parts.path if parts else place}
    return {"namespace": f"{parts.scheme}://{parts.netloc}", "name": parts.path.lstrip("/")}
