"""Records beside a job file, each with what must become of it: the fixtures of `tailrace test`.

A line is a record: {"value": {"card": "a", "amount": 12.5}, "key": "a", "expect": {"prediction": false}}.
`expect` has columns of the prediction, or {"dead": "wrong_type"}, or {"late": true}; without it the record
only comes before others. A value that is text is the record's bytes as they are. A line with `table`,
{"table": "cards", "value": {"id": "a"}}, is no record of the source, but a change of that lookup of a topic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flink_jobs.errors import InputError
from flink_jobs.history.results import History
from flink_jobs.kafka import Message
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.spec import JobSpec
from udfs.suggest import hint

_KEYS = ("value", "key", "timestamp", "headers", "expect", "table")
SUFFIX = ".test.jsonl"


@dataclass(frozen=True)
class Fixture:
    """A record, the line of the file that it is on, and what must become of it, if that is said.

    With `table` it is a change of the lookup of that name.
    """

    line: int
    message: Message
    expect: Mapping[str, Any] | None
    table: str | None = None


def fixtures_of(job_file: Path) -> Path:
    """Where the fixtures of a job file are: payments.test.jsonl beside payments.yaml."""
    return job_file.with_name(f"{job_file.stem}{SUFFIX}")


def read_fixtures(path: Path) -> list[Fixture]:
    """The records of a file. Raises InputError that names the line of what is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be lines of JSON, each a record; got {error}") from None
    found = [_fixture(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not any(fixture.expect is not None for fixture in found):
        raise InputError(f"{path} must have a record with `expect`; got {len(found)} records without")
    return found


def table_changes(
    job: JobSpec, path: Path, fixtures: Sequence[Fixture]
) -> tuple[list[Fixture], dict[str, list[Message]]]:
    """The fixtures that are records, and the changes of each lookup whose table is a topic.

    Raises InputError for a change of another lookup, and for a table without any.
    """
    found: dict[str, list[Message]] = {name: [] for name in topic_lookups(job)}
    for fixture in fixtures:
        if fixture.table is not None and fixture.table not in found:
            raise InputError(
                f"{path}:{fixture.line}: table must be a lookup of the job whose table is a topic "
                f"({', '.join(found) or 'none'}); got {fixture.table!r}{hint(fixture.table, found)}"
            )
        if fixture.table is not None:
            found[fixture.table].append(fixture.message)
    for name, changes in found.items():
        if not changes:
            raise InputError(
                f"{path} must have changes of features.lookups.{name}, which is a topic: "
                f'lines as {{"table": {json.dumps(name)}, "value": …}}; got none'
            )
    return [fixture for fixture in fixtures if fixture.table is None], found


def _fixture(path: Path, number: int, line: str) -> Fixture:
    try:
        read = json.loads(line)
        if not isinstance(read, dict) or "value" not in read:
            raise ValueError("must be an object with `value`")
        if unknown := [key for key in read if key not in _KEYS]:
            raise ValueError(
                f"has {unknown[0]!r}, which is none of {', '.join(_KEYS)}{hint(unknown[0], _KEYS)}"
            )
        expect = read.get("expect")
        if expect is not None and (not isinstance(expect, dict) or not expect):
            raise ValueError("expect must be an object with a column, `dead` or `late`")
        table = read.get("table")
        if table is not None and not isinstance(table, str):
            raise ValueError("table must be the name of a lookup")
        if table is not None and expect is not None:
            raise ValueError("expect must be left out, as a line with `table` is no record of the source")
        headers = tuple((name, str(value).encode()) for name, value in (read.get("headers") or {}).items())
        key = read.get("key")
        message = Message(
            _bytes(read["value"]), None if key is None else str(key).encode(), headers, read.get("timestamp")
        )
    except ValueError as error:
        raise InputError(f"{path}:{number}: {error}") from None
    return Fixture(number, message, expect, table)


def _bytes(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def asked_columns(fixtures: Sequence[Fixture], outputs: Sequence[str]) -> list[str]:
    """The job's columns that are expected of predictions: what is none of the model's outputs."""
    names = {
        name: None
        for each in fixtures
        for name in each.expect or {}
        if name not in (*outputs, "dead", "late")
    }
    return list(names)


def became(history: History) -> list[dict[str, Any]]:
    """What became of each record, in order: the prediction's columns, {"dead": reason} or {"late": true}."""
    found: list[dict[str, Any]] = [{} for _ in range(history.read)]
    for row, columns in zip(history.rows.tolist(), history.table.to_pylist(), strict=True):
        found[row] = columns
    for dead in history.dead.to_pylist():
        found[dead["row"]] = {"dead": dead["reason"], "message": dead["message"]}
    for row in history.late.tolist():
        found[row] = {"late": True}
    return found


def differences(path: Path, fixtures: Sequence[Fixture], found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line of words for each value that is not what it must be."""
    for fixture, made in zip(fixtures, found, strict=True):
        for name, wanted in (fixture.expect or {}).items():
            if not _same(made.get(name), wanted):
                yield f"{path}:{fixture.line}: {name} must be {_shown(wanted)}; got {_got(made, name)}"


def _same(made: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(made, dict):
        return wanted.keys() == made.keys() and all(_same(made[key], wanted[key]) for key in wanted)
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (made, wanted)]
    if all(numbers):
        return math.isclose(made, wanted, rel_tol=1e-6, abs_tol=1e-9)
    return bool(made == wanted) and type(made) is type(wanted)


def _got(made: Mapping[str, Any], name: str) -> str:
    if name in made:
        return _shown(made[name])
    if "dead" in made:
        return f"a dead letter, {made['dead']}: {made['message']}"
    return "a late record" if made.get("late") else "a prediction"


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)
