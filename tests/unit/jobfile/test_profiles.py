"""Where brokers, credentials and models come from: one order, whatever is given where."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.jobfile.profiles import chosen_profile
from flink_jobs.plan.clients import client_settings
from flink_jobs.spec import JobSpec

JOB = "{{job: a, {kafka} source: {{topic: in, schema: {{x: double}}}}, model: {{name: m{registry}}}}}"
PROFILES = """\
default: dev
profiles:
  dev: {kafka: {brokers: "dev:9092"}, models: ../models}
  prod:
    kafka:
      brokers: prod:9093
      security:
        protocol: SASL_SSL
        mechanism: SCRAM-SHA-512
        username: 0042
        password: ${PROD_PASSWORD}
        ca_file: ca.pem
    cluster: {url: https://flink.example.org/team, token: "${FLINK_TOKEN}"}
  login_only: {kafka: {security: {protocol: SSL, ca_file: ca.pem}}}
"""
SECRETS = {"PROD_PASSWORD": "hunter2-prod", "FLINK_TOKEN": "hunter2-token"}


@pytest.fixture
def profiles(tmp_path: Path) -> dict[str, str]:
    """The environment that names the file."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "profiles.yaml").write_text(PROFILES)
    return {"TAILRACE_PROFILES": str(tmp_path / "conf" / "profiles.yaml"), **SECRETS}


def job(environ: dict[str, str], kafka: str = "", registry: str = "") -> JobSpec:
    return load_job_text(JOB.format(kafka=kafka, registry=registry), "a.yaml", Path("/jobs"), environ)


@pytest.mark.parametrize(
    ("kafka", "profile", "brokers", "expected"),
    [
        ("kafka: {brokers: 'mine:1'},", "prod", "env:1", "mine:1"),
        ("", "prod", "env:1", "prod:9093"),
        ("", None, "env:1", "dev:9092"),
        ("", "login_only", "env:1", "env:1"),
        ("", "login_only", None, "localhost:9092"),
        ("", "login_only", "", "localhost:9092"),
    ],
)
def test_brokers_are_those_of_the_job_then_the_profile_then_the_environment(
    profiles: dict[str, str], kafka: str, profile: str | None, brokers: str | None, expected: str
) -> None:
    given = {"TAILRACE_PROFILE": profile, "TAILRACE_BROKERS": brokers}
    environ = profiles | {name: value for name, value in given.items() if value is not None}
    assert job(environ, kafka).kafka.brokers == expected


def test_without_profiles_the_environment_reaches_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert job({"TAILRACE_BROKERS": "env:1, env:2"}).kafka.brokers == "env:1,env:2"
    assert job({}).kafka.brokers == "localhost:9092"
    with pytest.raises(InputError, match="TAILRACE_BROKERS must be host:port"):
        job({"TAILRACE_BROKERS": "env"})


def test_credentials_go_with_the_brokers_that_they_are_for(profiles: dict[str, str]) -> None:
    """A job that names its own brokers must not send the profile's password there."""
    environ = profiles | {"TAILRACE_PROFILE": "prod"}
    found = client_settings(job(environ))
    assert (found.protocol, found.username, found.password) == ("SASL_SSL", "0042", "hunter2-prod")
    assert found.ca_file == Path(profiles["TAILRACE_PROFILES"]).parent / "ca.pem"
    own = client_settings(job(environ, "kafka: {brokers: 'mine:1'},"))
    assert (own.brokers, own.protocol, own.password) == ("mine:1", "PLAINTEXT", None)
    secured = "kafka: {security: {protocol: SSL}},"
    mixed = client_settings(job(environ, secured))
    assert (mixed.brokers, mixed.protocol, mixed.password) == ("prod:9093", "SSL", None)


def test_models_are_those_of_the_job_then_the_profile_then_the_environment(
    profiles: dict[str, str], tmp_path: Path
) -> None:
    environ = profiles | {"TAILRACE_MODELS": "s3://env/models"}
    assert job(environ, registry=", registry: own").model.registry == Path("/jobs/own")
    assert job(environ).model.registry == tmp_path / "models"
    assert job(environ | {"TAILRACE_PROFILE": "prod"}).model.registry == "s3://env/models"
    assert job(profiles | {"TAILRACE_PROFILE": "prod"}).model.registry == Path("/jobs/models")


def test_what_a_profile_hides_stays_hidden_in_a_job(profiles: dict[str, str]) -> None:
    found = job(profiles | {"TAILRACE_PROFILE": "prod"})
    assert "hunter2" not in repr(found) + found.model_dump_json()
    assert found.masks.hide("login with hunter2-prod") == "login with ${PROD_PASSWORD}"


def test_only_the_chosen_profile_needs_its_variables(profiles: dict[str, str]) -> None:
    without = {"TAILRACE_PROFILES": profiles["TAILRACE_PROFILES"]}
    assert chosen_profile(without).name == "dev"
    with pytest.raises(JobFileError) as caught:
        chosen_profile(without | {"TAILRACE_PROFILE": "prod"})
    assert [each.key_path for each in caught.value.diagnostics] == [
        "profiles.prod.kafka.security.password",
        "profiles.prod.cluster.token",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "${PROD_PASSWORD}",
            "hunter2",
            r":11:9: profiles\.prod\.kafka\.security\.password: must be a secret",
        ),
        (
            "brokers: prod:9093",
            "broker: prod:9093",
            r":6:7: .*kafka\.broker: must be a known key",
        ),
        ("SCRAM-SHA-512", "SCRAM-512", r":9:9: .*mechanism: must be one of"),
        ("https://flink", "http://flink", r":13:15: .*cluster\.url: must be https://…, as token is given"),
        ('"${FLINK_TOKEN}"', "hunter2", r":13:52: .*cluster\.token: must be a secret"),
        ("https://flink.", "https://me:hunter2@flink.", r":13:15: .*cluster\.url: must be a URL"),
        ("    kafka:\n", "    kafka: 3\n    x:\n", r":5:5: profiles\.prod\.kafka: must be a mapping; got 3"),
    ],
)
def test_a_mistake_in_a_profile_has_its_place(
    profiles: dict[str, str], old: str, new: str, message: str
) -> None:
    path = Path(profiles["TAILRACE_PROFILES"])
    path.write_text(PROFILES.replace(old, new))
    with pytest.raises(JobFileError, match=message) as caught:
        chosen_profile(profiles | {"TAILRACE_PROFILE": "prod"})
    assert "hunter2" not in str(caught.value)


def test_a_profile_that_is_not_there_is_said(profiles: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no profile 'pord'; it has .*, prod; did you mean 'prod'"):
        chosen_profile(profiles | {"TAILRACE_PROFILE": "pord"})
    with pytest.raises(InputError, match=r"nowhere\.yaml must be a file with profiles; got no file at"):
        chosen_profile({"TAILRACE_PROFILES": "nowhere.yaml"})
    for text, message in (("[1]", "must be a file with a mapping of profiles"), ("a: [", "must be")):
        Path(profiles["TAILRACE_PROFILES"]).write_text(text)
        with pytest.raises(JobFileError, match=message):
            chosen_profile(profiles | {"TAILRACE_PROFILE": "prod"})
