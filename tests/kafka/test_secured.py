"""Brokers that ask for proof: who gets in, and what is said to who does not."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from flink_jobs.errors import WorkError
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    count_committed,
    create_topics,
    list_topics,
    produce,
    read_topic,
)
from flink_jobs.local.flink import SessionCluster
from flink_jobs.run.tokens import java_option
from flink_jobs.system.processes import free_port, wait_until
from tests.helpers.certificates import Authority
from tests.helpers.commands import tailrace_command, tailrace_here
from tests.helpers.drift_records import drift_records
from tests.helpers.gateway import gateway
from tests.helpers.samples import write_model
from tests.helpers.secured import PASSWORD, SECRET, Secured, secured_broker
from udfs.drift.records import encode

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("tls")) as running:
        create_topics(running.admin, {"seen": 1})
        for principal in ("User:alice", "User:CN=scorer", "User:scorer"):
            running.allow(principal, ResourceType.TOPIC, "seen", AclOperation.READ, AclOperation.WRITE)
        yield running


def ways_in(secured: Secured) -> dict[str, ClientSettings]:
    folder = secured.authority.folder
    secured.authority.issue("scorer", password="of the key")
    sealed: dict[str, Any] = {"key_file": folder / "scorer.key", "key_password": "of the key"}
    return {
        "scram": secured.scram("alice"),
        "pem": secured.tls(certificate_file=folder / "scorer.crt", **sealed),
        "pem in one": secured.tls(certificate_file=folder / "scorer.pem", key_password="of the key"),
        "token": secured.token(),
        "pkcs12": secured.tls(keystore_file=folder / "scorer.p12", keystore_password="of the key"),
    }


def test_each_kind_of_proof_writes_and_reads(secured: Secured) -> None:
    for name, settings in ways_in(secured).items():
        assert produce(settings, "seen", [Message(name.encode())]) == 1
    assert [record.value for record in read_topic(secured.scram("alice"), "seen")] == [
        name.encode() for name in ways_in(secured)
    ]
    assert secured.tokens.scopes == {"kafka", "more"}


JOB = """
job: NAME
source: {topic: NAME.in, schema: {km: {type: double, required: true}}}
model: {name: tiny, registry: models, inputs: {a: km}}
runtime: {checkpoint: {interval: 1s}}
"""
DRIFT = encode(drift_records(2)[0]).decode()
RIDES = [Message(b'{"km": %d}' % number) for number in range(50)]


def may_run(secured: Secured, principal: str, job: str) -> None:
    """All rights that a job needs, as docs/connections.md lists them, and no more."""
    topics = [AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE]
    secured.allow(principal, ResourceType.TOPIC, job, *topics)
    secured.allow(principal, ResourceType.GROUP, job, AclOperation.READ)
    ids = (AclOperation.WRITE, AclOperation.DESCRIBE)
    secured.allow(principal, ResourceType.TRANSACTIONAL_ID, job, *ids)


@pytest.fixture
def tailrace(tmp_path: Path) -> Run:
    """Runs a command in a folder with a model and the test's profiles."""
    write_model(tmp_path / "models", "tiny", "a")
    (tmp_path / "drift.jsonl").write_text(DRIFT)
    hidden = {"ALICE": PASSWORD, "KEY_PASSWORD": "of the key", "ID_SECRET": SECRET}

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key != "TAILRACE_BROKERS"}
        if not {"run", "submit"} & {*arguments}:
            return tailrace_here(*arguments, environ={**kept, **hidden, **environ}, folder=tmp_path)
        return subprocess.run(
            [*tailrace_command(), *arguments],
            capture_output=True,
            text=True,
            env={**kept, **hidden, **environ},
            cwd=tmp_path,
            timeout=240,
        )

    return run


def test_each_missing_right_is_a_line_to_run(secured: Secured, tailrace: Run, tmp_path: Path) -> None:
    """A job that lacks rights would restart for ever; the lines, run by an administrator, let it in."""
    secured.add_user("carol")
    create_topics(secured.admin, {"poor.in": 1, "poor.predictions": 1})
    produce(secured.admin, "poor.in", RIDES)
    secured.allow("User:carol", ResourceType.TOPIC, "poor", AclOperation.DESCRIBE, AclOperation.CREATE)
    login = "{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: carol, "
    login += f"password: '${{ALICE}}', ca_file: {secured.authority.file}}}"
    section = f"kafka: {{brokers: '{secured.address('SCRAM')}', security: {login}}}\n"
    (tmp_path / "poor.yaml").write_text(JOB.replace("NAME", "poor") + section)
    begin = f"  kafka-acls --bootstrap-server {secured.address('SCRAM')} --add --allow-principal User:carol "
    done = tailrace("run", "poor.yaml", "--bounded", "--no-progress")
    assert done.returncode == 1
    assert [line.removeprefix(begin) for line in done.stderr.splitlines() if "kafka-acls" in line] == [
        "--operation Read --topic poor.in",
        "--operation Write --topic poor.predictions",
        "--operation Read --group poor",
        "--operation Write --operation Describe --transactional-id poor --resource-pattern-type prefixed",
    ]
    assert "poor.late" not in list_topics(secured.admin), "nothing was made before"
    may_run(secured, "User:carol", "poor")
    done = tailrace("run", "poor.yaml", "--bounded", "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("predicted 50 ")


def test_a_job_and_every_command_use_one_way_in(secured: Secured, tailrace: Run, tmp_path: Path) -> None:
    """By its own file with SCRAM, by a profile with a certificate; each with no right too many."""
    secured.authority.issue("scorer", password="of the key")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "profiles.yaml").write_text(profiles(secured))
    login = "{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: alice, "
    login += f"password: '${{ALICE}}', ca_file: {secured.authority.file}}}"
    kafka = f"kafka: {{brokers: '{secured.address('SCRAM')}', security: {login}}}\n"
    ways: list[tuple[str, str, str, list[str]]] = [
        ("scrammed", kafka, "User:alice", []),
        ("certified", "", "User:CN=scorer", ["--profile", "mtls"]),
        ("admitted", "", "User:scorer", ["--profile", "tokens"]),
    ]
    for name, section, principal, options in ways:
        (tmp_path / f"{name}.yaml").write_text(JOB.replace("NAME", name) + section)
        may_run(secured, principal, name)
        topics = {f"{name}.{each}": 1 for each in ("in", "drift", "comparisons")}
        create_topics(secured.admin, topics)
        produce(secured.admin, f"{name}.in", RIDES)
        done = tailrace(*options, "run", f"{name}.yaml", "--bounded", "--no-progress")
        assert done.returncode == 0, done.stderr
        assert re.match("predicted 50  late 0  dead 0  in", done.stdout)
        where = options or ["--job", f"{name}.yaml"]
        check_commands(tailrace, name, where)


def test_a_job_goes_through_a_gateway_to_a_cluster_with_tokens(
    secured: Secured, tailrace: Run, tmp_path: Path
) -> None:
    """Sent, watched and stopped under a path, with a login and a certificate; without one, not even seen."""
    name = "remote"
    secured.authority.issue("scorer", password="of the key")
    (tmp_path / "job.yaml").write_text(JOB.replace("NAME", name))
    may_run(secured, "User:scorer", name)
    create_topics(secured.admin, {f"{name}.in": 1})
    produce(secured.admin, f"{name}.in", RIDES)
    allowed = java_option(secured.tokens.url)
    session = SessionCluster(tmp_path / "flink", free_port(), 1, "2g", java_options=allowed)
    try:
        list(session.launch())
        session.wait()
        login = f"Bearer {SECRET}"
        with gateway(secured.authority, login, behind=session.url, certificate=True) as url:
            (tmp_path / "profiles.yaml").write_text(profiles(secured) + behind_gateway(secured, url))
            here = {"TAILRACE_PROFILES": "profiles.yaml", "TAILRACE_PROFILE": "tokens"}
            sent = tailrace("submit", "job.yaml", **here)
            assert sent.returncode == 0, sent.stderr
            [running] = json.loads(tailrace("jobs", "--json", **here).stdout)
            assert (running["id"], running["state"]) == (sent.stdout.strip(), "RUNNING")
            assert wait_until(lambda: count_committed(secured.admin, f"{name}.predictions") == 50, 90, 0.5)
            stranger = tailrace("jobs", "--cluster", f"{url}/x", **here)
            assert "that is not valid" in stranger.stderr
            stopped = tailrace("stop", name, **here)
            assert stopped.returncode == 0, stopped.stderr
        written = "".join(path.read_text(errors="replace") for path in (tmp_path / "flink").rglob("*.log"))
        assert SECRET not in written
    finally:
        session.stop()


def behind_gateway(secured: Secured, url: str) -> str:
    folder = secured.authority.folder
    return f"""\
    cluster:
      url: {url}
      ca_file: {secured.authority.file}
      certificate_file: {folder}/scorer.crt
      key_file: {folder}/scorer.key
      key_password: ${{KEY_PASSWORD}}
      token: ${{ID_SECRET}}
"""


def check_commands(tailrace: Run, name: str, where: list[str]) -> None:
    """Those that talk to Kafka; `where` is --job FILE, or --profile NAME, which comes before the command."""
    before, after = ([], where) if where[0] == "--job" else (where, [])
    produced = tailrace(*before, "produce", f"{name}.drift", "drift.jsonl", *after)
    assert produced.returncode == 0, produced.stderr
    read = tailrace(*before, "read", f"{name}.predictions", "--json", *after)
    assert len(read.stdout.splitlines()) == 50, read.stderr
    drift = tailrace(*before, "drift", f"{name}.drift", "--json", *after)
    assert drift.stdout == DRIFT + "\n", drift.stderr
    compare = tailrace(*before, "release", "compare", f"{name}.comparisons", *after)
    assert "holds no comparisons yet" in compare.stderr


def profiles(secured: Secured) -> str:
    folder = secured.authority.folder
    return f"""\
profiles:
  mtls:
    kafka:
      brokers: {secured.address("MTLS")}
      security:
        protocol: SSL
        ca_file: {secured.authority.file}
        certificate_file: {folder}/scorer.crt
        key_file: {folder}/scorer.key
        key_password: ${{KEY_PASSWORD}}
  tokens:
    kafka:
      brokers: {secured.address("TOKENS")}
      security:
        protocol: SASL_SSL
        mechanism: OAUTHBEARER
        ca_file: {secured.authority.file}
        oauth:
          token_url: {secured.tokens.url}
          client_id: scorer
          client_secret: ${{ID_SECRET}}
          scopes: [kafka]
          ca_file: {secured.authority.file}
"""


def test_each_obstacle_has_its_own_words_within_ten_seconds(secured: Secured, tmp_path: Path) -> None:
    """librdkafka says the same of the first three, and nothing of the fourth."""
    stranger = Authority(tmp_path, "stranger")
    stranger.issue("scorer")
    plain, scram, mtls = (secured.address(name) for name in ("PLAINTEXT", "SCRAM", "MTLS"))
    expired, misnamed = secured.address("EXPIRED"), secured.address("MISNAMED")
    cases = {
        "wrong authority": (
            secured.scram("alice", ca_file=stranger.file),
            rf"the certificate of {scram}, issued by CN=ca, comes from none of the authorities in "
            rf"{stranger.file}: kafka.security.ca_file must be the one",
        ),
        "expired": (secured.tls("EXPIRED"), rf"the certificate of {expired} expired on \d{{4}}-\d\d-\d\d"),
        "other host": (
            secured.tls("MISNAMED"),
            rf"the certificate of {misnamed} is for another host than 127.0.0.1; it is for kafka.example.org",
        ),
        "plain to TLS": (
            ClientSettings(scram),
            rf"{scram} speaks TLS: kafka.security.protocol must be SSL; got PLAINTEXT",
        ),
        "TLS to plain": (
            secured.tls("PLAINTEXT"),
            rf"{plain} does not speak TLS: kafka.security.protocol must be PLAINTEXT; got SSL",
        ),
        "no client certificate": (
            secured.tls(),
            rf"{mtls} asks for a client certificate: kafka.security.certificate_file and key_file",
        ),
        "a stranger's certificate": (
            secured.tls(certificate_file=tmp_path / "scorer.pem"),
            rf"{mtls} refuses the client certificate in {tmp_path}/scorer.pem",
        ),
        "wrong password": (
            secured.scram("alice", password="hunter2"),
            rf"{scram} refused the credentials of user 'alice': .*invalid credentials",
        ),
    }
    url = re.escape(secured.tokens.url)
    cases |= {
        "wrong client secret": (
            secured.token("hunter2"),
            rf"no token from {url} for client 'scorer': .*invalid_client",
        ),
        "a token server of another authority": (
            secured.token(ca_file=stranger.file),
            rf"no token from {url} for client 'scorer': .*(certificate|SSL)",
        ),
        "no token server": (
            secured.token(token_url="https://127.0.0.1:1/token"),
            r"no token from https://127.0.0.1:1/token for client 'scorer': .*connect",
        ),
    }
    said = {}
    for name, (settings, message) in cases.items():
        started = time.monotonic()
        with pytest.raises(WorkError, match=message) as caught:
            list_topics(settings)
        assert time.monotonic() - started < 10, name
        said[name] = str(caught.value)
    assert len({re.sub(r"127\.0\.0\.1:\d+", "", text)[:130] for text in said.values()}) == len(cases)
    assert not any("hunter2" in text or "tailrace up" in text for text in said.values())


def test_a_host_without_name_is_said() -> None:
    with pytest.raises(WorkError, match=r"the host name in nowhere\.invalid:9093 is unknown here"):
        list_topics(ClientSettings("nowhere.invalid:9093"))


def test_a_port_that_never_answers_tls_is_an_error_within_ten_seconds(secured: Secured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WorkError, match="no Kafka broker answers"):
            list_topics(ClientSettings(address, protocol="SSL", ca_file=secured.authority.file))
        assert time.monotonic() - started < 10
