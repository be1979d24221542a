r"""YAML that every parser reads alike: each text is quoted, or a block of lines.

What YAML 1.1 takes for something else (yes, 1:30, 0o7, ~) is text here, whoever wrote it.

>>> print(as_yaml([{"a": "yes", "b": [1, {"c": "x\ny\n"}]}]), end="")
---
a: "yes"
b:
  - 1
  - c: |2
      x
      y
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

Value = object
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def as_yaml(documents: Iterable[Mapping[str, Value]]) -> str:
    """One document after the other."""
    return "".join(f"{line}\n" for each in documents for line in ("---", *_mapping(each, 0)))


def _mapping(value: Mapping[str, Value], depth: int) -> Iterator[str]:
    for key, entry in value.items():
        yield from _entry(f"{'  ' * depth}{_key(key)}:", entry, depth)


def _entry(head: str, value: Value, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, depth + 1)
    elif isinstance(value, list | tuple) and value:
        yield head
        for each in value:
            yield from _item(each, depth + 1)
    elif isinstance(value, str) and _is_block(value):
        lines = value.split("\n")
        # Of a text that ends with line feeds the last is the block's own.
        keep = "-" if lines[-1] else "" if len(lines) > 1 and lines[-2] else "+"
        yield f"{head} |2{keep}"
        yield from (
            f"{'  ' * (depth + 1)}{line}" if line else "" for line in (lines if lines[-1] else lines[:-1])
        )
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Value, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        first, *rest = _mapping(value, depth + 1)
        yield f"{'  ' * depth}- {first.lstrip(' ')}"
        yield from rest
    else:
        yield f"{'  ' * depth}- {_scalar(value)}"


def _is_block(text: str) -> bool:
    return "\n" in text.rstrip("\n") and all(line.isprintable() for line in text.split("\n"))


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS else _quoted(key)


def _scalar(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    return "{}" if isinstance(value, Mapping) else "[]"


def _quoted(text: str) -> str:
    return f'"{"".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(c)) for c in text)}"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"
