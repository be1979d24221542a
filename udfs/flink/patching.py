"""Puts methods of ours around those of PyFlink and Beam that no option changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def patch(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    """`around` makes the new method of the old one. Raises RuntimeError where there is no such method."""
    if not hasattr(owner, name):
        raise RuntimeError(f"{owner.__name__} has no {name}: use the apache-flink that is pinned")
    setattr(owner, name, around(getattr(owner, name)))
