"""Maps in records, of names that the job does not know to values of one type: lists of entries, once decoded.

>>> colours = map_field("attributes", Field("", "double", high=1.0))
>>> read = entries_of({"red": 0.5, "blue": 2.0}.items(), colours, lambda value, _: value)
>>> colours.check(read).message
'$.attributes.blue: expected at most 1, got a larger number'
>>> colours.column([Entries([{"key": "red", "value": 0.5}]), None]).to_pylist()
[[{'key': 'red', 'value': 0.5}], None]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from udfs.records.fields import Field, Length, check_value, violation, wrong_length, wrong_type
from udfs.records.lists import LARGEST_LENGTH, USUAL_LENGTH, ListField
from udfs.records.problems import Problem

KEY, VALUE = "key", "value"
# Other keys are texts of a stranger, and not shown.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


class Entries(list[dict[str, object]]):
    """The entries of a map that a decoder has read; a list in a record is none."""


class MapField(ListField, frozen=True):
    """A map, whose `members` are the key and the value of an entry; `length` is in entries."""

    @property
    def quick(self) -> bool:
        """Arrow's JSON reader knows no maps."""
        return False

    def wrong_length(self, found: int) -> str | None:
        """What is expected instead of so many entries, if that is not allowed."""
        low, high = self.length
        return wrong_length((low, LARGEST_LENGTH if high is None else high), found, "entries")

    def check(self, value: object) -> Problem | None:
        """What is wrong with the map of one record."""
        path = self.path_text
        if value is None:
            return violation("null", f"{path}: required map is null") if self.required else None
        if not isinstance(value, Entries):
            found = "array" if isinstance(value, list) else wrong_type("map", value)
            return violation("wrong_type", f"{path}: expected an object, got {found}")
        if expected := self.wrong_length(len(value)):
            return violation("wrong_length", f"{path}: expected {expected}")
        return next((problem for entry in value if (problem := self._check_entry(entry))), None)

    def _check_entry(self, entry: dict[str, object]) -> Problem | None:
        key = entry[KEY]
        if not isinstance(key, str):
            return violation("wrong_type", f"{self.path_text}: expected texts as keys, got another type")
        return check_value(self.members[1], entry[VALUE], key_path(self.path_text, key))


def map_field(
    name: str,
    value: Field,
    required: bool = False,
    length: Length = (None, USUAL_LENGTH),
    path: tuple[str, ...] = (),
) -> MapField:
    """The map of that name, whose values are as the field says."""
    members = (Field(KEY, "string", required=True), msgspec.structs.replace(value, name=VALUE))
    return MapField(name, members, required, length, path)


def key_path(path: str, key: object) -> str:
    """Where the value of a key is, as messages show it."""
    plain = isinstance(key, str) and _PLAIN_KEY.fullmatch(key)
    return f"{path}.{key}" if plain else f"{path}[…]"


def entries_of(
    items: Collection[tuple[Any, Any]],
    of: ListField,
    read: Callable[[Any, str], object],
) -> Entries:
    """The entries of a map's items, whose values `read` makes, by their path. Of too many nothing is read."""
    if of.wrong_length(len(items)):
        return Entries([{}] * len(items))
    path = of.path_text
    return Entries([{KEY: key, VALUE: read(value, key_path(path, key))} for key, value in items])
