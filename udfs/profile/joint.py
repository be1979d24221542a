"""Compares how columns move together: the correlations of a window against the reference's.

Each window's own means and variances are taken out, so that a shift or a new scale of a single column, which
its own statistics show, does not move the score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.profile.blocks import Blocks, correlation_of_sums, in_blocks
from udfs.profile.counts import JointCounts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[Any]

MAX_COLUMNS = 32
MIN_REFERENCE_ROWS = 100
MIN_ROWS = 30
_UNIT = 1024
_LIMIT = 8 * _UNIT
# A product of two values is at most 2**26, so that all partial sums of a block stay far below 2**53.
_BLOCK = 100_000
_SIZES = (30, 100, 300, 1_000)
_RESAMPLES = 3_000
_LIMIT_SIZE = 10**9
_LIMIT_ROWS = 20_000
_PAIRS = 3
_MIN_SCALE = 1e-300
_MIN_STD = 1e-9
# Values of resamples at once: large enough for numpy, small enough for the processor's cache.
_CHUNK = 2**17


class JointNull(msgspec.Struct, frozen=True):
    """Moments of n·D² of n rows like the reference's, for increasing `sizes` n; the last is the limit."""

    sizes: list[int]
    mean: list[float]
    std: list[float]
    skewness: list[float]

    def __post_init__(self) -> None:
        if not len(self.sizes) == len(self.mean) == len(self.std) == len(self.skewness) > 0:
            raise ValueError("the joint null law must have the same moments for each size")
        if self.sizes[0] < 1 or any(a >= b for a, b in zip(self.sizes, self.sizes[1:], strict=False)):
            raise ValueError("the sizes of the joint null law must be positive and increase")
        if not np.isfinite([*self.mean, *self.std, *self.skewness]).all() or min(self.std) < 0:
            raise ValueError("the moments of the joint null law must be finite")

    def gamma(self, n: float) -> tuple[float, float, float]:
        """Shape, location and scale of the gamma law with these three moments (Pearson type III)."""
        where = 1 / n
        places = [1 / size for size in reversed(self.sizes)]
        mean, std, skewness = (
            float(np.interp(where, places, moments[::-1])) for moments in (self.mean, self.std, self.skewness)
        )
        # Floors: columns that determine one another leave rounding errors only.
        std, skewness = max(std, _MIN_STD), max(skewness, 0.1)
        return 4 / skewness**2, mean - 2 * std / skewness, std * skewness / 2


class JointReference(msgspec.Struct, frozen=True):
    """k columns with their standardization and (k, k) correlation over `rows` complete reference rows.

    `mean` and `scale` are those of the values clipped to their 5% and 95% quantiles, so that a few outliers
    of the reference do not decide. `blocks` say how alike rows near in time are in what correlations are of.
    """

    columns: list[str]
    mean: list[float]
    scale: list[float]
    correlation: list[list[float]]
    rows: int
    null: JointNull
    blocks: Blocks = []

    def __post_init__(self) -> None:
        k = len(self.columns)
        if k < 2 or k > MAX_COLUMNS or len(set(self.columns)) != k:
            raise ValueError(f"joint columns must be 2 to {MAX_COLUMNS} distinct names; got {k}")
        if [len(self.mean), len(self.scale), len(self.correlation), *map(len, self.correlation)] != [k] * (
            k + 3
        ):
            raise ValueError(f"joint mean, scale and correlation must have {k} entries for {k} columns")
        if not (
            np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and min(self.scale) > _MIN_SCALE
        ):
            raise ValueError("joint mean and scale must be finite, and scale positive")
        if not (np.abs(self.correlation) <= 1).all():
            raise ValueError("joint correlations must be from -1 to 1")
        if self.rows < 1:
            raise ValueError("joint rows must be positive")


msgspec.json.Decoder(JointReference)  # so that it is known before there are threads: `udfs.model.manifest`


def parse_joint(data: dict[str, Any]) -> JointReference:
    """Raises ValueError when parts are missing or do not fit together."""
    try:
        return msgspec.convert(data, JointReference)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def joint_reference(
    columns: Mapping[str, Floats], seed: int, times: Ints | None = None
) -> dict[str, Any] | None:
    """The `joint` of a profile, from numeric columns of equal length, NaN for null, or None.

    Columns that are constant, or missing in more than half of the rows, are left out, and those after the
    first 32. None if fewer than 2 columns or 100 complete rows remain. The order of the rows does not matter,
    but for their `times` in ms.
    """
    found = {name: _standardization(values) for name, values in columns.items()}
    usable = {name: pair for name, pair in found.items() if pair}
    names = list(usable)[:MAX_COLUMNS]
    if len(names) < 2:
        return None
    mean, scale = [usable[name][0] for name in names], [usable[name][1] for name in names]
    rows = _integers(mean, scale, [columns[name] for name in names])
    if rows.shape[1] < MIN_REFERENCE_ROWS:
        return None
    varying = np.ptp(rows, axis=1) > 0
    if not varying.all():
        kept = {n: columns[n] for n, keep in zip(names, varying, strict=True) if keep}
        return joint_reference(kept, seed, times)
    in_time = rows
    rows = rows[:, np.lexsort(rows)]
    counts = _block_counts(rows)
    correlation = _correlation(counts, np.eye(len(names)))
    null = _null_law(rows, correlation, seed)
    blocks: Blocks = []
    if times is not None:
        complete = np.isfinite([columns[name] for name in names]).all(axis=0)
        blocks = _blocks(in_time.T, correlation, times[complete])
    reference = JointReference(names, mean, scale, correlation.tolist(), counts.n, null, blocks)
    return msgspec.to_builtins(reference)  # type: ignore[no-any-return]


def joint_counts(reference: JointReference, columns: Mapping[str, Floats]) -> JointCounts:
    """Count (rows,) float64 columns, NaN for null; rows with a value that is not finite are left out.

    Raises KeyError for a missing column. Any split of the rows into batches gives the same sums.
    """
    arrays = [columns[name] for name in reference.columns]
    k = len(arrays)
    total = JointCounts(0, np.zeros(k, dtype=np.int64), np.zeros((k, k), dtype=np.int64))
    for start in range(0, len(arrays[0]), _BLOCK):
        block = [values[start : start + _BLOCK] for values in arrays]
        total = total.merged(_block_counts(_integers(reference.mean, reference.scale, block)))
    return total


def _standardization(values: Floats) -> tuple[float, float] | None:
    """Mean and scale of a column; None if it is constant, too large to square or mostly missing."""
    present = np.sort(values[np.isfinite(values)])
    if 2 * len(present) < max(len(values), 2):
        return None
    low, high = np.quantile(present, [0.05, 0.95], method="inverted_cdf")
    with np.errstate(over="ignore", invalid="ignore"):
        for part in (np.clip(present, low, high), present):
            mean, scale = float(part.mean()), float(part.std())
            if scale > _MIN_SCALE:
                return (mean, scale) if math.isfinite(mean + scale) else None
    return None


def _integers(mean: Sequence[float], scale: Sequence[float], columns: Sequence[Floats]) -> Floats:
    """The complete rows, standardized, clipped and rounded to 1/1024, as (k, rows) integers in float64."""
    result = np.empty((len(columns), len(columns[0])))
    complete = np.ones(result.shape[1], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for row, centre, unit, values in zip(result, mean, scale, columns, strict=True):
            complete &= np.isfinite(values)
            np.subtract(values, centre, out=row)
            np.divide(row, unit / _UNIT, out=row)
            np.clip(row, -_LIMIT, _LIMIT, out=row)
            np.rint(row, out=row)
    return result if complete.all() else result[:, complete]


def _block_counts(rows: Floats) -> JointCounts:
    first, second = rows.sum(axis=1), rows @ rows.T
    return JointCounts(rows.shape[1], first.astype(np.int64), second.astype(np.int64))


def _correlation(counts: JointCounts, fallback: Floats) -> Floats:
    """Pearson's r from exact integers, (k, k); the fallback's where a column is constant."""
    return _correlations(counts.n, counts.first, counts.second, fallback)


def _correlations(n: int, first: Sums, second: Sums, fallback: Floats) -> Floats:
    """`_correlation` of each of many sums at once, (..., k) and (..., k, k)."""
    # |z| <= 2**13, so that n² z² fits in a double below 2**13 rows and in 64 bits below 2**18.
    exact = np.float64 if n < 2**13 else np.int64 if n < 2**18 else object
    first, second = first.astype(exact, copy=False), second.astype(exact, copy=False)
    covariance = (n * second - first[..., :, None] * first[..., None, :]).astype(np.float64, copy=False)
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    product = deviation[..., :, None] * deviation[..., None, :]
    known = product > 0
    result: Floats = np.where(known, np.clip(covariance / np.where(known, product, 1.0), -1.0, 1.0), fallback)
    return result


def _null_law(rows: Floats, correlation: Floats, seed: int) -> JointNull:
    random = np.random.default_rng(seed)
    by_row = np.ascontiguousarray(rows.T)
    moments = [_moments(_scores(by_row, correlation, size, random)) for size in _SIZES]
    chosen = by_row if len(by_row) <= _LIMIT_ROWS else random.choice(by_row, _LIMIT_ROWS, replace=False)
    moments.append(_limit(chosen, correlation))
    mean, std, skewness = (list(part) for part in zip(*moments, strict=True))
    return JointNull([*_SIZES, _LIMIT_SIZE], mean, std, skewness)


def _scores(by_row: Floats, correlation: Floats, size: int, random: np.random.Generator) -> Floats:
    """n·D² of resamples of n = `size` rows each."""
    first, second = np.triu_indices(len(correlation), 1)
    at_once = max(_CHUNK // (size * len(correlation)), 1)
    scores = []
    for start in range(0, _RESAMPLES, at_once):
        drawn = random.integers(0, len(by_row), (min(at_once, _RESAMPLES - start), size))
        chosen = by_row.take(drawn, axis=0)
        # Products of matrices are the quickest sums, and exact for integers.
        sums, squares = np.ones(size) @ chosen, chosen.transpose(0, 2, 1) @ chosen
        change = _correlations(size, sums, squares, correlation) - correlation
        scores.append(size * np.mean(np.ascontiguousarray(change[:, first, second]) ** 2, axis=1))
    return np.concatenate(scores)


def _moments(values: Floats) -> tuple[float, float, float]:
    mean, std = float(values.mean()), float(values.std())
    third = float(np.mean((values - mean) ** 3))
    return mean, std, third / std**3 if std > _MIN_STD else 0.0


def _limit(by_row: Floats, correlation: Floats) -> tuple[float, float, float]:
    """Moments of n·D² for many rows, where it is a sum of weighted χ²₁, by the delta method.

    The weights are the eigenvalues of the covariance of r's influence values.
    """
    influence = _influence(by_row, correlation)
    weights = np.linalg.eigvalsh(influence.T @ influence / len(influence)) / influence.shape[1]
    std = math.sqrt(2 * float(np.sum(weights**2)))
    third = 8 * float(np.sum(weights**3))
    return float(weights.sum()), std, third / std**3 if std > _MIN_STD else 0.0


def _influence(by_row: Floats, correlation: Floats) -> Floats:
    """By how much each row moves each correlation r: u v − r (u² + v²) / 2, (rows, pairs)."""
    deviation = by_row.std(axis=0)
    unit = (by_row - by_row.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    first, second = np.triu_indices(len(correlation), 1)
    squares = unit**2
    influence = unit[:, first] * unit[:, second]
    influence -= correlation[first, second] / 2 * (squares[:, first] + squares[:, second])
    influence -= influence.mean(axis=0)
    return np.asarray(influence)


def _blocks(by_row: Floats, correlation: Floats, times: Ints) -> Blocks:
    """Empty where rows near in time are no more alike than others."""
    order = np.argsort(times, kind="stable")[:_LIMIT_ROWS]
    influence = _influence(by_row[order], correlation)
    squares = float(np.square(influence).sum())
    found: Blocks = []
    for length, numbers in in_blocks(times[order]):
        sizes = np.bincount(numbers)
        sums = np.add.reduceat(influence, np.cumsum(sizes) - sizes)
        found.append((length, correlation_of_sums(sums, squares, sizes)))
    return found if any(value for _, value in found) else []
