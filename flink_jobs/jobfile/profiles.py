"""Reads profiles, and gives a job what its file leaves out: brokers, security, the registry of models.

    default: dev
    profiles:
      dev: {kafka: {brokers: "localhost:9092"}}
      prod: {kafka: {brokers: "kafka:9093", security: {protocol: SSL, ca_file: ca.pem}}}

The order for each of them: the job file, the profile, the environment. TAILRACE_PROFILE names the profile,
TAILRACE_PROFILES the file, which else is a tailrace.yaml with profiles, or conf/profiles.yaml. Only the
chosen profile is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Diagnostic, InputError, JobFileError, Location
from flink_jobs.jobfile.pydantic_errors import diagnostics_in, value_at
from flink_jobs.jobfile.reader import Document, read_document
from flink_jobs.spec import JobSpec
from flink_jobs.spec.profile import Profile
from flink_jobs.spec.scalars import parse_brokers
from flink_jobs.spec.secrets import rule_at
from flink_jobs.system.masks import PROCESS, Masks
from udfs.suggest import hint

FILE = "conf/profiles.yaml"
PROJECT_FILE = "tailrace.yaml"
LARGEST_FILE = 131_072


@dataclass(frozen=True)
class Chosen:
    """A profile with its name, and what hides the values that it has from the environment."""

    profile: Profile = field(default_factory=Profile)
    name: str | None = None
    masks: Masks = field(default_factory=Masks)


def chosen_profile(environ: Mapping[str, str]) -> Chosen:
    """The profile that is named, or the file's default; an empty one where there is neither.

    Raises InputError for a name that is not there, JobFileError with all mistakes of the profile.
    """
    name, path = environ.get("TAILRACE_PROFILE"), profiles_file(environ)
    if not path.is_file():
        if name or environ.get("TAILRACE_PROFILES"):
            raise InputError(f"{path} must be a file with profiles; got no file at {path.absolute()}")
        return Chosen()
    document = read_document(_text(path), environ, lambda location: _is_text(location[2:]))
    name = name or _default(document, path)
    return _profile(document, name, path) if name else Chosen()


def profiles_file(environ: Mapping[str, str]) -> Path:
    """Where profiles are, if they are anywhere, as seen from where the command runs."""
    if given := environ.get("TAILRACE_PROFILES"):
        return Path(given)
    project = Path(PROJECT_FILE)
    has_profiles = project.is_file() and re.search(r"(?m)^profiles:", _text(project))
    return project if has_profiles else Path(FILE)


def connected(job: JobSpec, environ: Mapping[str, str]) -> JobSpec:
    """The job with what its file leaves out. Raises like `chosen_profile`."""
    chosen = chosen_profile(environ)
    profile, kafka = chosen.profile, job.kafka
    given = kafka.model_fields_set
    changes: dict[str, Any] = {}
    if "brokers" not in given and (brokers := profile.kafka.brokers or brokers_of(environ)):
        changes["brokers"] = brokers
    if not given & {"brokers", "security"} and profile.kafka.security:
        changes["security"] = profile.kafka.security
    update: dict[str, Any] = {"kafka": kafka.model_copy(update=changes)} if changes else {}
    if "registry" not in job.model.model_fields_set and (place := registry_of(chosen, environ)):
        update["model"] = job.model.model_copy(update={"registry": place})
    masks = Masks({**chosen.masks.names, **job.masks.names})
    return job.model_copy(update=update).with_masks(masks)


def brokers_of(environ: Mapping[str, str]) -> str | None:
    """What TAILRACE_BROKERS says. Raises InputError when these are no addresses."""
    given = environ.get("TAILRACE_BROKERS")
    if not given:
        return None
    try:
        return parse_brokers(given)
    except PydanticCustomError:
        raise InputError(
            f"TAILRACE_BROKERS must be host:port, or several with commas between; got {given!r}"
        ) from None


def registry_of(chosen: Chosen, environ: Mapping[str, str]) -> Path | str | None:
    """The models' place by the profile or by TAILRACE_MODELS, whose path begins where the command runs."""
    if chosen.profile.models:
        return chosen.profile.models
    place = environ.get("TAILRACE_MODELS")
    return None if not place else place if "://" in place else Path(place).absolute()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError(f"{path}: must be a file of at most 128 KiB")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: must be a readable file with profiles; {error}") from error


def _default(document: Document, path: Path) -> str | None:
    data = document.data
    found = data.get("default") if isinstance(data, dict) else None
    if found is not None and not isinstance(found, str):
        raise _error([Diagnostic(("default",), "the name of a profile", repr(found))], document, path)
    return found


def _profile(document: Document, name: str, path: Path) -> Chosen:
    data = document.data
    known = data.get("profiles") if isinstance(data, dict) else None
    if not isinstance(known, dict):
        whole = [each for each in document.diagnostics if not each.location]
        missing = Diagnostic((), "a file with a mapping of profiles", "none")
        raise _error(whole or [missing], document, path)
    if name not in known:
        names = sorted(map(str, known))
        raise InputError(f"{path} has no profile {name!r}; it has {', '.join(names)}{hint(name, names)}")
    prefix = ("profiles", name)
    found = [each for each in document.diagnostics if each.location[:2] == prefix]
    profile = None
    try:
        profile = Profile.model_validate(known[name], context={"base": path.absolute().parent})
    except ValidationError as error:
        short = {place[2:] for place in document.incomplete if place[:2] == prefix}
        found += _below(prefix, diagnostics_in(error, known[name], short, Profile))
    found += _literal_secrets(document, prefix, {each.location for each in found})
    if found or profile is None:
        raise _error(found, document, path)
    PROCESS.learn(document.masks)
    return Chosen(profile, name, document.masks)


def _below(prefix: Location, found: list[Diagnostic]) -> list[Diagnostic]:
    return [replace(each, location=(*prefix, *each.location)) for each in found]


def _is_text(location: Location) -> bool:
    names = (("kafka", "security", "username"), ("cluster", "username"))
    return location in names or rule_at(location) is not None


def _literal_secrets(document: Document, prefix: Location, wrong: set[Location]) -> list[Diagnostic]:
    """Secrets that stand in the file itself, and so in its version control."""
    return [
        Diagnostic(location, rule.expected, "text in the file (not shown)")
        for location, written in document.written.items()
        if location[:2] == prefix and location not in wrong
        if (rule := rule_at(location[2:])) and not rule.accepts(written)
        if isinstance(value_at(location, document.data), str)
    ]


def _error(found: list[Diagnostic], document: Document, path: Path) -> JobFileError:
    shown = []
    for each in found:
        line, column = document.position(each.location)
        names = document.names_below(each.location)
        hidden = f"the value of {names} (not shown)" if names and not each.found.startswith("${") else None
        text = hidden or document.masks.hide(each.found)
        shown.append(replace(each, file=str(path), line=each.line or line, column=column, found=text))
    return JobFileError(sorted(shown, key=lambda each: (each.line or 0, each.column or 0)))
