"""A broker that asks for Kerberos tickets, MIT's key server, and a client that has none, or another's.

`scripts/kerberos_env` runs it: confluent-kafka of the package index is built without Kerberos.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, Kerberos, Message, create_topics, produce, read_topic
from flink_jobs.system.processes import free_port
from flink_jobs.testing import Broker
from tests.helpers.rights import allow
from tests.helpers.samples import write_model

COMMAND = [sys.executable, "-c", "from flink_jobs.cli import main; main()"]
REALM, HOST = "TAILRACE.TEST", "localhost"
JOB = """
job: rides
kafka: {brokers: "BROKERS", security: {protocol: SASL_PLAINTEXT, mechanism: GSSAPI, kerberos: KERBEROS}}
source: {topic: rides.in, schema: {km: {type: double, required: true}}}
model: {name: tiny, registry: models, inputs: {a: km}}
runtime: {checkpoint: {interval: 1s}}
"""


class KeyServer:
    """MIT's KDC with a realm of its own; what finds it is in the environment, as `krb5.conf` of a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, port = folder, free_port()
        (folder / "krb5.conf").write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\nrdns = false\ndns_canonicalize_hostname = false\n"
            f"udp_preference_limit = 1\ndefault_ccache_name = FILE:{folder}/tickets\n"
            f"[realms]\n{REALM} = {{\n  kdc = 127.0.0.1:{port}\n}}\n"
        )
        (folder / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n"
            f"[realms]\n{REALM} = {{\n  database_name = {folder}/principals\n"
            f"  key_stash_file = {folder}/stash\n}}\n"
        )
        java = f"-Djava.security.krb5.conf={folder}/krb5.conf"
        self.environ = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KAFKA_JVM_PERFORMANCE_OPTS": f"{os.environ.get('KAFKA_JVM_PERFORMANCE_OPTS', '')} {java}",
            "JDK_JAVA_OPTIONS": java,
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        self._run("kdb5_util", "create", "-s", "-P", "of the database")
        process = subprocess.Popen(["/usr/sbin/krb5kdc", "-n"], env={**os.environ, **self.environ})
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def keytab(self, principal: str) -> Path:
        """Makes a principal, whose key nobody knows but this file."""
        path = self.folder / f"{principal.replace('/', '-')}.keytab"
        self._run("kadmin.local", "-q", f"addprinc -randkey {principal}")
        self._run("kadmin.local", "-q", f"ktadd -k {path} {principal}")
        return path

    def _run(self, program: str, *arguments: str) -> None:
        command = [f"/usr/sbin/{program}", *arguments]
        subprocess.run(command, env={**os.environ, **self.environ}, check=True, capture_output=True)


@dataclass(frozen=True)
class Guarded:
    keys: KeyServer
    broker: Broker
    address: str

    def settings(self, principal: str, keytab: Path) -> ClientSettings:
        kerberos = Kerberos(f"{principal}@{REALM}", keytab)
        return ClientSettings(self.address, "SASL_PLAINTEXT", "GSSAPI", kerberos=kerberos)

    @property
    def admin(self) -> ClientSettings:
        return ClientSettings(self.broker.bootstrap)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    keys = KeyServer(tmp_path_factory.mktemp("kdc"))
    plain, controller, tickets = (free_port() for _ in range(3))
    with pytest.MonkeyPatch.context() as patch, keys.running():
        for name, value in keys.environ.items():
            patch.setenv(name, value)
        login = (
            f"com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true "
            f'keyTab="{keys.keytab(f"kafka/{HOST}")}" principal="kafka/{HOST}@{REALM}";'
        )
        listeners = {"PLAINTEXT": f"127.0.0.1:{plain}", "TICKETS": f"{HOST}:{tickets}"}
        own = [f"{name}://{at}" for name, at in listeners.items()]
        settings = {
            "listeners": ",".join([*own, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(own),
            "listener.security.protocol.map": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TICKETS:SASL_PLAINTEXT"
            ),
            "listener.name.tickets.sasl.enabled.mechanisms": "GSSAPI",
            "listener.name.tickets.sasl.kerberos.service.name": "kafka",
            "listener.name.tickets.gssapi.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        broker = Broker(port=plain, controller_port=controller, settings=settings)
        with broker:
            yield Guarded(keys, broker, listeners["TICKETS"])


def test_commands_get_in_with_a_ticket_and_only_with_their_rights(guarded: Guarded) -> None:
    settings = guarded.settings("alice", guarded.keys.keytab("alice"))
    create_topics(guarded.admin, {"seen": 1})
    allow(guarded.admin, "User:alice", ResourceType.TOPIC, "seen", AclOperation.READ, AclOperation.WRITE)
    assert produce(settings, "seen", [Message(b"hello")]) == 1
    assert [each.value for each in read_topic(settings, "seen")] == [b"hello"]
    other = guarded.settings("mallory", guarded.keys.keytab("mallory"))
    with pytest.raises(WorkError, match="mallory"):
        produce(other, "seen", [Message(b"hello")])


def test_without_a_key_nobody_gets_in(guarded: Guarded) -> None:
    """The keytab of another principal, within ten seconds and by name."""
    wrong = guarded.settings("eve", guarded.keys.keytab("trent"))
    begun = time.monotonic()
    with pytest.raises(WorkError, match="eve@TAILRACE"):
        produce(wrong, "seen", [Message(b"hello")])
    assert time.monotonic() - begun < 15


def test_a_job_gets_in_with_a_ticket(guarded: Guarded, tmp_path: Path) -> None:
    """Java's client and librdkafka, by one section of the job file; rights are asked for first."""
    keytab = guarded.keys.keytab("scorer")
    write_model(tmp_path / "models", "tiny", "a")
    create_topics(guarded.admin, {"rides.in": 1})
    produce(guarded.admin, "rides.in", [Message(b'{"km": %d}' % number) for number in range(50)])
    kerberos = f'{{principal: "scorer@{REALM}", keytab: "{keytab}"}}'
    job = JOB.replace("BROKERS", guarded.address).replace("KERBEROS", kerberos)
    (tmp_path / "rides.yaml").write_text(job)

    def run() -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "run", "rides.yaml", "--bounded", "--no-progress"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    refused = run()
    assert refused.returncode == 1
    begin = f"  kafka-acls --bootstrap-server {guarded.address} --add --allow-principal User:scorer "
    lines = [line.removeprefix(begin) for line in refused.stderr.splitlines()[1:]]
    assert lines == [
        "--operation Read --operation Describe --topic rides.in",
        *(
            f"--operation Write --operation Describe --topic rides.{each}"
            for each in ("predictions", "dead-letters", "late")
        ),
        "--operation Read --group rides",
        "--operation Write --operation Describe --transactional-id rides --resource-pattern-type prefixed",
    ], refused.stderr
    topic = [AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE]
    allow(guarded.admin, "User:scorer", ResourceType.TOPIC, "rides", *topic)
    allow(guarded.admin, "User:scorer", ResourceType.GROUP, "rides", AclOperation.READ)
    ids = (AclOperation.WRITE, AclOperation.DESCRIBE)
    allow(guarded.admin, "User:scorer", ResourceType.TRANSACTIONAL_ID, "rides", *ids)
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("predicted 50 ")
