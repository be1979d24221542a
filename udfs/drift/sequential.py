"""Detects changes before a window ends, by a two-sided CUSUM on the mean rank of fixed steps in event time.

A step is compared with the reference and all steps before it together: so without change the scores are
independent and standard normal, however small the reference is (recursive residuals, as in the self-starting
CUSUM of Hawkins, The Statistician 36, 1987, 299-316). How often it signals without change is set as a run
length; from that follows the decision interval, by the Markov chain of Brook and Evans (Biometrika 59, 1972).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from udfs.profile.steps import UNIT, Ranks, Sums

_STATES = 200
# The mean rank of so many values is close enough to normal.
MIN_VALUES = 20
Direction = Literal["up", "down"]


class SequentialSettings(msgspec.Struct, frozen=True):
    """`run_length` is the expected number of steps to a false signal, 20 to 100,000.

    `shift` is the change of a step's mean, in its standard errors, that is to be found the fastest. A change
    of the mean rank below `min_effect` is no signal, however sure it is.
    """

    run_length: float
    shift: float = 1.0
    min_effect: float = 0.0

    def __post_init__(self) -> None:
        if not 20 <= self.run_length <= 100_000:
            raise ValueError(f"run_length must be 20 to 100,000 steps; got {self.run_length}")
        if not 0.1 <= self.shift <= 5:
            raise ValueError(f"shift must be 0.1 to 5; got {self.shift}")


class RankStep(msgspec.Struct, frozen=True):
    """[start, end) in ms of event time, and the sum of n ranks."""

    start: int
    end: int
    n: int
    total: int


class Cusum(msgspec.Struct, frozen=True):
    """One of the two sums.

    `since` is where the first step after its last zero began, null while it is zero; `before` are all values
    before that.
    """

    value: float = 0.0
    since: int | None = None
    before: Sums = (0, 0)


class SequentialState(msgspec.Struct, frozen=True):
    """`past` are the steps without change; `waiting` what is too little to be a step yet, and its start.

    While a change is `open`, nothing is added to `past`: its steps are not what is normal. It is over when
    the values are nearer to the past again than to the change, whose size is `moved`, of a mean rank.
    """

    up: Cusum = Cusum()
    down: Cusum = Cusum()
    past: Sums = (0, 0)
    waiting: Sums = (0, 0)
    waiting_since: int | None = None
    open: Direction | None = None
    moved: float = 0.0


class Change(msgspec.Struct, frozen=True):
    """`began`: a change of the mean rank by `effect` since `since` (ms); else that it is over."""

    began: bool
    direction: Direction
    since: int
    value: float
    threshold: float
    effect: float


def advance(
    state: SequentialState, settings: SequentialSettings, ranks: Ranks, step: RankStep
) -> tuple[SequentialState, Change | None]:
    """The state after a step, and what changed with it. A step of few values waits for the next one."""
    n, total = state.waiting[0] + step.n, state.waiting[1] + step.total
    start = step.start if state.waiting_since is None else state.waiting_since
    if n < MIN_VALUES:
        return msgspec.structs.replace(state, waiting=(n, total), waiting_since=start), None
    z = score((n, total), state.past, ranks)
    least = settings.shift / 2
    halfway = max(least, _in_errors(state.moved * UNIT / 2, n, state.past, ranks))
    up = _summed(state.up, z, halfway if state.open == "up" else least)
    down = _summed(state.down, -z, halfway if state.open == "down" else least)
    past = state.past if state.open else _plus(state.past, (n, total))
    up, down = _dated(up, start, state.past, past), _dated(down, start, state.past, past)
    after = SequentialState(up, down, past, open=state.open, moved=state.moved)
    if state.open:
        return _closed(after, settings)
    return _opened(after, settings, ranks)


def score(step: Sums, past: Sums, ranks: Ranks) -> float:
    """How far a step's mean lies from that of all before, in standard errors; 0 for a constant column."""
    distance = step[1] / step[0] - (ranks.total + past[1]) / max(ranks.rows + past[0], 1)
    return _in_errors(distance, step[0], past, ranks)


def _in_errors(distance: float, n: int, past: Sums, ranks: Ranks) -> float:
    rows = ranks.rows + past[0]
    if not (ranks.deviation > 0 and rows):
        return 0.0
    return distance / (ranks.deviation * math.sqrt(ranks.design(n) * (1 / n + 1 / rows)))


def _summed(before: Cusum, z: float, allowance: float) -> Cusum:
    return msgspec.structs.replace(before, value=max(before.value + z - allowance, 0.0))


def _dated(current: Cusum, start: int, before: Sums, past: Sums) -> Cusum:
    if not current.value:
        return Cusum(before=past)
    return current if current.since is not None else Cusum(current.value, start, before)


def _opened(
    state: SequentialState, settings: SequentialSettings, ranks: Ranks
) -> tuple[SequentialState, Change | None]:
    direction: Direction = "up" if state.up.value >= state.down.value else "down"
    leading, limit = getattr(state, direction), threshold(settings)
    if leading.value <= limit:
        return state, None
    effect = _effect(leading, state.past, ranks)
    if effect < settings.min_effect:
        return _clamped(state, limit), None
    change = Change(True, direction, leading.since, leading.value, limit, effect)
    opened = msgspec.structs.replace(state, past=leading.before, open=direction, moved=effect)
    return _clamped(opened, limit), change


def _closed(state: SequentialState, settings: SequentialSettings) -> tuple[SequentialState, Change | None]:
    assert state.open
    leading, limit = getattr(state, state.open), threshold(settings)
    if leading.value:
        return _clamped(state, limit), None
    over = Change(False, state.open, 0, 0.0, limit, 0.0)
    return SequentialState(past=state.past), over


def _clamped(state: SequentialState, limit: float) -> SequentialState:
    """At most the threshold, so that a change that is over is soon seen to be."""
    replace = msgspec.structs.replace
    up, down = (replace(each, value=min(each.value, limit)) for each in (state.up, state.down))
    return replace(state, up=up, down=down)


def _effect(leading: Cusum, past: Sums, ranks: Ranks) -> float:
    """By how much the mean rank since the change differs from that before, as a share of 1."""
    n, total = past[0] - leading.before[0], past[1] - leading.before[1]
    rows = ranks.rows + leading.before[0]
    return abs(total / n - (ranks.total + leading.before[1]) / rows) / UNIT


def _plus(first: Sums, second: Sums) -> Sums:
    return first[0] + second[0], first[1] + second[1]


@lru_cache(maxsize=64)
def threshold(settings: SequentialSettings) -> float:
    """The decision interval with the expected run length without change; by bisection."""
    low, high = 0.0, 1.0
    while run_length(settings.shift / 2, high) < settings.run_length:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        if run_length(settings.shift / 2, middle) < settings.run_length:
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
