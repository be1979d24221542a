"""Finds the name that was probably meant by a wrong one.

>>> nearest("orign", ["origin", "dest"])
'origin'
>>> hint("orign", ["origin", "dest"])
"; did you mean 'origin'?"
>>> hint("x", ["origin", "dest"])
''
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, choices: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The choice that was probably meant, if one is near; those that differ in case only come first."""
    return next(iter(near(name, choices, 1, cutoff)), None)


def near(name: str, choices: Iterable[str], most: int, cutoff: float = 0.6) -> list[str]:
    """The choices that were perhaps meant, the nearest first, `most` at most."""
    known = list(choices)
    same = [choice for choice in known if choice.lower() == name.lower()]
    return list(dict.fromkeys([*same, *get_close_matches(name, known, most, cutoff)]))[:most]


def hint(name: str, choices: Iterable[str]) -> str:
    """The end of a message: "; did you mean 'origin'?", or nothing."""
    found = nearest(name, choices)
    return f"; did you mean {found!r}?" if found else ""
