"""A thousand people's identities go through all paths of running jobs, to one who reads all that is left.

Each byte of topics, logs, pages, REST answers, checkpoints and savepoints is looked through.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests

from flink_jobs.kafka import (
    ClientSettings,
    Message,
    Record,
    count_committed,
    create_topics,
    produce,
    read_topic,
)
from flink_jobs.local import stack
from flink_jobs.local.state import Stack, load
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.system.processes import free_port, wait_until
from flink_jobs.system.warm_workers import warm_python
from flink_jobs.testing import record
from tests.helpers import models
from tests.helpers.commands import tailrace_command
from tests.helpers.endpoint import Endpoint
from tests.helpers.planted import PLANTED, Left, scanned, told
from tests.helpers.quoting import LIMIT, Quoting
from udfs.records.envelope import key_id
from udfs.records.personal import about_record, open_record, open_value

PEOPLE, NOON, HOUR = 1_000, 1_767_268_800_000, 3_600_000
KEY = bytes(range(32))
SECRETS = {"HASH_KEY": "a key that only the test has", "ENCRYPT_KEY": KEY.hex()}
SOURCE = """
kafka: {brokers: "BROKERS", properties: {compression.type: none}}
source:
  topic: people
  key_pii: hash
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema:
    at: {type: long, required: true}
    amount: {type: double, required: true, range: [0, 1000]}
    email: {type: string, required: true, pii: hash}
    phone: {type: string, pii: mask}
    name: {type: string, pii: drop}
    ssn: {type: string, pii: encrypt}
model: {name: MODEL, registry: models, refresh: 1s, inputs: {who: masked}}
predictions: {include: [email, masked, street, phone, ssn], pii_key: "${HASH_KEY}"}
late: {pii: encrypt}
privacy: {encrypt_key: "${ENCRYPT_KEY}"}
runtime: {python: PYTHON, latency: low, checkpoint: {interval: 1s}}
"""
STREET = "street: {file: people.csv, by: email, select: [street]}"
STATELESS = f"""
job: stateless
features: {{lookups: {{{STREET}}}, derive: {{masked: LOWER(email)}}}}
dead_letters: {{pii: encrypt}}
drift: {{window: 1h, duplicates: true}}
alerts: {{webhook: {{url: "${{WEBHOOK}}", timeout: 2s}}}}
comparisons: {{window: 1h}}
{SOURCE.replace("MODEL", "shadowed")}
"""
WINDOWED = f"""
job: windowed
features:
  windows: {{w: {{by: email, over: 1h, select: {{spent: sum(amount), seen: count(*)}}}}}}
  lookups: {{{STREET}}}
  derive: {{masked: LOWER(email)}}
{SOURCE.replace("MODEL", "alone")}
"""


@dataclass(frozen=True)
class Person:
    number: int
    token: str

    @property
    def email(self) -> str:
        return f"{self.token}@example.org"

    @property
    def fields(self) -> dict[str, Any]:
        token = self.token
        private = {"email": self.email, "phone": f"+{token}", "name": f"n{token}", "ssn": f"s{token}"}
        return {"at": NOON + self.number, "amount": 1.0, **private}

    @property
    def message(self) -> Message:
        """Most is scored; a tenth each breaks the contract, is no JSON, breaks the model, or is late."""
        value: Any = self.fields
        match self.number % 10:
            case 0:
                value |= {"amount": self.email}
            case 1:
                value = f'{{"email": "{self.email}", oops'.encode()
            case 2:
                value |= {"amount": LIMIT + 1}
            case 3:
                value |= {"at": NOON - 5 * HOUR}
        return record(value, key=self.email, headers={"sender": self.email.encode()})


def people() -> list[Person]:
    draw = random.Random(7)
    return [Person(number, f"{PLANTED}{draw.getrandbits(64):016x}") for number in range(PEOPLE)]


def write_models(root: Path) -> None:
    inputs = pa.table({"amount": [1.0, 2.0, 3.0, 4.0], "who": ["a", "b", "a", "b"]})
    targets, scores = [False, False, True, True], pa.table({"score": [0.1, 0.2, 0.8, 0.9]})
    for name in ("shadowed", "alone"):
        models.write(root, name, Quoting(), inputs, targets, "binary", profiled=scores)
    models.write(root, "shadowed", Quoting(always=True), inputs, targets, "binary", promoted=False)
    Releases(Registry(root), "shadowed").shadow((2,), Activation(NOON - HOUR, past=True))


@dataclass(frozen=True)
class Seen:
    """`answers` are those of REST, `sent` what the webhook got, `exported` what dlq printed."""

    folder: Path
    people: list[Person]
    outputs: dict[str, list[Record]]
    answers: dict[str, bytes]
    sent: list[bytes]
    said: list[str]
    ids: dict[str, str]
    exported: str
    left: list[Left]


def tailrace(*arguments: str, environ: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [*tailrace_command(), *arguments], capture_output=True, text=True, timeout=240, env=environ, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("personal")
    ports = zip(("--kafka-port", "--flink-port"), (str(free_port()) for _ in range(2)), strict=True)
    (folder / "tmp").mkdir()
    environ = {**os.environ, **SECRETS, "TMPDIR": str(folder / "tmp")}
    try:
        with Endpoint() as endpoint:
            environ["WEBHOOK"] = endpoint.url
            options = [word for pair in ports for word in pair]
            said = [tailrace("up", *options, "--dir", "stack", environ=environ, cwd=folder)]
            running = load(folder / "stack")
            assert running is not None
            yield _run(folder, running, endpoint, said, environ)
    finally:
        stack.down(folder / "stack", purge=True)


def _run(folder: Path, running: Stack, endpoint: Endpoint, said: list[str], environ: dict[str, str]) -> Seen:
    kafka, found = ClientSettings(running.brokers), people()
    write_models(folder / "models")
    (folder / "people.csv").write_text("email,street\nnobody,Main\n")
    create_topics(kafka, {"people": 1}, {"compression.type": "uncompressed"})
    for name, text in {"stateless": STATELESS, "windowed": WINDOWED}.items():
        (folder / f"{name}.yaml").write_text(
            text.replace("BROKERS", running.brokers).replace("PYTHON", warm_python())
        )
        for command in (
            ["plan"],
            ["plan", "--privacy", "--json"],
            ["submit", "--cluster", running.flink_url],
        ):
            arguments = [command[0], f"{name}.yaml", *command[1:]]
            said.append(tailrace(*arguments, environ=environ, cwd=folder))
    in_time = [each for each in found if each.number % 10 != 3]
    for start in range(0, len(in_time), 90):  # batches enough for a shadow to be switched off
        produce(kafka, "people", [each.message for each in in_time[start : start + 90]])
        time.sleep(0.5)
    late = [each.message for each in found if each.number % 10 == 3]
    # Those that close the windows.
    after = [
        record({**found[4].fields, "at": NOON + hour * HOUR}, key=found[4].email) for hour in range(2, 8)
    ]
    produce(kafka, "people", after + late)
    total = PEOPLE + len(after)

    def finished() -> bool:
        whole = (
            sum(count_committed(kafka, f"{job}.{name}") for name in ("predictions", "dead-letters", "late"))
            for job in ("stateless", "windowed")
        )
        # What came last waits for its windows.
        one, other = whole
        return one == total and other >= total - 1 and count_committed(kafka, "stateless.alerts") > 0

    assert wait_until(finished, 200, 0.5)
    outputs = {topic: list(read_topic(kafka, topic)) for topic in _topics()}
    exported = tailrace("dlq", "stateless.yaml", "export", environ=environ, cwd=folder)
    page = ["drift", "stateless.drift", "--brokers", running.brokers, "--html", "drift.html"]
    said.append(tailrace(*page, environ=environ, cwd=folder))
    answers = dict(_rest(running.flink_url))
    jobs = json.loads(answers["/jobs/overview"])["jobs"]
    for job in ("stateless", "windowed"):
        said.append(tailrace("stop", job, "--cluster", running.flink_url, environ=environ, cwd=folder))
    answers |= {f"stopped {path}": body for path, body in _rest(running.flink_url)}
    stack.down(folder / "stack")
    ids = {job["name"]: job["jid"] for job in jobs}
    left = scanned(folder)
    return Seen(folder, found, outputs, answers, endpoint.bodies, said, ids, exported, left)


def _topics() -> list[str]:
    outputs = ("predictions", "dead-letters", "late")
    reports = ("drift", "alerts", "shadows", "comparisons")
    return [f"{job}.{name}" for job in ("stateless", "windowed") for name in outputs] + [
        f"stateless.{name}" for name in reports
    ]


def _rest(url: str) -> Iterator[tuple[str, bytes]]:
    """What the cluster tells of itself and its jobs to anyone who asks."""
    with requests.Session() as session:
        session.trust_env = False

        def get(path: str) -> bytes:
            return session.get(url + path, timeout=30).content

        paths = [
            "/config",
            "/jobs/overview",
            "/jobmanager/config",
            "/jobmanager/environment",
            "/taskmanagers",
        ]
        paths += [f"/jobmanager/logs/{each['name']}" for each in json.loads(get("/jobmanager/logs"))["logs"]]
        for worker in json.loads(get("/taskmanagers"))["taskmanagers"]:
            place = f"/taskmanagers/{worker['id']}"
            paths += [f"{place}/thread-dump", f"{place}/stdout"]
            paths += [f"{place}/logs/{each['name']}" for each in json.loads(get(f"{place}/logs"))["logs"]]
        for job in json.loads(get("/jobs/overview"))["jobs"]:
            place = f"/jobs/{job['jid']}"
            parts = ("", "/config", "/exceptions", "/checkpoints", "/accumulators", "/plan", "/metrics")
            paths += [place + part for part in parts]
            for vertex in json.loads(get(place))["vertices"]:
                paths += [
                    f"{place}/vertices/{vertex['id']}{part}" for part in ("", "/accumulators", "/metrics")
                ]
        for path in paths:
            yield path, get(path)


def allowed(path: str, seen: Seen) -> bool:
    """The source itself, and what docs/privacy.md says of the state of windows."""
    source = "/people-0/" in path
    state = path.startswith(("stack/flink/checkpoints", "stack/flink/savepoints"))
    return source or (state and _of_windows(path, seen))


def _of_windows(path: str, seen: Seen) -> bool:
    job = seen.ids["windowed"]
    return f"/{job}/" in path or f"savepoint-{job[:6]}-" in path


def test_no_file_of_the_stack_has_a_byte_of_them(seen: Seen) -> None:
    """Topics' segments, logs, pages, checkpoints and savepoints, but for what the policy allows."""
    assert [left for left in seen.left if left.told and not allowed(left.path, seen)] == []
    topics = ("stateless.predictions-0/", "stateless.dead-letters-0/", "windowed.late-0/")
    for kind in (*topics, "savepoints/", ".log", "drift.html"):
        assert any(kind in left.path and left.size for left in seen.left), kind


def test_the_search_would_find_them(seen: Seen) -> None:
    """All are in the source, and those of the last hour in the state of windows, as the docs say."""
    source = [left for left in seen.left if "/people-0/" in left.path and left.path.endswith(".log")]
    assert sum(left.told for left in source) >= 5 * PEOPLE
    assert any(left.told for left in seen.left if "savepoint" in left.path and _of_windows(left.path, seen))


def test_no_record_of_an_output_tells_them(seen: Seen) -> None:
    """Key, value and headers as a reader gets them, whatever the broker does to segments."""
    for topic, records in seen.outputs.items():
        assert records, topic
        for each in records:
            parts = [
                each.key,
                each.value,
                *(part for name, value in each.headers for part in (name.encode(), value)),
            ]
            assert not any(told(part) for part in parts if part), (topic, each.offset)


def test_no_answer_of_the_cluster_and_no_output_of_a_command_tells_them(seen: Seen) -> None:
    assert [path for path, body in seen.answers.items() if told(body)] == []
    assert len(seen.answers) > 40
    assert not any(told(text.encode()) for text in seen.said)


def test_no_key_is_told(seen: Seen) -> None:
    """Neither by the cluster, its logs among them, nor by a command."""
    for secret in SECRETS.values():
        assert [path for path, body in seen.answers.items() if secret.encode() in body] == []
        assert not any(secret in text for text in seen.said)


def test_no_alert_that_was_sent_tells_them(seen: Seen) -> None:
    assert seen.sent
    assert not any(map(told, seen.sent))
    rules = {part["rule"] for body in seen.sent for part in json.loads(body)["parts"]}
    assert "shadow-off" in rules


@pytest.mark.parametrize("job", ["stateless", "windowed"])
def test_each_of_them_has_an_outcome_and_the_label_s_treatment(seen: Seen, job: str) -> None:
    made = [json.loads(each.value or b"") for each in seen.outputs[f"{job}.predictions"]]
    scored = [person for person in seen.people if person.number % 10 > 3]
    assert len({row["email"] for row in made}) == len(scored)
    assert {row["phone"] for row in made} == {"***"}
    opened = {open_value(row["ssn"], {key_id(KEY): KEY}, "ssn") for row in made}
    assert opened == {person.fields["ssn"] for person in scored}
    assert len({each.key for each in seen.outputs[f"{job}.predictions"]}) == len(scored)
    late = [person for person in seen.people if person.number % 10 == 3]
    assert {_opened(each).key for each in seen.outputs[f"{job}.late"]} == {p.email.encode() for p in late}


def test_who_holds_the_key_has_dead_letters_back_to_the_byte(seen: Seen) -> None:
    dead = [_opened(each) for each in seen.outputs["stateless.dead-letters"]]
    lost = [person for person in seen.people if person.number % 10 < 3]
    found = {(each.key, each.value, tuple(map(tuple, each.headers))) for each in dead}
    assert found == {
        (person.message.key, person.message.value, tuple(person.message.headers)) for person in lost
    }
    assert all(each.key is None for each in seen.outputs["stateless.dead-letters"])
    lines = [json.loads(line) for line in seen.exported.splitlines() if line.startswith("{")]
    assert {line["original"]["key"] for line in lines} == {person.email for person in lost}
    assert {line["reason"] for line in lines} == {"wrong_type", "not_json", "model_error"}


def test_without_a_key_only_reason_and_place_are_left(seen: Seen) -> None:
    dead = seen.outputs["windowed.dead-letters"]
    assert len(dead) == PEOPLE * 3 // 10
    for each in dead:
        assert (each.key, each.value) == (None, None)
        headers = dict(each.headers)
        assert "sender" not in headers
        assert headers["tailrace.reason"] in (b"wrong_type", b"not_json", b"model_error")
    messages = [dict(each.headers)["tailrace.message"] for each in dead]
    assert messages.count(b"ValueError") == PEOPLE // 10


def _opened(found: Record) -> Any:
    headers = dict(found.headers)
    assert headers["tailrace.encrypted_with"] == key_id(KEY).encode()
    place = (int(headers[f"tailrace.{name}"] or b"") for name in ("partition", "offset"))
    return open_record(found.value or b"", {key_id(KEY): KEY}, about_record("people", *place))
