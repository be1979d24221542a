"""Columns of records' keys and headers in a job on real Kafka: scored by, windowed by, dead with all bytes.

The adversaries are keys and headers that are missing or wrong, and personal data in a key.
"""

from __future__ import annotations

from pathlib import Path

from flink_jobs.kafka import ClientSettings, Message, read_topic
from flink_jobs.testing import Broker, JobHarness
from tests.helpers.samples import write_model

NOW = 1_767_225_600_000
JOB = """
job: keys
source:
  topic: events
  schema: {x: {type: double, required: true}}
  key: {format: json, fields: {card: {type: string, required: true, pii: PII}}}
  headers:
    tenant: {type: string, required: true, values: [a, b], header: x-tenant}
    tries: long
features: {windows: {w: {by: card, over: 1h, select: {spent: sum(x)}}}}
model: {name: m, registry: models, inputs: {x: spent}}
predictions: {include: [tenant, tries], pii_key: "${HASH_KEY}"}
dead_letters: {pii: keep}
runtime: {checkpoint: {interval: 1s}}
"""
KEY = b'{"card":"c1"}'
BAD = {
    "missing": (KEY, [("tries", b"1")]),
    "not_in_values": (KEY, [("x-tenant", b"c")]),
    "wrong_type": (KEY, [("x-tenant", b"a"), ("tries", b"one")]),
    "not_json": (b"c1", [("x-tenant", b"a")]),
    "null": (b'{"card":null}', [("x-tenant", b"a"), ("tries", b"1")]),
}


def test_records_are_scored_by_their_keys_and_headers(
    broker: Broker, kafka: ClientSettings, tmp_path: Path
) -> None:
    write_model(tmp_path / "models", "m", "x")
    good = [
        Message(
            b'{"x":%d}' % n, KEY, (("x-tenant", b"ab"[n % 2 : n % 2 + 1]), ("tries", b"%d" % n)), NOW + n, 0
        )
        for n in range(6)
    ]
    bad = [Message(b'{"x":9}', key, tuple(headers), NOW, 0) for key, headers in BAD.values()]
    job = JOB.replace("PII", "mask")
    environ = {"HASH_KEY": "0123456789abcdef"}
    results = JobHarness(broker).run(job, [*good, *bad], base=tmp_path, environ=environ)
    assert results.accounts() == {"read": 11, "predicted": 6, "dead": 5, "late": 0}
    found = sorted((each.json["tries"], each.json["tenant"], each.key) for each in results.predictions)
    assert found == [(n, "ab"[n % 2], b"***") for n in range(6)], "the label of a key is on predictions' keys"
    dead = {
        dict(each.headers)["tailrace.reason"]: each
        for each in read_topic(kafka, results.job.dead_letters.topic)
    }
    for reason, (key, headers) in BAD.items():
        each = dead[reason.encode()]
        assert (each.key, each.value) == (key, b'{"x":9}')
        assert {*headers} <= {*each.headers}, "all of it is kept"
