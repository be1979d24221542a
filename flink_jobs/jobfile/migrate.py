r"""Rewrites a job file for the keys of today; all else stays as it was written, comments too.

>>> migrated("# Rides\njob: rides # mine\n", RENAMED)
'# Rides\nversion: 1\njob: rides # mine\n'
>>> migrated("job: a\nsink: {topic: t}\n", {("sink",): "predictions"})
'version: 1\njob: a\npredictions: {topic: t}\n'
"""

from __future__ import annotations

from collections.abc import Mapping

from ruamel.yaml import YAML

from flink_jobs.errors import Location
from flink_jobs.jobfile.reader import Document, read_document

VERSION = 1
# Keys of earlier versions by their places, and what they are called now. Of the first version there are none.
RENAMED: Mapping[Location, str] = {}


def migrated(text: str, renamed: Mapping[Location, str] = RENAMED) -> str:
    """The text with its keys renamed and its version; as it is where it is no job file of an earlier form."""
    document = read_document(text, {})
    if not isinstance(document.data, dict) or not document.data:
        return text
    changes = [(location, name) for location, name in renamed.items() if location in document.positions]
    lines = text.splitlines(keepends=True)
    # From the end, so that places before a change stay where they are.
    for location, name in sorted(changes, key=lambda change: document.positions[change[0]], reverse=True):
        _replace(lines, document.position(location), str(location[-1]), name)
    if "version" not in document.data:
        _add_version(lines, document)
    return "".join(lines)


def _replace(lines: list[str], position: tuple[int, int], old: str, new: str) -> None:
    row, start = position[0] - 1, position[1] - 1
    before, key = lines[row][:start], lines[row][start:]
    quote = key[0] if key[0] in "'\"" else ""
    lines[row] = before + new + key[len(quote + old + quote) :]


def _add_version(lines: list[str], document: Document) -> None:
    first = next(iter(document.data))  # type: ignore[call-overload]
    row, column = document.position((first,))
    line = lines[row - 1]
    indent = line[: column - 1]
    if indent.strip():  # the braces of a flow mapping, or the mark of a document
        lines[row - 1] = f"{indent}version: {VERSION}, {line[column - 1 :]}"
    else:
        end = "\r\n" if line.endswith("\r\n") else "\n"
        lines.insert(row - 1, f"{indent}version: {VERSION}{end}")


def same_data(before: str, after: str, renamed: Mapping[Location, str] = RENAMED) -> bool:
    """Whether the second text says what the first one did, as another reader of YAML has it."""
    old, new = (dict(YAML(typ="safe", pure=True).load(text)) for text in (before, after))
    for location, name in renamed.items():
        _rename(old, location, name)
    old.setdefault("version", VERSION)
    return old == new


def _rename(data: object, location: Location, name: str) -> None:
    for key in location[:-1]:
        data = data.get(key) if isinstance(data, dict) else None
    if isinstance(data, dict) and location[-1] in data:
        data[name] = data.pop(location[-1])
