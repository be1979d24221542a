"""What is secret: one table for loader, JSON Schema and docs; and nothing planted is ever shown."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog

from flink_jobs import cli
from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import describe, make_plan
from flink_jobs.spec import JobSpec
from flink_jobs.spec.json_schema import job_schema
from flink_jobs.spec.secrets import SCHEMES, redact, rule_at
from flink_jobs.system.log import configure_logging
from flink_jobs.system.masks import PROCESS
from tests.helpers.samples import write_model

ROOT = Path(__file__).parents[3]
PLANTED = "xK9-planted-q7Zt"
SHORT = "hunter2"
PASSWORD = ("kafka", "security", "password")
HEADER = ("alerts", "webhook", "headers", "Authorization")
URL = ("alerts", "webhook", "url")
JAAS = ("kafka", "properties", "sasl.jaas.config")
JAVA = ("runtime", "flink", "env.java.opts.taskmanager")
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
VALIDATOR = jsonschema.Draft202012Validator(job_schema())


def flink(name: str) -> tuple[str, ...]:
    return ("runtime", "flink", name)


def kafka(name: str) -> tuple[str, ...]:
    return ("kafka", "properties", name)


Case = tuple[tuple[str, ...], Any, bool]
SECURITY = ("kafka", "security")
REGISTRIES = ("source", "predictions")
OWN = [
    PASSWORD,
    ("predictions", "pii_key"),
    HEADER,
    URL,
    ("alerts", "webhook", "routing_key"),
    (*SECURITY, "key_password"),
    (*SECURITY, "keystore_password"),
    (*SECURITY, "oauth", "client_secret"),
    *(
        (section, "schema_registry", key)
        for section in REGISTRIES
        for key in ("password", "token", "key_password")
    ),
]
OPTIONS = [
    flink("s3.access-key"),
    flink("s3.secret-key"),
    flink("S3.SECRET-KEY"),
    flink("fs.s3a.access.key"),
    flink("fs.azure.account.key.main.blob.core.windows.net"),
    flink("fs.azure.sas.container"),
    flink("fs.oss.accessKeySecret"),
    flink("fs.gs.auth.service.account.private.key"),
    flink("metrics.reporter.dd.apikey"),
    flink("metrics.reporter.x.api-key"),
    flink("metrics.reporter.otel.http-headers"),
    flink("security.ssl.rest.key-password"),
    flink("security.ssl.rest.keystore-password"),
    flink("high-availability.zookeeper.client.authorization"),
    flink("zookeeper.auth"),
    flink("a.service-key"),
    flink("rest.basic-auth"),
    flink("a.auth-params"),
    flink("my.token"),
    kafka("ssl.key.password"),
    kafka("ssl.keystore.password"),
    kafka("ssl.truststore.password"),
    kafka("ssl.keystore.key"),
    kafka("sasl.oauthbearer.assertion.private.key.passphrase"),
    kafka("sasl.oauthbearer.client.credentials.client.secret"),
    kafka("schema.registry.basic.auth.user.info"),
    kafka("bearer.auth.token"),
]
PUBLIC_OPTIONS = [
    (flink("taskmanager.numberOfTaskSlots"), 2),
    (flink("security.delegation.tokens.enabled"), True),
    (flink("fs.s3a.aws.credentials.provider"), "com.example.Provider"),
    (flink("kubernetes.secrets"), "my-secret:/etc/keys"),
    (flink("fs.azure.account.keyprovider.main.blob.core.windows.net"), "com.example.Provider"),
    (flink("my.secret.enabled"), "true"),
    (flink("execution.checkpointing.dir"), "s3://bucket/state"),
    (kafka("sasl.oauthbearer.token.endpoint.url"), "https://login.example.org/token"),
    (kafka("sasl.oauthbearer.client.credentials.client.id"), "me"),
    (kafka("basic.auth.credentials.source"), "USER_INFO"),
    (kafka("ssl.truststore.certificates"), "-----BEGIN CERTIFICATE-----"),
    (kafka("ssl.keystore.location"), "/etc/keys"),
    (kafka("linger.ms"), 5),
]
COMPOSED: list[Case] = [
    (JAAS, f'{LOGIN} required username="me" password="${{X}}";', True),
    (JAAS, f"{LOGIN} required username=me password=${{X}} ;", True),
    (JAAS, f'{LOGIN} required username="me" password="{SHORT}";', False),
    (JAAS, f'{LOGIN} required username="me" PassWord = {SHORT};', False),
    (JAAS, f'{LOGIN} required username="me" password="${{X}}{SHORT}";', False),
    (JAAS, f'{LOGIN} required username="me" password="${{X:-{SHORT}}}";', False),
    (JAAS, f'{LOGIN} required user_admin="{SHORT}";', False),
    (JAAS, 'a.Krb5LoginModule required useKeyTab=true keyTab="/etc/k" principal="me@X";', True),
    (JAAS, f'{LOGIN} required tokenauth="true" password="${{X}}";', True),
    (JAAS, "${X}", True),
    (JAAS, SHORT, False),
    (JAAS, 12345, False),
    (JAVA, "-XX:+UseG1GC -Xmx2g", True),
    (JAVA, "-Djavax.net.ssl.keyStorePassword=${X} -Xmx2g", True),
    (JAVA, f"-Xmx2g -Djavax.net.ssl.keyStorePassword={SHORT}", False),
    (JAVA, f"-Dmy.token=${{X:-{SHORT}}}", False),
    (JAVA, f"-Dmy.token=${{X}}{SHORT}", False),
    (JAVA, "${X}", True),
]


def cases() -> list[Case]:
    everywhere = [("${X}", True), (SHORT, False), (f"${{X:-{SHORT}}}", False), (f"{SHORT}${{X}}", False)]
    everywhere += [(f"${{X}}{SHORT}", False), (f"${{X}} {SHORT}", False), (f"$${SHORT}", False)]
    found: list[Case] = [(key, text, good) for key in [*OWN, *OPTIONS[:2]] for text, good in everywhere]
    found += [(key, text, good) for key in OPTIONS[2:] for text, good in everywhere[:3]]
    found += [(key, 12345, False) for key in [PASSWORD, HEADER, *OPTIONS[:2]]]
    found += [(key, "${X}${Y}", True) for key in [PASSWORD, HEADER, *OPTIONS[:2]]]
    found += [(key, {"file": "secret"}, True) for key in OWN[:3]]
    found += [(HEADER, f"{scheme} ${{X}}", True) for scheme in SCHEMES]
    found += [(HEADER, f"Bearer {SHORT}", False), (HEADER, f"{SHORT} ${{X}}", False)]
    found += [(HEADER, f"Bearer {SHORT}${{X}}", False), (HEADER, f"Bearer ${{X:-{SHORT}}}", False)]
    found += [(PASSWORD, "Bearer ${X}", False), (kafka("basic.auth.user.info"), "${X}:${Y}", True)]
    found += [(kafka("basic.auth.user.info"), "me:${Y}", False)]
    found += [
        (URL, f"https://hooks.example.org/{SHORT}", False),
        (URL, "https://hooks.example.org/${Y}", True),
    ]
    found += [(URL, f"https://hooks.example.org/{SHORT}/${{Y}}", False)]
    found += [(URL, f"https://me:{SHORT}@hooks.example.org/${{Y}}", False)]
    return [*found, *COMPOSED, *((key, value, True) for key, value in PUBLIC_OPTIONS)]


def documented() -> list[Case]:
    text = (ROOT / "docs" / "job-file.md").read_text()
    section = text.split("## Secrets")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| `([^`]+)` \| (accepted|refused) \|$", section)
    return [(location(key), written, verdict == "accepted") for key, written, verdict in rows]


def location(dotted: str) -> tuple[str, ...]:
    parts = dotted.split(".")
    depth = 2 if parts[0] in ("kafka", "runtime") else len(parts) - 1
    return (*parts[:depth], ".".join(parts[depth:]))


def data_with(key: tuple[str, ...], value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "job": "small",
        "source": {"topic": "in", "schema": {"x": "double"}},
        "model": {"name": "tiny"},
    }
    if key[:2] == ("kafka", "security"):
        security: dict[str, Any] = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "me"}
        if key != PASSWORD:
            security |= {"password": "${X}", "certificate_file": "c"}
        if key[2] == "keystore_password":
            security["keystore_file"] = security.pop("certificate_file")
        if key[2] == "oauth":
            security = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}
            security["oauth"] = {"token_url": "https://login/token", "client_id": "me"}
        data["kafka"] = {"security": security}
    if key[0] in REGISTRIES and key[1] == "schema_registry":
        access: dict[str, Any] = {"url": "https://registry"}
        access |= {"username": "me"} if key[2] == "password" else {}
        access |= {"certificate_file": "c"} if key[2] == "key_password" else {}
        section = data.setdefault(key[0], {})
        section |= {"format": "avro", "schema_registry": access}
    if key[0] == "alerts":
        data |= {"drift": {}, "alerts": {"webhook": {"url": "${ADDRESS}"}}}
    node = data
    for part in key[:-1]:
        node = node.setdefault(part, {})
    node[key[-1]] = value
    return data


def environ(key: tuple[str, ...]) -> dict[str, str]:
    x = "https://hooks.example.org/a" if key == URL else PLANTED
    names = ("KAFKA_PASSWORD", "TOKEN", "ALERTS_PATH", "REGISTRY_USER", "REGISTRY_PASSWORD", "STORE_PASSWORD")
    return dict.fromkeys(names, PLANTED) | {"ADDRESS": "https://hooks.example.org/b", "X": x, "Y": "second"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "secret").write_text(PLANTED)
    return folder


@pytest.mark.parametrize(("key", "written", "accepted"), [*cases(), *documented()], ids=str)
def test_loader_schema_and_docs_agree(key: tuple[str, ...], written: Any, accepted: bool, base: Path) -> None:
    data = data_with(key, written)
    assert VALIDATOR.is_valid(data) == accepted
    problems: tuple[str, ...] = ()
    try:
        load_job_text(json.dumps(data), "job.yaml", base, environ(key))
    except JobFileError as error:
        problems = tuple(map(str, error.diagnostics))
    assert (problems == ()) == accepted, problems
    assert not any(secret in problem for problem in problems for secret in (SHORT, "12345", PLANTED))


def test_the_docs_show_what_is_accepted_and_what_is_refused() -> None:
    verdicts = [accepted for _, _, accepted in documented()]
    assert verdicts.count(True) >= 6
    assert verdicts.count(False) >= 7


@pytest.mark.parametrize("written", ["${X}", "'${X}'"])
def test_a_secret_of_digits_stays_text_under_every_secret_key(written: str, base: Path) -> None:
    for key in (HEADER, flink("s3.secret-key"), kafka("ssl.key.password")):
        text = "\n".join(f"{'  ' * depth}{part}:" for depth, part in enumerate(key)) + f" {written}\n"
        text += "job: j\nsource: {topic: in, schema: {x: double}}\nmodel: {name: m}\ndrift: {}\n"
        text = text.replace("    headers:", '    url: "${ADDRESS}"\n    headers:')
        job = load_job_text(text, "job.yaml", base, {"X": "0042", "ADDRESS": "http://a"})
        found = job.alerts.webhook.headers if job.alerts and job.alerts.webhook else None
        value = found["Authorization"].get_secret_value() if found else None
        assert value or {**job.runtime.flink, **job.kafka.properties}[key[-1]] == "0042"
        assert "0042" not in repr(job) + job.model_dump_json()


@pytest.mark.parametrize("name", [key[-1] for key in OPTIONS])
def test_every_secret_option_is_hidden_where_options_are_shown(name: str) -> None:
    assert redact({name: PLANTED}) == {name: "***"}


def test_what_flink_hides_is_hidden_here() -> None:
    """The list of GlobalConfiguration in Flink 2.3, all of it."""
    words = "password secret fs.azure.account.key apikey api-key auth-params service-key token"
    for word in f"{words} basic-auth jaas.config http-headers".split():
        assert redact({f"my.{word}.x": PLANTED}) == {f"my.{word}.x": "***"}
        assert rule_at(flink(f"my.{word}.x")) is not None
    assert redact({"env.java.opts.all": PLANTED}) == {"env.java.opts.all": "***"}
    assert redact({"execution.checkpointing.dir": f"s3://me:{PLANTED}@b/c?secret_key={PLANTED}"}) == {
        "execution.checkpointing.dir": "s3://b/c"
    }


JOB = """\
job: JOBNAME
kafka:
  brokers: BROKERS
  properties: {client.rack: "RACK"}
source:
  topic: TOPIC
  event_time: {header: "HEADER"}
  schema: {a: {type: double, required: true}, b: {type: string, values: ["VALUE"]}}
features:
  derive: {c: "CASE WHEN b = 'LITERAL' THEN 1.5 ELSE a END"}
model: {name: tiny, registry: "REGISTRY", inputs: {a: a, b: c}}
predictions: {topic: "OUT"}
runtime:
  checkpoint: {dir: "DIR"}
  flink: {my.option: "OPTION"}
"""
GOOD = {
    "JOBNAME": "good",
    "BROKERS": "kafka:9092",
    "RACK": "r",
    "TOPIC": "in",
    "HEADER": "at",
    "VALUE": "v",
    "LITERAL": "l",
    "REGISTRY": ".",
    "OUT": "out",
    "DIR": "state",
    "OPTION": "o",
}
# Written by mistake, each is right as far as its form goes, or wrong.
PLANTS = {
    "JOBNAME": "xk9planted",
    "BROKERS": "xk9-planted.db:5432",
    "DIR": f"/secret/{PLANTED}",
    "REGISTRY": None,
}


def job_text(**changes: str) -> str:
    text = JOB
    for name, value in (GOOD | changes).items():
        text = re.sub(rf"\b{name}\b", value.replace("\\", r"\\"), text)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    write_model(made, "tiny", "a", "b")
    return made


def everything_shown(job: JobSpec) -> str:
    plan = make_plan(job)
    return (
        describe.as_text(plan)
        + describe.as_sql(plan)
        + json.dumps(describe.as_data(plan))
        + repr(plan.webhook)
    )


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"REGISTRY"}))
@pytest.mark.parametrize("form", ["${DB_PASSWORD}", "pre-${DB_PASSWORD}"])
def test_a_planted_value_is_shown_by_its_name_or_refused_by_it(name: str, form: str, folder: Path) -> None:
    secret = PLANTS.get(name, PLANTED) or PLANTED
    text = job_text(**{name: form})
    try:
        job = load_job_text(text, "job.yaml", folder, {"DB_PASSWORD": secret})
    except JobFileError as error:
        shown = str(error)
        assert "DB_PASSWORD" in shown
    else:
        shown = everything_shown(job)
        assert name == "VALUE" or "DB_PASSWORD" in shown
    assert secret not in shown


@pytest.mark.parametrize(
    "secret", [PLANTED, SHORT, 'it\'s \\ "x" \n \u00e9', "a" * 300, "p w:d@h/?q", "4821", "0x1F", "12"]
)
@pytest.mark.parametrize("name", sorted(GOOD))
def test_no_error_holds_what_the_environment_gave(name: str, secret: str, folder: Path) -> None:
    """Whatever its form: quoted, cut, escaped or numeric."""
    try:
        load_job_text(job_text(**{name: "bad ${X} \u00a7"}), "job.yaml", folder, {"X": secret})
    except JobFileError as error:
        found = str(error).replace("job.yaml:12", "")
        assert secret not in found
        assert repr(secret)[1:-1] not in found
        assert secret[:30] not in found or len(secret) < 4


def test_one_value_in_two_keys_is_not_shown_by_the_other(folder: Path) -> None:
    text = job_text(TOPIC="${X}", OUT="${X}")
    with pytest.raises(JobFileError) as caught:
        load_job_text(text, "job.yaml", folder, {"X": PLANTED})
    assert PLANTED not in str(caught.value)
    assert "${X}" in str(caught.value)


def test_a_literal_beside_a_variable_is_said_to_be_one(base: Path) -> None:
    data = data_with(HEADER, "Bearer abc${X}")
    with pytest.raises(JobFileError, match=r"got text in the job file \(not shown\)"):
        load_job_text(json.dumps(data), "job.yaml", base, environ(HEADER))


COMMANDS = [("validate",), ("plan",), ("plan", "--sql"), ("plan", "--json")]
KEYS = ["BROKERS", "TOPIC", "OUT", "OPTION", "REGISTRY", "HEADER", "LITERAL"]
NOWHERE = "127.0.0.1:1"


def printed(
    command: tuple[str, ...],
    key: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> str:
    """All that a command prints about a job whose `key` holds a secret by mistake, without a sign of it."""
    secret = NOWHERE if key == "BROKERS" else PLANTED
    (folder / "job.yaml").write_text(job_text(**({"BROKERS": NOWHERE} | {key: "${DB_PASSWORD}"})))
    monkeypatch.setenv("DB_PASSWORD", secret)
    monkeypatch.setattr(sys, "argv", ["tailrace", "--debug", *command, str(folder / "job.yaml")])
    with pytest.raises(SystemExit):
        cli.main()
    captured = capfd.readouterr()
    shown = captured.out + captured.err
    assert secret not in shown
    return shown


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("key", KEYS)
def test_who_reads_what_commands_print_finds_no_secret(
    command: tuple[str, ...],
    key: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shown = printed(command, key, folder, monkeypatch, capfd)
    assert "DB_PASSWORD" in shown or command != ("plan", "--json")


def test_a_broker_that_does_not_answer_is_named_by_its_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "${DB_PASSWORD}" in printed(("run",), "BROKERS", folder, monkeypatch, capfd)


def test_log_events_hold_no_secret_either(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("json", "text"):
        with PROCESS.learning():
            configure_logging({"TAILRACE_LOG": form})
            load_job_text(job_text(OUT="${X}"), "job.yaml", folder, {"X": PLANTED})
            try:
                raise ValueError(f"no {PLANTED}")
            except ValueError:
                structlog.get_logger().exception("topic.created", topic=PLANTED, topics=[{"name": PLANTED}])
        shown = capsys.readouterr().err
        assert PLANTED not in shown
        assert shown.count("${X}") >= 3
    structlog.reset_defaults()
