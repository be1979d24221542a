"""Shows an environment variable's name wherever its value would stand.

>>> masks = Masks({"hunter2": "${DB_PASSWORD}"})
>>> masks.hide("no topic 'hunter2' at localhost:9092")
"no topic '${DB_PASSWORD}' at localhost:9092"
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from udfs.store.base import without_secrets

# Shorter values are no secrets, and are part of ordinary words.
SHORTEST = 4
# Values up to here, and those of letters only, are hidden as whole words: `prod`, not a part of `product`.
_LONGEST_WORD = 7
# Messages cut long values; what begins with so many of their characters is one of them.
_HEAD = 40


@dataclass(frozen=True)
class Masks:
    """What is shown (`${NAME}`, `${NAME}.events`) in place of each text that the environment gave."""

    names: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def hide(self, text: str) -> str:
        """The text with names in place of values."""
        pieces, end = [], 0
        while self._forms and (match := self._beginning.search(text, end)):
            start = match.start()
            length, name = max((_shared(text, start, form), name) for form, name in self._forms.items())
            pieces += [text[end:start], name if length else text[start]]
            end = start + (length or 1)
        return "".join([*pieces, text[end:]])

    def hide_in(self, data: object) -> object:
        """JSON-ready data with names in place of values; keys stay."""
        if isinstance(data, str):
            return self.hide(data)
        if isinstance(data, dict):
            return {key: self.hide_in(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.hide_in(item) for item in data]
        return data

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Each way in which a message may write a value."""
        return {
            form: name
            for value, name in self.names.items()
            for form in _written(value)
            if len(form) >= SHORTEST
        }

    @cached_property
    def _beginning(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(form[:_HEAD]) for form in self._forms))


def _written(value: str) -> tuple[str, ...]:
    """The value as it is, without space, in Python, JSON and SQL, as a path, and as a URI for people."""
    return (
        without_secrets(value),
        re.sub(r"\s*,\s*", ",", value),
        os.path.normpath(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        value.replace("'", "''"),
        value.strip(),
        value,
    )


def _shared(text: str, start: int, form: str) -> int:
    """How many characters of `form` stand at `start`; 0 if too few to be it."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text[start:], form, strict=False))
    length = sum(1 for _ in same)
    if length < min(len(form), _HEAD):
        return 0
    around = text[max(start - 1, 0) : start] + text[start + length : start + length + 1]
    return 0 if _is_of_a_sentence(form, around) else length


def _is_of_a_sentence(form: str, around: str) -> bool:
    """Whether it is a word of the message itself, or of a name: the `models` of `tailrace models add`."""
    letters = form.replace("_", "").isalpha()
    if not letters and len(form) > _LONGEST_WORD:
        return False
    return any(char.isalnum() or char == "_" for char in around) or (letters and around == "  ")


class ProcessMasks:
    """The masks of all job files that a command has read, for its log and its last message."""

    def __init__(self) -> None:
        self._masks: Masks | None = None

    @contextmanager
    def learning(self) -> Iterator[None]:
        """What is learned counts inside; only the command line asks for it."""
        self._masks = Masks()
        try:
            yield
        finally:
            self._masks = None

    def learn(self, masks: Masks) -> None:
        if self._masks is not None:
            self._masks = Masks({**self._masks.names, **masks.names})

    def hide(self, text: str) -> str:
        return self._masks.hide(text) if self._masks else text

    def hide_in(self, data: object) -> object:
        return self._masks.hide_in(data) if self._masks else data


PROCESS = ProcessMasks()
