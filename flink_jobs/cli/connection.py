"""How every command reaches Kafka, Flink and the models: one order of precedence for all of them.

An option of the command, the job file, the profile (`tailrace --profile NAME`), the environment, the running
`tailrace up`, localhost.

settings = kafka_settings(brokers, job)     # what --brokers and --job were given
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.errors import InputError
from flink_jobs.local.state import load
from flink_jobs.run.access import Access
from flink_jobs.system.addresses import HOST_AND_PORT, WEB_URL

if TYPE_CHECKING:  # Start-up: a Kafka client, which commands on a cluster do without.
    from flink_jobs.kafka import ClientSettings

LOCAL_BROKERS = "localhost:9092"

Brokers = Annotated[
    str | None,
    typer.Option(
        help="host:port, or several with commas. Default: those of --job, the profile, TAILRACE_BROKERS, "
        "a running `tailrace up`; else localhost:9092.",
        show_default=False,
    ),
]
Job = Annotated[
    Path | None,
    typer.Option("--job", metavar="FILE", help="Reach Kafka as this job file does.", show_default=False),
]


def environment() -> dict[str, str]:
    """The environment, in which a running `tailrace up` counts where nothing is said."""
    environ = dict(os.environ)
    if not environ.get("TAILRACE_BROKERS") and (brokers := _running_brokers()):
        environ["TAILRACE_BROKERS"] = brokers
    return environ


def kafka_settings(brokers: str | None, job: Path | None = None) -> ClientSettings:
    """The brokers and how they know us. Raises InputError for a job file or profile that is wrong."""
    environ = environment()
    if job is None and not _has_profile(environ):
        from flink_jobs.kafka import ClientSettings  # Start-up: a Kafka client.  # noqa: PLC0415

        return ClientSettings(brokers or environ.get("TAILRACE_BROKERS") or LOCAL_BROKERS)
    found = _of_job(job, environ) if job else _of_profile(environ)
    return replace(found, brokers=brokers) if brokers else found


def token_url_of_profile() -> str | None:
    """Where the profile's Kafka clients get tokens, if they do."""
    environ = dict(os.environ)
    if not _has_profile(environ):
        return None
    from flink_jobs.jobfile.profiles import chosen_profile  # Start-up: loads pydantic.  # noqa: PLC0415

    security = chosen_profile(environ).profile.kafka.security
    return security.oauth.token_url if security and security.oauth else None


def flink_access(given: str | None) -> Access:
    """The cluster of an option --cluster, else the profile's, the environment's, or that of `tailrace up`.

    An address that is given gets the profile's credentials only where it is the profile's own. Raises
    InputError where there is none.
    """
    profile = _cluster_of_profile()
    if profile and (given is None or given.rstrip("/") == profile.url.rstrip("/")):
        return profile
    for place, source in ((given, "--cluster"), (os.environ.get("TAILRACE_CLUSTER"), "TAILRACE_CLUSTER")):
        if place:
            return Access(_checked_url(place, source))
    stack = load()
    if stack is None or not stack.runs("jobmanager"):
        raise InputError(
            "no cluster: give --cluster http://host:port, set TAILRACE_CLUSTER, name a profile that has one, "
            "or start one here with `tailrace up`"
        )
    return Access(stack.flink_url)


def _checked_url(place: str, source: str) -> str:
    if re.fullmatch(HOST_AND_PORT, place):
        return f"http://{place.rstrip('/')}"
    if not re.fullmatch(WEB_URL, place):
        shown = re.sub(r"//[^/@]*@", "//***@", place)
        raise InputError(
            f"{source} must be http://host:port, Flink's REST address; got {shown!r}; that of a gateway may "
            "be https://host/path"
        )
    return place.rstrip("/")


def _cluster_of_profile() -> Access | None:
    environ = dict(os.environ)
    if not _has_profile(environ):
        return None
    from flink_jobs.jobfile.profiles import chosen_profile  # Start-up: loads pydantic.  # noqa: PLC0415

    found = chosen_profile(environ).profile.cluster
    if found is None:
        return None
    hidden = {
        name: secret.get_secret_value()
        for name in ("key_password", "password", "token")
        if (secret := getattr(found, name)) is not None
    }
    files = (found.ca_file, found.certificate_file, found.key_file)
    return Access(found.url, *files, username=found.username, **hidden)


def models_place(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """The value of an option --registry: what is given, else the profile's, else the environment's."""
    source = context.get_parameter_source(str(parameter.name))
    given = source is not None and source.name == "COMMANDLINE"
    return value if given else _models_of_profile() or value


def _running_brokers() -> str | None:
    stack = load()
    return stack.brokers if stack and stack.runs("kafka") else None


def _has_profile(environ: dict[str, str]) -> bool:
    """Looked at first, as reading profiles loads much that most commands do without."""
    named = environ.get("TAILRACE_PROFILE") or environ.get("TAILRACE_PROFILES")
    return bool(named) or any(Path(each).is_file() for each in ("conf/profiles.yaml", "tailrace.yaml"))


def _of_job(job: Path, environ: dict[str, str]) -> ClientSettings:
    from flink_jobs.jobfile import load_job  # Start-up: loads pydantic.  # noqa: PLC0415
    from flink_jobs.plan.clients import client_settings  # Start-up: loads pydantic.  # noqa: PLC0415

    return client_settings(load_job(job, environ))


def _of_profile(environ: dict[str, str]) -> ClientSettings:
    from flink_jobs.jobfile.profiles import brokers_of, chosen_profile  # Start-up.  # noqa: PLC0415
    from flink_jobs.plan.clients import settings_of  # Start-up: loads pydantic.  # noqa: PLC0415
    from flink_jobs.spec import Kafka  # Start-up: loads pydantic.  # noqa: PLC0415

    kafka = chosen_profile(environ).profile.kafka
    brokers = kafka.brokers or brokers_of(environ) or LOCAL_BROKERS
    return settings_of(Kafka(brokers=brokers, security=kafka.security))


def _models_of_profile() -> str | None:
    environ = dict(os.environ)
    if not _has_profile(environ):
        return None
    from flink_jobs.jobfile.profiles import chosen_profile  # Start-up: loads pydantic.  # noqa: PLC0415

    models = chosen_profile(environ).profile.models
    return str(models) if models else None
