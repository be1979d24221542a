"""Makes a job of what is right in a job file with mistakes, so that planning can find the other mistakes.

>>> data = {"job": "a", "source": {"topic": "in", "schema": {"x": "double"}}, "model": {"name": "m", "us": 1}}
>>> job, doubts = partial_job(data, Path("/"), [])
>>> job.model.name, doubts.hides(("model", "use")), doubts.hides(("model", "name"))
('m', True, False)
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flink_jobs.errors import Location
from flink_jobs.jobfile.declared import Outline
from flink_jobs.jobfile.pydantic_errors import existing, meant_key, value_at
from flink_jobs.jobfile.reader import HOLE
from flink_jobs.spec import JobSpec

# Dropping a value can make its section wrong, and that the one around it.
MOST_ATTEMPTS = 10
# Stand where a value must be given, so that the other sections can be read.
_STAND_INS: dict[Location, Any] = {
    ("job",): "job",
    ("source",): {"topic": "source", "schema": {"column": "string"}},
    ("source", "topic"): "source",
    ("source", "schema"): {"column": "string"},
    ("model",): {"name": "model"},
    ("model", "name"): "model",
}
# What is below them is a column.
_OF_COLUMNS: tuple[Location, ...] = (
    ("source", "schema"),
    ("source", "envelope", "fields"),
    ("source", "key", "fields"),
    ("source", "headers"),
    ("features", "derive"),
)


@dataclass(frozen=True)
class Doubts:
    """What planning cannot know because of mistakes that are reported already."""

    locations: frozenset[Location] = frozenset()
    columns: frozenset[str] = frozenset()
    any_column: bool = False

    def hides(self, location: Location) -> bool:
        """Whether there is a mistake at the location, or in a section around it."""
        return any(location[:length] in self.locations for length in range(1, len(location) + 1))

    def below(self, location: Location) -> bool:
        """Whether there is a mistake at the location, around it, or in it."""
        inside = any(each[: len(location)] == location for each in self.locations)
        return inside or self.hides(location)

    def column(self, name: str) -> bool:
        """Whether `name` may be a column although the job does not have it, or has it with another type."""
        return self.any_column or name in self.columns


NO_DOUBTS = Doubts()


def partial_job(data: dict[str, Any], base: Path, known: Iterable[Location]) -> tuple[JobSpec | None, Doubts]:
    """The job without its wrong values, and what that hides; `known` are the mistakes' locations."""
    kept = _without_holes(data)
    locations = set(known)
    for _ in range(MOST_ATTEMPTS):
        try:
            job = JobSpec.model_validate(kept, context={"base": base})
        except ValidationError as error:
            locations |= _drop_all(kept, error)
        else:
            return job, _doubts(data, job, locations)
    return None, Doubts(frozenset(locations), any_column=True)


def _without_holes(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_holes(value) for key, value in data.items() if value is not HOLE}
    if isinstance(data, list):
        return [_without_holes(item) for item in data if item is not HOLE]
    return data


def _drop_all(data: dict[str, Any], error: ValidationError) -> set[Location]:
    """Drops all wrong values, and the sections that miss one; returns what is in doubt for it."""
    details = error.errors(include_url=False)
    wrong = [(detail["type"], existing(detail["loc"], data)) for detail in details]
    doubts = {location for _, location in wrong}
    doubts |= {
        meant for kind, location in wrong if kind == "extra_forbidden" and (meant := meant_key(location))
    }
    dropped: set[Location] = set()
    for kind, location in wrong:
        target = _target(location, kind == "missing")
        if target and not any(target[:length] in dropped for length in range(1, len(target) + 1)):
            _drop(data, target)
            dropped.add(target)
    return doubts | dropped


def _target(location: Location, missing: bool) -> Location:
    """What to drop: the value, else the list or the section that it belongs to."""
    if missing and location not in _STAND_INS:
        location = location[:-1]
    while location and isinstance(location[-1], int):
        location = location[:-1]
    return location


def _drop(data: dict[str, Any], location: Location) -> None:
    parent = value_at(location[:-1], data)
    if not isinstance(parent, dict):
        return
    key = str(location[-1])
    if location in _STAND_INS:
        parent[key] = deepcopy(_STAND_INS[location])
    else:
        parent.pop(key, None)


def _doubts(data: dict[str, Any], job: JobSpec, locations: set[Location]) -> Doubts:
    outline = Outline(data)
    written = {
        *(outline.fields or {}),
        *(result.name for result in outline.results),
        *(outline.lookup_names or {}).values(),
        *(outline.derived or {}),
    }
    read = {
        *job.source.columns,
        *(name for window in job.features.windows.values() for name in window.select),
        *(name for lookup in job.features.lookups.values() for name in lookup.select),
        *job.features.derive,
    }
    wrong = {
        str(location[len(section)])
        for location in locations
        for section in _OF_COLUMNS
        if len(location) > len(section) and location[: len(section)] == section
    }
    wrong |= {result.name for result in outline.results if result.location in locations}
    any_column = outline.columns is None or any(map(_decides_columns, locations))
    return Doubts(frozenset(locations), frozenset((written - read) | wrong), any_column)


def _decides_columns(location: Location) -> bool:
    """Whether a mistake there may change which columns there are."""
    return location == ("score",) or (location[:2] == ("features", "windows") and len(location) <= 3)
