"""What was known of a version's errors at training, from rows that it was not fitted on: its `expected.json`.

`losses`: how far off a regression is of records like these (direct loss estimation, DLE). `calibration`: how
often a score comes true. `reference`: how right it was, and how much that varied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from udfs.errors import ModelError, StoreError
from udfs.model.loading import listed_file
from udfs.model.manifest import EXPECTED_FILE
from udfs.quality.params import QualityParams
from udfs.store import open_store

log = structlog.get_logger(__name__)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PREDICTION = "prediction"


class Calibration(msgspec.Struct, frozen=True):
    """The share of positive labels by the score, linear between these."""

    scores: list[float]
    positive: list[float]

    def __post_init__(self) -> None:
        _check(self.scores, self.positive)
        if self.positive != sorted(self.positive) or not 0 <= self.positive[0] <= self.positive[-1] <= 1:
            raise ValueError("shares of positive labels must be from 0 to 1, and not fall")

    def at(self, score: float) -> float:
        return float(np.interp(score, self.scores, self.positive))


class Losses(msgspec.Struct, frozen=True):
    """A tree of records, by what they are and what the model said, with the errors in each of its leaves.

    A record goes `left` where its value of `inputs[feature]` is at most the threshold, as 32-bit floats; a
    missing one where `missing_left` says. Leaves have no feature, -1. `absolute`, `squared` and `fourth` are
    the mean powers of the errors of each node. The input `prediction` is what the model said.
    """

    inputs: list[str]
    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    missing_left: list[bool]
    absolute: list[float]
    squared: list[float]
    fourth: list[float]

    def __post_init__(self) -> None:
        nodes = len(self.feature)
        columns = (self.threshold, self.left, self.right, self.missing_left)
        moments = (self.absolute, self.squared, self.fourth)
        if not nodes or any(len(column) != nodes for column in (*columns, *moments)):
            raise ValueError("a tree must have one value for each node, and at least one")
        if min(min(moment) for moment in moments) < 0:
            raise ValueError("errors must not be negative")
        for node, (feature, *children) in enumerate(zip(self.feature, self.left, self.right, strict=True)):
            if not -1 <= feature < len(self.inputs):
                raise ValueError("a node must ask for one of the inputs")
            if feature >= 0 and not all(node < child < nodes for child in children):
                raise ValueError("the nodes of a tree must come after their parents")

    def leaves(self, columns: Mapping[str, Floats]) -> Ints:
        """The leaf of each of n records, by its number among the nodes."""
        values = np.column_stack([columns[name] for name in self.inputs])
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        feature, threshold = np.array(self.feature), np.array(self.threshold)
        left, right, missing = np.array(self.left), np.array(self.right), np.array(self.missing_left)
        at, rows = np.zeros(len(values), dtype=np.int64), np.arange(len(values))
        while len(rows := rows[feature[at[rows]] >= 0]):
            nodes = at[rows]
            asked = values[rows, feature[nodes]]
            goes = np.where(np.isnan(asked), missing[nodes], asked <= threshold[nodes])
            at[rows] = np.where(goes, left[nodes], right[nodes])
        return at


class ReferenceQuality(msgspec.Struct, frozen=True):
    """A metric in so many `blocks` of time: of all, its standard error, and how much blocks differ.

    `between` is the standard deviation of blocks beyond what the rows in them make by chance.
    """

    metric: Literal["auc", "accuracy", "mae"]
    value: float
    error: float
    between: float
    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 2 or min(self.error, self.between) < 0:
            raise ValueError("a reference must have two blocks or more, and no negative error")


class Expected(msgspec.Struct, frozen=True, omit_defaults=True):
    """`rows`: as many gave `losses` or `calibration`."""

    rows: int
    schema: Literal["tailrace.expected/1"] = "tailrace.expected/1"
    losses: Losses | None = None
    calibration: Calibration | None = None
    reference: ReferenceQuality | None = None

    def beside(self, error: float, rows: int) -> float:
        """The standard error of what comes of `rows` less what was expected, which is of a sample too.

        `error` is that beside an exact expectation.
        """
        return error * math.sqrt(1 + rows / self.rows)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError("rows must be 1 or more")


_decoder = msgspec.json.Decoder(Expected)


def parse_expected(data: bytes) -> Expected:
    """Raises ModelError for what is no such file."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"{EXPECTED_FILE} must be of tailrace.expected/1: {error}") from error


class ExpectedOf:
    """That of each version, read when it is first asked for; None where there is none that can be trusted."""

    def __init__(self, params: QualityParams) -> None:
        self._params = params
        self._known: dict[int, Expected | None] = {}

    def __call__(self, version: int) -> Expected | None:
        if version not in self._known:
            self._known[version] = self._read(version)
        return self._known[version]

    def _read(self, version: int) -> Expected | None:
        params = self._params
        if params.model_folder is None:
            return None
        try:
            place = open_store(params.model_folder).location(f"versions/{version}")
            digest = params.digests.get(version)
            data = listed_file(place, EXPECTED_FILE, digest=digest, trust=params.trust)
            return parse_expected(data) if data is not None else None
        except (OSError, ModelError, StoreError) as error:
            log.warning("no_expected_quality", version=version, error=str(error))
            return None


def _check(places: Sequence[float], values: Sequence[float]) -> None:
    if not places or len(values) != len(places):
        raise ValueError("there must be one value for each place, and at least one")
    if any(b <= a for a, b in pairwise(places)):
        raise ValueError("places must increase")
