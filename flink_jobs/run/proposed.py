"""What of a registered schema could be fields of a job: the form that all formats share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flink_jobs.errors import InputError
from flink_jobs.spec import FieldType

MOST_FIELDS = 1_000
# What the path of a job's field may be made of.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_MOST_STEPS = 20


@dataclass(frozen=True)
class Leaf:
    """A place of a schema with nothing below it that could be a field of its own.

    `type` is that of a plain column, `written` how the type of a list, a map, a decimal or bytes is written;
    both are None for what is no column. `found` is what the schema calls it.
    """

    path: tuple[str, ...]
    required: bool
    found: str
    type: FieldType | None = None
    written: str | None = None


@dataclass(frozen=True)
class Proposed:
    """A field for `source.schema`; `type` is None for what is no plain column, and `found` says what it is.

    `written` is how the type of a list, a map, a decimal or bytes is written.
    """

    name: str
    path: str
    type: FieldType | None
    required: bool
    found: str
    written: str | None = None


def as_fields(leaves: Iterable[Leaf]) -> list[Proposed]:
    """The leaves under names that columns may have. Raises InputError for more than a job may have."""
    found: list[Proposed] = []
    taken: set[str] = set()
    for leaf in leaves:
        name = _free("_".join(leaf.path), taken)
        taken.add(name)
        path = ".".join(leaf.path)
        if len(leaf.path) > _MOST_STEPS or not all(map(is_name, leaf.path)):
            found.append(Proposed(name, path, None, leaf.required, f"{leaf.found} of such a name"))
        else:
            found.append(Proposed(name, path, leaf.type, leaf.required, leaf.found, leaf.written))
        if len(found) > MOST_FIELDS:
            raise InputError(f"the schema must have at most {MOST_FIELDS} fields; got more")
    return found


def is_name(text: str) -> bool:
    """Whether it may be a step of a path."""
    return _NAME.fullmatch(text) is not None


def list_of(kind: str | None) -> str | None:
    """How a list of values of this type is written; None for what cannot be read."""
    return f"list<{kind}>" if kind else None


def list_of_objects(kinds: Mapping[str, str | None]) -> str | None:
    """How a list of objects is written, of those members that can be read; None if none can."""
    members = ", ".join(f"{name}: {kind}" for name, kind in kinds.items() if kind)
    return list_of(f"{{{members}}}" if members else None)


def map_of(kind: str | None) -> str | None:
    """How a map to values of this type is written; None for what cannot be read."""
    return f"map<string, {kind}>" if kind else None


def _free(name: str, taken: set[str]) -> str:
    """A name that a column may have, and no other has."""
    usable = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "field"
    usable = f"field_{usable}" if usable[0].isdigit() or usable == "event_time" else usable
    number, free = 1, usable
    while free in taken:
        number += 1
        free = f"{usable}_{number}"
    return free
