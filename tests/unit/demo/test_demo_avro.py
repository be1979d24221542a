"""The demo's records in Avro: what each should become, the decoders say too; the job file is one.

The adversary is a demo that checks itself: records are read here with what workers use, by no Flink.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from flink_jobs.demo import flights
from flink_jobs.demo.avro import TIME_HEADER, avro_form, job_text, read_avro
from flink_jobs.demo.batch import JOB_FILE, environment
from flink_jobs.demo.records import LATE, PREDICTED, Sent, mixed_stream
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.formats import contract_of
from flink_jobs.spec import JobSpec
from udfs.records.avro import AvroDecoder, writer_schema
from udfs.records.decode import decode_batch
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import NoSuchSchemaError, Schema, SchemaRegistry

URL = "http://127.0.0.1:1/apis/ccompat/v7"


class Registry(SchemaRegistry):
    """In memory: one subject."""

    def __init__(self) -> None:
        super().__init__(RegistryParams(URL))
        self.texts: list[str] = []

    def register(self, subject: str, text: str, kind: str = "AVRO") -> int:
        assert subject == "flights.departed-value"
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1

    def by_id(self, number: int) -> Schema:
        if not 0 < number <= len(self.texts):
            raise NoSuchSchemaError("the registry has no such schema")
        return Schema(self.texts[number - 1])


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="module")
def stream(registry: Registry) -> list[Sent]:
    return mixed_stream(flights.events([7])[:400], form=avro_form(registry, "flights.departed"))


@pytest.fixture(scope="module")
def job() -> JobSpec:
    text = job_text(JOB_FILE.read_text(), URL, JOB_FILE.parent)
    return load_job_text(text, "job.yaml", Path("/elsewhere/demo"), environment("unused:9092"))


def test_the_job_reads_and_writes_avro_with_the_models_of_the_other(job: JobSpec) -> None:
    assert (job.source.format, job.predictions.format) == ("avro", "avro")
    assert job.source.event_time.header == TIME_HEADER
    assert job.model.registry == JOB_FILE.parent.parent / "models"


def test_decoders_find_what_is_wrong_with_each_record(
    registry: Registry, stream: list[Sent], job: JobSpec
) -> None:
    contract = contract_of(job.source)
    cache = SchemaCache(registry.by_id, partial(writer_schema, contract, None), 0.0)
    decoder = AvroDecoder(contract, job.source.max_bytes, cache=cache)
    decoded = decode_batch(decoder, [sent.value for sent in stream])
    found = {row: (each.stage, each.reason) for row, each in decoded.problems.items()}
    wanted = {
        row: sent.expected
        for row, sent in enumerate(stream)
        if sent.expected not in (PREDICTED, LATE)
        and sent.expected[0] != "feature"
        and "time" not in sent.expected[1]
    }
    assert found == wanted
    assert set(Counter(wanted.values()).values()) == {2}
    times = [dict(sent.headers)[TIME_HEADER] for sent in stream if sent.expected == PREDICTED]
    assert times == sorted(times)


def test_what_is_read_back_is_what_was_sent(registry: Registry, stream: list[Sent]) -> None:
    read = read_avro(registry)
    sent = [each.value for each in stream if each.expected == PREDICTED and each.value]
    payloads = flights.payloads(flights.events([7])[:400])
    assert [read(value) for value in sent] == [json.loads(payload) for payload in payloads]
