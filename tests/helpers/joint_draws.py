"""Columns that go together, drawn from three laws, and their joint reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.profile.joint import JointReference, joint_reference, parse_joint

Floats = npt.NDArray[np.float64]
Columns = dict[str, Floats]
NAMES = ["a", "b", "c", "d"]
LEVEL = 0.01


def normal(random: np.random.Generator, n: int, correlation: float = 0.5) -> Floats:
    mixed = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    mixed[0, 1] = mixed[1, 0] = correlation
    return np.linalg.cholesky(mixed) @ random.normal(size=(4, n))


def lognormal(random: np.random.Generator, n: int) -> Floats:
    return np.exp(normal(random, n))


def student(random: np.random.Generator, n: int) -> Floats:
    return np.asarray(normal(random, n) / np.sqrt(random.chisquare(2, n) / 2), dtype=np.float64)


def named(rows: Floats) -> Columns:
    return dict(zip(NAMES, rows, strict=True))


@cache
def reference(draw: Callable[..., Floats] = normal, rows: int = 10_000) -> JointReference:
    made = joint_reference(named(draw(np.random.default_rng(0), rows)), seed=0)
    assert made is not None
    return parse_joint(msgspec.json.decode(msgspec.json.encode(made)))
