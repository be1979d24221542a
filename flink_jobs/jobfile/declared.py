"""Reads the names that a job file declares, from raw data that may have mistakes in it.

>>> Outline({"source": {"schema": {"origin": "string"}}}).columns
['origin']
>>> Outline({"source": {"schema": "origin"}}).columns is None
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from flink_jobs.errors import Location
from flink_jobs.spec import JobSpec
from flink_jobs.spec.aggregates import Aggregate, parse_aggregate
from flink_jobs.spec.contract import FieldType
from flink_jobs.spec.lists import WRITTEN_DECIMAL
from flink_jobs.spec.section import known_keys
from udfs.records.personal import Treatment
from udfs.windows.params import COMPLETE

RawMapping = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A column that a window selects; the aggregate is None if it is wrong."""

    name: str
    window: str
    aggregate: Aggregate | None

    @property
    def location(self) -> Location:
        return ("features", "windows", self.window, "select", self.name)


@dataclass(frozen=True)
class Outline:
    """What a raw job file declares; None stands for what cannot be known because of another mistake."""

    data: RawMapping

    @cached_property
    def schema(self) -> RawMapping | None:
        """Fields of the records' values."""
        return mapping(mapping(self.data, "source"), "schema") or None

    @cached_property
    def fields(self) -> RawMapping | None:
        """Those that are columns, with those of keys and headers."""
        if self.declared is None:
            return None
        return {str(location[-1]): raw for location, raw in self.declared.items() if not _is_list(raw)}

    @cached_property
    def of_values(self) -> list[str]:
        """Fields of the records' values, with those of an envelope."""
        envelope = mapping(mapping(mapping(self.data, "source"), "envelope"), "fields")
        return [*(self.schema or {}), *(envelope or {})]

    @cached_property
    def declared(self) -> dict[Location, Any] | None:
        """What each field is declared to be, by its location."""
        source = mapping(self.data, "source") or {}
        if self.schema is None or any(mapping(source, key) is None for key in {"key", "headers"} & {*source}):
            return None
        key = mapping(mapping(source, "key"), "fields")
        envelope = mapping(mapping(source, "envelope"), "fields")
        if "key" in source and key is None:
            return None
        return {
            **{("source", "schema", name): raw for name, raw in self.schema.items()},
            **{("source", "envelope", "fields", name): raw for name, raw in (envelope or {}).items()},
            **{("source", "key", "fields", name): raw for name, raw in (key or {}).items()},
            **{("source", "headers", name): raw for name, raw in (mapping(source, "headers") or {}).items()},
        }

    @cached_property
    def windows(self) -> RawMapping | None:
        return self._part_of_features("windows")

    @cached_property
    def lookups(self) -> RawMapping | None:
        return self._part_of_features("lookups")

    @cached_property
    def derived(self) -> RawMapping | None:
        return self._part_of_features("derive")

    @cached_property
    def per_window(self) -> bool:
        return bool(self.data.get("score") == "per_window")

    @cached_property
    def results(self) -> list[Result]:
        return [
            Result(name, window, _aggregate(text))
            for window, raw in (self.windows or {}).items()
            for name, text in (mapping(raw, "select") or {}).items()
        ]

    @cached_property
    def window_names_known(self) -> bool:
        windows = self.windows
        return windows is not None and all(mapping(raw, "select") is not None for raw in windows.values())

    @cached_property
    def lookup_names(self) -> dict[Location, str] | None:
        """Each column taken from a lookup table, with its location."""
        if self.lookups is None:
            return None
        found: dict[Location, str] = {}
        for lookup, raw in self.lookups.items():
            select = raw.get("select") if isinstance(raw, dict) else None
            if not isinstance(select, dict | list):
                return None
            for index, name in enumerate(select):
                location = ("features", "lookups", lookup, "select")
                if isinstance(select, dict):
                    found[*location, name] = name
                elif isinstance(name, str) and name not in select[:index]:
                    found[*location, index] = name
        return found

    @cached_property
    def window_keys(self) -> list[str]:
        return [name for raw in (self.windows or {}).values() for _, name in texts(raw, "by", ())]

    @cached_property
    def columns(self) -> list[str] | None:
        """All that a prediction can include: in a job that scores windows, a field only if it is a key."""
        if self.fields is None or not self.window_names_known or None in (self.lookup_names, self.derived):
            return None
        fields = [name for name in self.fields if not self.per_window or name in self.window_keys]
        results = [result.name for result in self.results]
        own = [COMPLETE] if results and not self.per_window else []
        return [*fields, *results, *(self.lookup_names or {}).values(), *(self.derived or {}), *own]

    def field_type(self, name: str) -> FieldType | None:
        raw = (self.fields or {}).get(name)
        declared = raw.get("type") if isinstance(raw, dict) else raw
        if isinstance(declared, str) and re.match(WRITTEN_DECIMAL, declared):
            return "decimal"
        return declared if declared in get_args(FieldType) else None

    def pii(self, name: str) -> str | None:
        raw = (self.fields or {}).get(name)
        pii = raw.get("pii") if isinstance(raw, dict) else None
        return pii if pii in get_args(Treatment) else None

    def _part_of_features(self, key: str) -> RawMapping | None:
        return _optional(_optional(self.data, (), "features"), ("features",), key)


def _is_list(raw: object) -> bool:
    declared = raw.get("type") if isinstance(raw, dict) else raw
    return isinstance(declared, str) and declared.strip().startswith(("list", "vector", "map"))


def mapping(parent: object, key: str) -> RawMapping | None:
    """The mapping under a key, or None when there is none."""
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else None


def _optional(parent: RawMapping | None, location: Location, key: str) -> RawMapping | None:
    """As `mapping`, but empty when left out, unless a key beside it may be its misspelling."""
    if parent is None or key in parent:
        return mapping(parent, key)
    return {} if set(parent) <= set(known_keys(JobSpec, location)) else None


def texts(parent: object, key: str, location: Location) -> list[tuple[Location, str]]:
    """The texts under a key that takes one or a list, each with its location."""
    value = parent.get(key) if isinstance(parent, dict) else None
    if isinstance(value, str):
        return [((*location, key), value)]
    items = value if isinstance(value, list) else []
    return [((*location, key, index), item) for index, item in enumerate(items) if isinstance(item, str)]


def _aggregate(text: object) -> Aggregate | None:
    try:
        return parse_aggregate(text)
    except ValueError:
        return None
