"""YAML text as plain data that knows its line numbers, with variables filled in.

    document = read_document("job: ${NAME}", {"NAME": "flights"})
    document.data        # {"job": "flights"}
    document.line(("job",))   # 1

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

from flink_jobs.jobfile.yaml_errors import explain
from flink_jobs.spec.diagnostics import Diagnostic, Location
from flink_jobs.system.masks import Masks

DEEPEST = 32
MOST_VALUES = 20_000

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\{)")


class _Hole:
    """Stands where a value could not be read; its mistake is known already."""

    def __repr__(self) -> str:
        return "HOLE"


HOLE = _Hole()


@dataclass(frozen=True)
class Document:
    """One YAML document: its data, and for each location the line, and the variables that it came from.

    `incomplete` holds the places of mappings of which a key could not be read. `written` is the text of each
    scalar before variables are filled in, `from_environment` says which of them hold values of variables.
    """

    data: object
    lines: Mapping[Location, int]
    variables: Mapping[Location, str]
    diagnostics: tuple[Diagnostic, ...]
    incomplete: frozenset[Location] = frozenset()
    written: Mapping[Location, str] = field(default_factory=dict)
    from_environment: frozenset[Location] = frozenset()
    masks: Masks = field(default_factory=Masks)

    def line(self, location: Location) -> int:
        """The line of the nearest key or list item on the way to `location`, from 1."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def names_below(self, location: Location) -> str:
        """The variables that gave the value at `location`, or a part of it; "" if none did."""
        found = (place for place in self.variables if place[: len(location)] == location)
        return ", ".join(self.variables[place] for place in found if place in self.from_environment)


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
        builder.lines,
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
        raise _StopError(Diagnostic((), "valid YAML", found, line=1)) from None


@dataclass
class _Builder:
    events: Iterator[Any]
    environ: Mapping[str, str]
    is_text: Callable[[Location], bool]
    lines: dict[Location, int] = field(default_factory=dict)
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
            raise _StopError(Diagnostic((), "one YAML document", "a second one", line=_line(after)))
        return data

    def node(self, event: Any, place: Location) -> object:
        self.count(event, len(place))
        if isinstance(event, AliasEvent):
            return self.hole(
                event, place, "written out, as aliases are not read", f"the alias *{event.anchor:.40}"
            )
        value = self.collection(event, place)
        if event.tag is not None:
            return self.hole(event, place, "a value without a tag", f"the tag {_tag(event)!r}")
        return value

    def count(self, event: Any, depth: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES:
            raise _StopError(
                Diagnostic((), f"a file of at most {MOST_VALUES} values", "more", line=_line(event))
            )
        if depth > DEEPEST:
            raise _StopError(
                Diagnostic((), f"nested at most {DEEPEST} levels deep", "more", line=_line(event))
            )

    def collection(self, event: Any, place: Location) -> object:
        if isinstance(event, MappingStartEvent):
            return self.mapping(place)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(place)
        return self.scalar(event, place)

    def hole(self, event: Any, place: Location, expected: str, found: str) -> object:
        self.diagnostics.append(Diagnostic(place, expected, found, line=_line(event)))
        return HOLE

    def sequence(self, place: Location) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            item_place = (*place, len(items))
            self.lines[item_place] = _line(event)
            items.append(self.node(event, item_place))
        return items

    def mapping(self, place: Location) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            self.entry(event, place, items)
        return items

    def entry(self, event: Any, place: Location, items: dict[str, object]) -> None:
        key = self.key(event, place, items)
        if key is None:
            self.skip(next(self.events), len(place) + 1)
        else:
            self.lines[(*place, key)] = _line(event)
            items[key] = self.node(next(self.events), (*place, key))

    def key(self, event: Any, place: Location, items: Mapping[str, object]) -> str | None:
        """The text of a key, or None after a mistake: its value is then read past."""
        if not isinstance(event, ScalarEvent):
            self.skip(event, len(place) + 1)
            self.hole(
                event, place, "a mapping with plain keys", "a key that is an alias, a list or a mapping"
            )
            return None
        key = str(event.value)
        if key == "<<" or not is_unicode(key):
            self.incomplete.add(place)
        if key == "<<":
            self.hole(event, (*place, key), "written out, as merge keys are not read", "a merge key")
        elif not is_unicode(key):
            self.hole(event, place, "a mapping with keys in valid Unicode", "half of a surrogate pair")
        elif key in items:
            first = self.lines[(*place, key)]
            self.hole(event, (*place, key), "written once", f"a second value (the first is on line {first})")
        else:
            return key
        return None

    def skip(self, event: Any, depth: int) -> None:
        """Read past the node that begins with `event`."""
        self.count(event, depth)
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            while not isinstance(event := next(self.events), MappingEndEvent | SequenceEndEvent):
                self.skip(event, depth + 1)

    def scalar(self, event: ScalarEvent, place: Location) -> object:
        raw = str(event.value)
        plain = bool(event.implicit[0])
        self.written[place] = raw
        text = self.interpolate(event, raw, place) if "$" in raw else raw
        if text is None:
            return HOLE
        if not is_unicode(text):
            return self.hole(event, place, "valid Unicode text", "half of a surrogate pair")
        if self.is_text(place):
            return None if plain and raw in ("", "~", "null") else text
        if "$" not in raw:
            return resolve(text) if plain else text
        whole = _VARIABLE.fullmatch(raw)
        value = resolve(text) if whole and whole[2] else text
        if not plain and not isinstance(value, str):
            self.variables[place] += ", in quotes"
        return value if plain else text

    def interpolate(self, event: Any, raw: str, place: Location) -> str | None:
        """The text with ${VAR}, ${VAR:-default} and $$ filled in; None after a mistake."""
        pieces, shown, end = [], [], 0
        for match in _VARIABLE.finditer(raw):
            value = "$" if match[1] else self.variable(event, match, place)
            if value is None:
                return None
            between = raw[end : match.start()]
            pieces += [between, value]
            shown += [between, self.names.get(value, value) if place in self.from_environment else value]
            end = match.end()
        names = [f"${{{match[2]}}}" for match in _VARIABLE.finditer(raw) if match[2]]
        if names:
            self.variables[place] = ", ".join(names)
        text = "".join([*pieces, raw[end:]])
        if place in self.from_environment:
            self.names.setdefault(text, "".join([*shown, raw[end:]]))
        return text

    def variable(self, event: Any, match: re.Match[str], place: Location) -> str | None:
        name, default = match[2], match[3]
        if name is None:
            expected = "a variable as ${NAME} or ${NAME:-default}, or $$ for a dollar sign"
            self.hole(event, place, expected, "a ${ that starts neither")
            return None
        value = self.environ.get(name)
        if value:
            self.from_environment.add(place)
            self.names.setdefault(value, f"${{{name}}}")
        if default is not None:
            return value or default
        if value is None:
            expected = f"a variable that is set, or has a default as in ${{{name}:-value}}"
            diagnostic = Diagnostic(
                place, expected, f"${{{name}}}, which is not set", name=name, choices=tuple(self.environ)
            )
            self.diagnostics.append(diagnostic)
        return value


def _tag(event: Any) -> str:
    return str(event.tag).replace("tag:yaml.org,2002:", "!!")[:60]


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


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
