"""Reads `tailrace.yaml`: the job files that belong together, and what they leave out.

    jobs: [jobs/*.yaml]
    defaults: {kafka: {brokers: "kafka:9093"}, runtime: {checkpoint: {dir: "s3://bucket/checkpoints"}}}

It stands in the folder of a job file or above, up to the folder of a Git repository. A key of a section is
taken whole, where the job's section does not have it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flink_jobs.errors import Diagnostic, InputError, JobFileError, Location
from flink_jobs.jobfile.profiles import PROJECT_FILE as FILE
from flink_jobs.jobfile.pydantic_errors import diagnostics_in
from flink_jobs.jobfile.reader import Document, Place, read_document
from flink_jobs.spec.paths import PlacedText
from flink_jobs.spec.project import Project
from flink_jobs.spec.secrets import rule_at
from flink_jobs.system.masks import Masks

LARGEST_FILE = 131_072
# Sections of which a job must have one for alerts to be there.
_ALERTED = ("alerts", "drift", "quality", "shadows", "comparisons", "lifecycle")


@dataclass(frozen=True)
class ProjectFile:
    """A project with its file, and how that was written."""

    path: Path
    document: Document
    project: Project

    @property
    def root(self) -> Path:
        return self.path.parent

    def jobs(self) -> list[Path]:
        """Its job files in the order of the patterns. Raises JobFileError for patterns that find none."""
        found: dict[Path, None] = {}
        missing = []
        for index, pattern in enumerate(self.project.jobs):
            files = [each for each in sorted(self.root.glob(pattern)) if each.is_file() and each != self.path]
            found |= dict.fromkeys(files)
            if not files:
                wanted = f"the path of a job file below {self.root}, or a pattern of some"
                missing.append(Diagnostic(("jobs", index), wanted, f"{pattern!r}, which finds none"))
        if missing:
            raise _error(missing, self.document, self.path)
        return list(found)

    def has(self, job: Path) -> bool:
        """Whether a job file belongs to it."""
        resolved = job.resolve()
        return any(
            resolved == each.resolve() for pattern in self.project.jobs for each in self.root.glob(pattern)
        )


def read_project(path: Path, environ: Mapping[str, str] = os.environ) -> ProjectFile:
    """The project of a file, or of the file in a folder.

    Raises InputError when there is none, JobFileError with all of its mistakes.
    """
    path = path / FILE if path.is_dir() else path
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: must be a readable project file; {error}") from None
    if len(text) > LARGEST_FILE:
        raise InputError(f"{path}: must be a file of at most 128 KiB")
    document = read_document(text, environ, lambda place: place[:1] == ("defaults",) and _is_text(place[1:]))
    # Variables of profiles are looked at when one is chosen.
    found = [each for each in document.diagnostics if each.location[:1] != ("profiles",)]
    if not found and not isinstance(document.data, dict):
        found.append(Diagnostic((), "a mapping of keys such as jobs and defaults", "something else"))
    if isinstance(document.data, dict):
        try:
            project = Project.model_validate(document.data)
        except ValidationError as error:
            found += diagnostics_in(error, document.data, document.incomplete, Project)
    if found:
        raise _error(found, document, path)
    return ProjectFile(path.absolute(), document, project)


def find_project(start: Path) -> Path | None:
    """The project file of a folder, or of the nearest one above it in the same repository.

    One of somebody else, as in a folder that all may write to, is passed over: it could name brokers.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file() and _is_ours((folder / FILE).stat().st_uid, start):
            return folder / FILE
        if (folder / ".git").exists():
            return None
    return None


def _is_ours(owner: int, start: Path) -> bool:
    """Whether it belongs to who asks, to the administrator, or to whose folder it is asked for."""
    return owner in (os.getuid(), 0) or (start.exists() and owner == start.stat().st_uid)


def project_of(job: Path, environ: Mapping[str, str]) -> ProjectFile | None:
    """The project that a job file belongs to. Raises like `read_project`."""
    path = find_project(job.parent)
    project = read_project(path, environ) if path else None
    return project if project and project.has(job) else None


def with_defaults(document: Document, project: ProjectFile) -> Document:
    """A job's document with what it leaves out."""
    given = project.document
    if not isinstance(document.data, dict) or not isinstance(given.data, dict):
        return document
    data = dict(document.data)
    places: dict[Location, Place] = {}
    for section, key, value in left_out(data, given.data.get("defaults") or {}):
        data[section] = {**(data.get(section) or {}), key: _placed(value, project.root)}
        for place, (line, column) in given.positions.items():
            if place[1:3] == (section, key) and place[0] == "defaults":
                places[place[1:]] = (str(project.path), line, column)
    return replace(
        document,
        data=data,
        places=places,
        written={**document.written, **_of(given.written, places)},
        variables={**document.variables, **_of(given.variables, places)},
        from_environment=document.from_environment
        | {place[1:] for place in given.from_environment if place[1:] in places},
        masks=Masks({**given.masks.names, **document.masks.names}),
    )


def _of(named: Mapping[Location, str], places: Mapping[Location, Place]) -> dict[Location, str]:
    return {at[1:]: text for at, text in named.items() if at[:1] == ("defaults",) and at[1:] in places}


def left_out(job: dict[str, Any], defaults: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Section, key and value; credentials go with the brokers that they are for."""
    for section, values in defaults.items():
        own = job.get(section, {})
        if own is None:
            own = {}
        if not isinstance(own, dict) or not isinstance(values, dict):
            continue
        if section == "alerts" and not any(job.get(each) is not None for each in _ALERTED):
            continue
        for key, value in values.items():
            if key not in own and not ((section, key) == ("kafka", "security") and "brokers" in own):
                yield section, key, value


def _placed(value: object, root: Path) -> object:
    """With each text knowing the folder from which a path begins."""
    if isinstance(value, dict):
        return {key: _placed(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, root) for item in value]
    return PlacedText(value, str(root)) if isinstance(value, str) else value


def _is_text(location: Location) -> bool:
    return location == ("kafka", "security", "username") or rule_at(location) is not None


def _error(found: list[Diagnostic], document: Document, path: Path) -> JobFileError:
    shown = []
    for each in found:
        line, column = document.position(each.location)
        if each.line is not None:
            line, column = each.line, each.column or 1
        text = document.masks.hide(each.found)
        shown.append(replace(each, file=str(path), line=line, column=column, found=text))
    return JobFileError(sorted(shown, key=lambda each: (each.line or 0, each.column or 0)))
