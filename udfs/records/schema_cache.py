"""Keeps what was made of schemas by their ids, and says what becomes of records while a registry is down.

- A schema that was read once is kept: its records go on, whatever becomes of the registry.
- An unknown id waits for a registry that does not answer, `wait_s` at most, once until it answers again. Then
  its records are dead letters, and the registry is asked again every ten seconds.
- An id that the registry does not know makes dead letters, and is asked for again after some seconds.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from udfs.records.problems import Problem, RejectedError
from udfs.records.schema_registry import NoSuchSchemaError, RegistryError, Schema

Made = TypeVar("Made")
MOST_SCHEMAS, MOST_UNKNOWN = 1_000, 10_000
ASK_AGAIN_S, DOWN_S, UNKNOWN_S = 1.0, 10.0, 10.0


class SchemaCache(Generic[Made]):
    """What `make` makes of the schema of an id; `make` raises RejectedError for one that cannot be used."""

    def __init__(
        self,
        fetch: Callable[[int], Schema],
        make: Callable[[int, Schema], Made],
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._fetch, self._make, self._wait_s = fetch, make, wait_s
        self._clock, self._sleep = clock, sleep
        self._known: OrderedDict[int, Made | Problem] = OrderedDict()
        self._unknown: OrderedDict[int, float] = OrderedDict()
        self._down_since: float | None = None
        self._down = ""
        self._ask_at = 0.0

    def get(self, number: int) -> Made:
        """Raises RejectedError with what is wrong with records of that id."""
        found = self._known.get(number)
        if found is None:
            found = self._asked(number)
        else:
            self._known.move_to_end(number)
        if isinstance(found, Problem):
            raise RejectedError(found)
        return found

    def _asked(self, number: int) -> Made | Problem:
        if self._clock() < self._unknown.get(number, 0.0):
            return _unknown(number, "the registry has no such schema")
        try:
            schema = self._waited(number)
        except RegistryError as error:
            return _unknown(number, str(error))
        except NoSuchSchemaError as error:
            _put(self._unknown, number, self._clock() + UNKNOWN_S, MOST_UNKNOWN)
            return _unknown(number, str(error))
        try:
            made: Made | Problem = self._make(number, schema)
        except RejectedError as rejected:
            made = rejected.problem
        _put(self._known, number, made, MOST_SCHEMAS)
        return made

    def _waited(self, number: int) -> Schema:
        """The schema, as soon as the registry answers. Raises RegistryError when that takes too long."""
        if self._clock() < self._ask_at:
            raise RegistryError(self._down)
        while True:
            try:
                schema = self._fetch(number)
            except NoSuchSchemaError:
                self._down_since = None
                raise
            except RegistryError as error:
                self._wait(error)
            else:
                self._down_since = None
                return schema

    def _wait(self, error: RegistryError) -> None:
        now = self._clock()
        if self._down_since is None:
            self._down_since = now
        left = self._down_since + self._wait_s - now
        if left <= 0:
            self._down, self._ask_at = str(error), now + DOWN_S
            raise error
        self._sleep(min(ASK_AGAIN_S, left))


def _unknown(number: int, why: str) -> Problem:
    return Problem("decode", "schema_unknown", f"schema {number}: {why}")


def _put(kept: OrderedDict[int, Made], number: int, value: Made, most: int) -> None:
    kept[number] = value
    if len(kept) > most:
        kept.popitem(last=False)
