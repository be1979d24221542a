"""Tests whether two columns go together as in the reference, whatever became of each of them.

Of each pair there is a table of levels, in the reference and now. Without a change both have the same odds
ratios, and shares of rows and columns of their own: the log-linear model without an interaction of all three
(Birch, "Maximum likelihood in three-way contingency tables", JRSS B, 1963), fitted by iterative proportions
(Deming and Stephan 1940), on the cells that have rows enough. What is in the others together has a binomial
test: values that never came together in the reference now do. The surest test counts for all of them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from udfs.drift.compare import Alike
from udfs.drift.records import JointReport, PairChange, Verdict
from udfs.profile.blocks import correlation_in, correlation_of_all
from udfs.profile.counts import Ints
from udfs.profile.pairs import PairColumn, PairReference, pair_places
from udfs.profile.reference import CategoricalReference, Reference

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
MIN_ROWS = 30
# Rows that a cell is expected to have, to be looked at by itself.
_LEAST = 5.0
_SWEEPS = 500
_CLOSE = 1e-9
_TINY = 1e-12
_SHOWN = 3
_NAMED = 3


def judge_pairs(reference: Reference, counts: Ints, level: float, window_ms: int) -> JointReport | None:
    """`counts` (pairs, width, width); None where no two of the columns were counted.

    With fewer than 30 rows, or as many as so few independent ones, it is `insufficient_data`. Rows of
    `window_ms` are as alike as the reference's blocks say. q = p: the caller corrects it.
    """
    from scipy.special import betainc, gammaincc, gammainccinv  # Start-up: slow to import.  # noqa: PLC0415

    pairs = reference.pairs
    assert pairs is not None
    known, now = pairs.counts().astype(np.float64), counts.astype(np.float64)
    rows = now.sum(axis=(1, 2))
    m, n = _effective(pairs, known.sum(axis=(1, 2)), rows, window_ms)
    there = int(rows.max(initial=0))
    if not there:
        return None
    enough = (n >= MIN_ROWS) & (m >= MIN_ROWS)
    known *= _ratio(m, known)
    now *= _ratio(n, now)
    large = _large(known, m, n) & enough[:, None, None]
    fitted = _fit(np.where(large[..., None], np.stack([known, now], axis=-1), 0.0))
    degrees = _degrees(large)
    off = np.where(large, known - fitted[..., 0], 0.0), np.where(large, now - fitted[..., 1], 0.0)
    squares = sum(
        (gap**2 / np.maximum(fitted[..., side], _TINY)).sum(axis=(1, 2)) for side, gap in enumerate(off)
    )
    # As so many fewer degrees: Rao and Scott's second correction (Annals of Statistics, 1984).
    even = np.array(pairs.even or [1.0] * len(m))
    shapes = np.maximum(degrees, 1) * even / 2
    p = np.where(degrees > 0, gammaincc(shapes, np.asarray(squares) * even / 2), 1.0)
    whole = _fit(np.stack([known, now], axis=-1))
    small = _small(known, large) & enough[:, None, None]
    rare = _rare(known, now, whole, small, betainc)
    tests = int(np.count_nonzero(degrees > 0) + np.count_nonzero(small.any(axis=(1, 2))))
    each = np.minimum(p, rare)
    order = np.argsort(each, kind="stable")
    best = int(order[0])
    # A difference from what both tables together make expect is a part of that from the reference.
    moved = (
        (now - whole[..., 1]) * ((m + n) / np.maximum(m, 1))[:, None, None] / np.maximum(n, 1)[:, None, None]
    )
    value = float(min(np.abs(moved[best]).sum() / 2, 1.0))
    if not tests:
        return JointReport(there, value, 1.0, 1.0, 1.0, "insufficient_data", (), "pairs")
    least = float(gammainccinv(shapes[best], level / tests) * 2 / even[best])
    threshold = min(math.sqrt(least * (1 / float(m[best]) + 1 / float(n[best]))) / 2, 1.0)
    total = min(float(each[best]) * tests, 1.0)
    shares = now / np.maximum(n, 1)[:, None, None]
    changes = tuple(_change(reference, int(pair), shares[pair], moved[pair]) for pair in order[:_SHOWN])
    verdict: Verdict = "drift" if total <= level else "ok"
    return JointReport(there, value, threshold, total, total, verdict, changes, "pairs")


def _effective(pairs: PairReference, m: Floats, n: Floats, window_ms: int) -> tuple[Floats, Floats]:
    """As how many independent rows those of the reference, and of the window, count in each pair."""
    blocks = pairs.blocks or [[]] * len(m)
    known = np.array([correlation_of_all(each) for each in blocks])
    return Alike(known, np.array([correlation_in(each, window_ms) for each in blocks])).effective(m, n)


def _ratio(effective: Floats, counts: Floats) -> Floats:
    found: Floats = effective / np.maximum(counts.sum(axis=(1, 2)), 1)
    return found[:, None, None]


def _large(known: Floats, m: Floats, n: Floats) -> Flags:
    """By the reference alone, so that no window chooses its own test."""
    least = _LEAST * np.maximum(m / np.maximum(n, _TINY), 1.0)
    found: Flags = known >= least[:, None, None]
    return found


def _small(known: Floats, large: Flags) -> Flags:
    """Of levels that the reference has: the others have no part in how the columns go together."""
    found: Flags = ~large & (known.sum(axis=2) > 0)[:, :, None] & (known.sum(axis=1) > 0)[:, None, :]
    return found


def _fit(tables: Floats) -> Floats:
    """The expected counts of (pairs, width, width, 2) tables with odds ratios in common; 0 where both are."""
    found = np.where(tables.sum(axis=-1, keepdims=True) > 0, 1.0, 0.0) * np.ones(2)
    total = max(float(tables.sum(axis=(1, 2, 3)).max(initial=0.0)), 1.0)
    for _ in range(_SWEEPS):
        worst = 0.0
        for axis in (3, 2, 1):
            wanted, made = tables.sum(axis=axis, keepdims=True), found.sum(axis=axis, keepdims=True)
            worst = max(worst, float(np.abs(wanted - made).max()))
            found = found * np.where(made > 0, wanted / np.where(made > 0, made, 1.0), 0.0)
        if worst <= _CLOSE * total:
            break
    return np.asarray(found)


def _degrees(large: Flags) -> Ints:
    """Cells, less what rows and columns of the table explain: one each, less one for each separate part."""
    cells = large.astype(np.float64)
    rows, columns = cells.sum(axis=2), cells.sum(axis=1)
    width = large.shape[1]
    both = np.zeros((len(large), 2 * width, 2 * width))
    place = np.arange(width)
    both[:, place, place], both[:, width + place, width + place] = rows, columns
    both[:, :width, width:], both[:, width:, :width] = cells, cells.transpose(0, 2, 1)
    rank = np.linalg.matrix_rank(both, hermitian=True)
    return np.asarray(large.sum(axis=(1, 2)) - rank, dtype=np.int64)


def _rare(known: Floats, now: Floats, whole: Floats, small: Flags, betainc: np.ufunc) -> Floats:
    """Two-sided p of what is in the small cells together, given how many rows both tables have there."""
    before, after = (np.where(small, side, 0.0).sum(axis=(1, 2)) for side in (known, now))
    one, other = (np.where(small, whole[..., side], 0.0).sum(axis=(1, 2)) for side in (0, 1))
    share = np.clip(other / np.maximum(one + other, _TINY), 0.0, 1.0)
    more = np.where(after > 0, betainc(np.maximum(after, _TINY), before + 1, share), 1.0)
    fewer = np.where(before > 0, betainc(np.maximum(before, _TINY), after + 1, 1 - share), 1.0)
    found: Floats = np.where(one + other > _TINY, np.minimum(2 * np.minimum(more, fewer), 1.0), 1.0)
    return found


def _change(reference: Reference, pair: int, shares: Floats, moved: Floats) -> PairChange:
    """The cell that changed most."""
    assert reference.pairs is not None
    columns, width = reference.pairs.columns, reference.pairs.width
    firsts, seconds = pair_places(len(columns))
    first, second = columns[firsts[pair]], columns[seconds[pair]]
    row, column = divmod(int(np.argmax(np.abs(moved))), width)
    share = float(shares[row, column])
    before = min(max(share - float(moved[row, column]), 0.0), 1.0)
    cell = f"{_named(reference, first, row)}, {_named(reference, second, column)}"
    return PairChange(first.name, second.name, before, share, cell)


def _named(reference: Reference, column: PairColumn, level: int) -> str:
    """A level in words."""
    if level >= column.missing:
        return f"{column.name} missing"
    if column.cuts is not None:
        if level == 0:
            return f"{column.name} up to {column.cuts[0]:.4g}"
        if level == len(column.cuts):
            return f"{column.name} above {column.cuts[-1]:.4g}"
        return f"{column.name} from {column.cuts[level - 1]:.4g} to {column.cuts[level]:.4g}"
    known = reference.columns[column.name]
    assert isinstance(known, CategoricalReference)
    values = [value for value, at in zip(known.values, column.levels or [], strict=True) if at == level]
    listed = " or ".join(values[:_NAMED]) + (" …" if len(values) > _NAMED else "")
    return f"{column.name} {listed or 'of the other values'}"
