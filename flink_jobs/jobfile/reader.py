"""Reads YAML text as plain data that knows its lines and columns, with variables filled in.

>>> document = read_document("job: ${NAME}", {"NAME": "flights"})
>>> document.data, document.position(("job",))
({'job': 'flights'}, (1, 1))

The text is hostile until proven otherwise: aliases, tags, deep nesting and very many values are
mistakes, not work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from flink_jobs.errors import Diagnostic, Location
from flink_jobs.jobfile.yaml_errors import explain
from flink_jobs.system.masks import Masks

Position = tuple[int, int]
Place = tuple[str, int, int]

DEEPEST = 32
MOST_VALUES = 20_000

VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\{)")


class _Hole:
    """Stands where a value could not be read; its mistake is known already."""

    def __repr__(self) -> str:
        return "HOLE"


HOLE = _Hole()


@dataclass(frozen=True)
class Document:
    """One YAML document: its data, and for each location its position and the variables that it came from.

    `incomplete` holds the locations of mappings of which a key could not be read. `written` is the text of
    each scalar before variables are filled in, `from_environment` says which hold values of variables.
    `places` are file, line and column of what another file gave.
    """

    data: object
    positions: Mapping[Location, Position]
    variables: Mapping[Location, str]
    diagnostics: tuple[Diagnostic, ...]
    incomplete: frozenset[Location] = frozenset()
    written: Mapping[Location, str] = field(default_factory=dict)
    from_environment: frozenset[Location] = frozenset()
    masks: Masks = field(default_factory=Masks)
    places: Mapping[Location, Place] = field(default_factory=dict)

    def place(self, location: Location) -> Place | None:
        """Where in another file the value at `location` is, or the nearest one around it."""
        while location and location not in self.positions and location not in self.places:
            location = location[:-1]
        return self.places.get(location)

    def position(self, location: Location) -> Position:
        """Line and column, from 1, of the nearest key or list item on the way to `location`."""
        while location and location not in self.positions:
            location = location[:-1]
        return self.positions.get(location, (1, 1))

    def names_below(self, location: Location) -> str:
        """The variables that gave the value at `location`, or a part of it; "" if none did."""
        found = (each for each in self.variables if each[: len(location)] == location)
        return ", ".join(self.variables[each] for each in found if each in self.from_environment)


class _StopError(Exception):
    """The rest of the text is not worth reading."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


def read_document(
    text: str,
    environ: Mapping[str, str],
    is_text: Callable[[Location], bool] = lambda _location: False,
) -> Document:
    """Read the only document in `text`; scalars stay strings where `is_text` says so. Never raises."""
    builder = _Builder(_events(text), environ, is_text)
    try:
        data = builder.document()
    except _StopError as stop:
        return Document(HOLE, {}, {}, (stop.diagnostic,))
    diagnostics, incomplete = tuple(builder.diagnostics), frozenset(builder.incomplete)
    return Document(
        data,
        builder.positions,
        builder.variables,
        diagnostics,
        incomplete,
        builder.written,
        frozenset(builder.from_environment),
        Masks(builder.names),
    )


def _events(text: str) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except YAMLError as error:
        raise _StopError(explain(error, text)) from None
    except (
        Exception
    ) as error:  # the parser has bugs on text that nobody writes; it is still the text's mistake
        found = f"text that the YAML parser fails on ({type(error).__name__})"
        raise _StopError(Diagnostic((), "valid YAML", found, line=1, column=1)) from None


@dataclass
class _Builder:
    events: Iterator[Any]
    environ: Mapping[str, str]
    is_text: Callable[[Location], bool]
    positions: dict[Location, Position] = field(default_factory=dict)
    variables: dict[Location, str] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    incomplete: set[Location] = field(default_factory=set)
    written: dict[Location, str] = field(default_factory=dict)
    from_environment: set[Location] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    values: int = 0

    def document(self) -> object:
        next(self.events)
        if isinstance(next(self.events), StreamEndEvent):
            return None
        data = self.node(next(self.events), ())
        next(self.events)
        after = next(self.events)
        if not isinstance(after, StreamEndEvent):
            raise _StopError(_at(after, (), "one YAML document", "a second one"))
        return data

    def node(self, event: Any, location: Location) -> object:
        self.count(event, len(location))
        if isinstance(event, AliasEvent):
            return self.hole(
                event, location, "written out, as aliases are not read", f"the alias *{event.anchor:.40}"
            )
        value = self.collection(event, location)
        if event.tag is not None:
            return self.hole(event, location, "a value without a tag", f"the tag {_tag(event)!r}")
        return value

    def count(self, event: Any, depth: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES:
            raise _StopError(_at(event, (), f"a file of at most {MOST_VALUES} values", "more"))
        if depth > DEEPEST:
            raise _StopError(_at(event, (), f"nested at most {DEEPEST} levels deep", "more"))

    def collection(self, event: Any, location: Location) -> object:
        if isinstance(event, MappingStartEvent):
            return self.mapping(location)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(location)
        return self.scalar(event, location)

    def hole(self, event: Any, location: Location, expected: str, found: str) -> object:
        self.diagnostics.append(_at(event, location, expected, found))
        return HOLE

    def sequence(self, location: Location) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            item_location = (*location, len(items))
            self.positions[item_location] = _position(event)
            items.append(self.node(event, item_location))
        return items

    def mapping(self, location: Location) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            self.entry(event, location, items)
        return items

    def entry(self, event: Any, location: Location, items: dict[str, object]) -> None:
        key = self.key(event, location, items)
        if key is None:
            self.skip(next(self.events), len(location) + 1)
        else:
            self.positions[(*location, key)] = _position(event)
            items[key] = self.node(next(self.events), (*location, key))

    def key(self, event: Any, location: Location, items: Mapping[str, object]) -> str | None:
        """The text of a key, or None after a mistake: its value is then read past."""
        if not isinstance(event, ScalarEvent):
            self.skip(event, len(location) + 1)
            self.hole(
                event, location, "a mapping with plain keys", "a key that is an alias, a list or a mapping"
            )
            return None
        key = str(event.value)
        if key == "<<" or not is_unicode(key):
            self.incomplete.add(location)
        if key == "<<":
            self.hole(event, (*location, key), "written out, as merge keys are not read", "a merge key")
        elif not is_unicode(key):
            self.hole(event, location, "a mapping with keys in valid Unicode", "half of a surrogate pair")
        elif key in items:
            first, _ = self.positions[(*location, key)]
            self.hole(
                event, (*location, key), "written once", f"a second value (the first is on line {first})"
            )
        else:
            return key
        return None

    def skip(self, event: Any, depth: int) -> None:
        """Read past the node that begins with `event`."""
        self.count(event, depth)
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            while not isinstance(event := next(self.events), MappingEndEvent | SequenceEndEvent):
                self.skip(event, depth + 1)

    def scalar(self, event: ScalarEvent, location: Location) -> object:
        raw = str(event.value)
        plain = bool(event.implicit[0])
        self.written[location] = raw
        text = self.interpolate(event, raw, location) if "$" in raw else raw
        if text is None:
            return HOLE
        if not is_unicode(text):
            return self.hole(event, location, "valid Unicode text", "half of a surrogate pair")
        if self.is_text(location):
            return None if plain and raw in ("", "~", "null") else text
        if "$" not in raw:
            return resolve(text) if plain else text
        whole = VARIABLE.fullmatch(raw)
        value = resolve(text) if whole and whole[2] else text
        if not plain and not isinstance(value, str):
            self.variables[location] += ", in quotes"
        return value if plain else text

    def interpolate(self, event: Any, raw: str, location: Location) -> str | None:
        """The text with ${VAR}, ${VAR:-default} and $$ filled in; None after a mistake."""
        pieces, shown, end = [], [], 0
        for match in VARIABLE.finditer(raw):
            value = "$" if match[1] else self.variable(event, match, location)
            if value is None:
                return None
            between = raw[end : match.start()]
            pieces += [between, value]
            shown += [between, self.names.get(value, value) if location in self.from_environment else value]
            end = match.end()
        names = [f"${{{match[2]}}}" for match in VARIABLE.finditer(raw) if match[2]]
        if names:
            self.variables[location] = ", ".join(names)
        text = "".join([*pieces, raw[end:]])
        if location in self.from_environment:
            self.names.setdefault(text, "".join([*shown, raw[end:]]))
        return text

    def variable(self, event: Any, match: re.Match[str], location: Location) -> str | None:
        name, default = match[2], match[3]
        if name is None:
            expected = "a variable as ${NAME} or ${NAME:-default}, or $$ for a dollar sign"
            self.hole(event, location, expected, "a ${ that starts neither")
            return None
        value = self.environ.get(name)
        if value:
            self.from_environment.add(location)
            self.names.setdefault(value, f"${{{name}}}")
        if default is not None:
            return value or default
        if value is None:
            expected = f"a variable that is set, or has a default as in ${{{name}:-value}}"
            diagnostic = Diagnostic(
                location, expected, f"${{{name}}}, which is not set", name=name, choices=tuple(self.environ)
            )
            self.diagnostics.append(diagnostic)
        return value


def _tag(event: Any) -> str:
    return str(event.tag).replace("tag:yaml.org,2002:", "!!")[:60]


def _position(event: Any) -> Position:
    return int(event.start_mark.line) + 1, int(event.start_mark.column) + 1


def _at(event: Any, location: Location, expected: str, found: str) -> Diagnostic:
    line, column = _position(event)
    return Diagnostic(location, expected, found, line=line, column=column)


_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|[0-9]{1,400}(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,5})?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def resolve(text: str) -> object:
    """The value of a plain scalar by the core schema of YAML 1.2."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _SPECIAL_FLOAT.fullmatch(text):
        return float(f"{match[1] or ''}{match[2] or match[3]}")
    return text


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
