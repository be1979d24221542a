"""Reads one JSON record as the documentation says, by none of Tailrace's code.

It is what the decoders are held against. It uses Python's json, int and fractions: slow,
and simple enough to be judged by eye.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NoReturn

from udfs.records.contract import Contract, Field

DEEPEST = 100
MOST_DIGITS = 4300


class RefusedError(Exception):
    """The record is not one that the contract allows."""


class Number:
    """A number as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def is_whole(self) -> bool:
        return not set(self.text) & set(".eE")

    def fraction(self) -> Fraction:
        return Fraction(self.text)

    def double(self) -> float:
        """The nearest double, from the exact fraction where that is not too long to be written down."""
        exponent = self.text.lower().partition("e")[2]
        if len(exponent) > 5 or len(self.text) > MOST_DIGITS:
            return float(self.text) or 0.0
        try:
            return float(self.fraction()) or 0.0
        except OverflowError:
            refuse()


def refuse() -> NoReturn:
    raise RefusedError


def read(raw: bytes | None, contract: Contract, max_bytes: int) -> dict[str, object] | None:
    """The declared fields of a record, None for what is absent; None if the record is to be refused."""
    try:
        return _record(raw, contract, max_bytes)
    except (RefusedError, ValueError, RecursionError):
        return None


def _record(raw: bytes | None, contract: Contract, max_bytes: int) -> dict[str, object]:
    if raw is None or len(raw) > max_bytes:
        refuse()
    pairs = json.loads(
        raw.decode("utf-8", "strict"),
        object_pairs_hook=tuple,
        parse_int=Number,
        parse_float=Number,
        parse_constant=lambda _: refuse(),
    )
    if not isinstance(pairs, tuple) or _depth(pairs) > DEEPEST:
        refuse()
    declared = [name for name, _ in pairs if any(name == field.name for field in contract.fields)]
    if len(declared) != len(set(declared)):
        refuse()
    members: Mapping[str, Any] = dict(pairs)
    return {field.name: _value(field, members.get(field.name)) for field in contract.fields}


def _depth(value: object) -> int:
    """Levels of nesting; a tuple holds the members of an object, a list the values of an array."""
    deepest, pending = 0, [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, tuple | list):
            deepest = max(deepest, depth)
            children = [child for _, child in node] if isinstance(node, tuple) else node
            pending += [(child, depth + 1) for child in children]
    return deepest


def _value(field: Field, value: Any) -> object:
    if value is None:
        return refuse() if field.required else None
    found = _typed(field, value)
    if isinstance(found, float | int) and not isinstance(found, bool):
        low, high = _exact(field, field.low), _exact(field, field.high)
        if (low is not None and Fraction(found) < low) or (high is not None and Fraction(found) > high):
            refuse()
    if field.values and not any(_exact(field, one) == found for one in field.values):
        refuse()
    return found


def _exact(field: Field, value: Any) -> Any:
    """A bound or an allowed value; those of a double are the nearest doubles, as the record's number is."""
    return float(value) if field.type == "double" and value is not None else value


def _typed(field: Field, value: Any) -> object:
    if field.type == "boolean" and isinstance(value, bool):
        return value
    if field.type == "string" and isinstance(value, str):
        value.encode()
        return value
    if field.type == "double" and isinstance(value, Number):
        number = value.double()
        return number if abs(number) != float("inf") else refuse()
    if field.type == "long" and isinstance(value, Number) and value.is_whole and len(value.text) < 30:
        whole = int(value.text)
        return whole if -(2**63) <= whole < 2**63 else refuse()
    refuse()
