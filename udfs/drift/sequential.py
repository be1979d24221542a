"""A two-sided CUSUM on the means of fixed steps in event time: reacts before a window ends.

    z = score(n, total, reference_mean, reference_std, reference_rows)
    state, change = step(state, settings, z, at)

How often it signals without a change is set as a run length; the decision interval follows from it by the
Markov chain of Brook and Evans (Biometrika 59, 1972, 539-549).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

_STATES = 200
_MAX_SCORE = 100.0


class SequentialSettings(msgspec.Struct, frozen=True):
    """`run_length_steps` is the expected number of steps to a false signal, 20 to 100,000.

    `shift` is the change of a step's mean, in its standard errors, that is to be found the fastest.
    """

    run_length_steps: float
    shift: float = 1.0

    def __post_init__(self) -> None:
        if not 20 <= self.run_length_steps <= 100_000:
            raise ValueError(f"run_length_steps must be 20 to 100,000; got {self.run_length_steps}")
        if not 0.1 <= self.shift <= 5:
            raise ValueError(f"shift must be 0.1 to 5; got {self.shift}")


class SequentialState(msgspec.Struct, frozen=True):
    """The two sums, the number of steps, and the step after which each sum last was zero."""

    up: float = 0.0
    down: float = 0.0
    steps: int = 0
    up_zero: int = 0
    down_zero: int = 0


class Change(msgspec.Struct, frozen=True):
    """A signal at step `step`; the change began after step `since`, both counted from the last restart."""

    direction: Literal["up", "down"]
    since: int
    step: int
    value: float
    threshold: float


def score(n: int, total: float, mean: float, std: float, rows: int) -> float | None:
    """z of a step with n values of sum `total`, against a reference of `rows` rows.

    The reference's mean is uncertain too, so that the standard error is std·√(1/n + 1/rows). At most ±100.
    None, which `step` skips, for fewer than 2 values or a constant reference.
    """
    if n < 2 or rows < 1 or not std > 0:
        return None
    error = std * math.sqrt(1 / n + 1 / rows)
    distance = total / n - mean
    return math.copysign(_MAX_SCORE, distance) if abs(distance) >= _MAX_SCORE * error else distance / error


def step(
    state: SequentialState, settings: SequentialSettings, z: float | None
) -> tuple[SequentialState, Change | None]:
    """The state after one more step, and a change if a sum has passed the threshold; then it starts again."""
    if z is None:
        return msgspec.structs.replace(state, steps=state.steps + 1), None
    allowance, limit = settings.shift / 2, threshold(settings)
    steps = state.steps + 1
    up, down = max(state.up + z - allowance, 0.0), max(state.down - z - allowance, 0.0)
    if max(up, down) > limit:
        if up >= down:
            return SequentialState(), Change("up", state.up_zero, steps, up, limit)
        return SequentialState(), Change("down", state.down_zero, steps, down, limit)
    up_zero = steps if up == 0 else state.up_zero
    down_zero = steps if down == 0 else state.down_zero
    return SequentialState(up, down, steps, up_zero, down_zero), None


@lru_cache(maxsize=64)
def threshold(settings: SequentialSettings) -> float:
    """The decision interval with the expected run length without change; by bisection."""
    low, high = 0.0, 1.0
    while run_length(settings.shift / 2, high) < settings.run_length_steps:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        if run_length(settings.shift / 2, middle) < settings.run_length_steps:
            low = middle
        else:
            high = middle
    return high


def run_length(allowance: float, limit: float) -> float:
    """Expected steps to a signal, from zero and without change, of standard normal z.

    The two one-sided charts signal at half that distance: 1/L = 1/L_up + 1/L_down (Van Dobben de Bruyn 1968).
    """
    # State 0 is a sum of zero; the others are cells of equal width, represented by their centres.
    width = limit / (_STATES - 0.5)
    to: npt.NDArray[np.float64] = np.arange(_STATES) * width
    upper = ndtr(to[None, :] + width / 2 - to[:, None] + allowance)
    moves = np.diff(upper, axis=1, prepend=0.0)
    runs = np.linalg.solve(np.eye(_STATES) - moves, np.ones(_STATES))
    return float(runs[0]) / 2
