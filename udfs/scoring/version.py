"""Holds one model version, ready for a job's rows: its model, what feeds it, and its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from udfs.errors import ModelError
from udfs.model.contract import Scored
from udfs.model.explain.column import Explaining
from udfs.model.loading import LoadedModel
from udfs.model.manifest import PROFILE_FILE, Manifest
from udfs.profile.batch_profiler import BatchProfiler
from udfs.profile.params import CollectParams
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.vectors import watched_vectors
from udfs.quality.expected import PREDICTION, Expected, Losses, parse_expected
from udfs.quality.predicted import CELL
from udfs.records.numbers import cast_column
from udfs.scoring.params import FollowParams
from udfs.scoring.shadow import ShadowParams
from udfs.types import ColumnType

log = structlog.get_logger(__name__)
# How far off a shadow is of such records, beside its scores.
USUAL = "usual"
Inputs = tuple[tuple[str, str, ColumnType], ...]


@dataclass(frozen=True)
class Version:
    """`inputs` are (name, column, type) in the signature's order; without `watch` nothing is counted."""

    loaded: LoadedModel
    inputs: Inputs
    threshold: float
    watch: BatchProfiler | None = None
    explaining: Explaining | None = None
    #: How another process loads it.
    elsewhere: ShadowParams | None = None
    #: Whether it reads personal data, which its errors may tell.
    private: bool = False

    @property
    def number(self) -> int:
        return self.loaded.manifest.version

    @property
    def title(self) -> str:
        return f"{self.loaded.manifest.name}/{self.number}"

    def said(self, error: BaseException) -> str:
        """What it raised, in one line; of a model that reads personal data only the kind of error."""
        return type(error).__name__ if self.private else f"{type(error).__name__}: {error}"[:300]

    def tail(self, release: int | None, topic: str) -> dict[str, object]:
        """What every prediction of the version says at its end."""
        manifest = self.loaded.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "digest": self.loaded.digest,
            "release": release,
            "topic": topic,
        }

    def inputs_of(self, featured: pa.Table) -> pa.Table:
        """The model's inputs from a job's columns."""
        return pa.table(
            {name: cast_column(featured.column(column), kind) for name, column, kind in self.inputs}
        )

    @property
    def losses(self) -> Losses | None:
        """What is known of a regression's errors."""
        return self._expected.losses if self._expected else None

    @cached_property
    def _expected(self) -> Expected | None:
        """What cannot be read says nothing."""
        if not self.loaded.expected:
            return None
        try:
            return parse_expected(self.loaded.expected)
        except ModelError as error:
            log.warning("no_expected_quality", version=self.number, error=str(error))
            return None

    def cells(self, inputs: pa.Table, scores: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The leaf of its losses that each record is in, if they are known by these inputs."""
        losses = self.losses
        if losses is None or not {*losses.inputs} <= {*inputs.column_names, PREDICTION}:
            return {}
        columns = {name: numbers(inputs[name]) for name in losses.inputs if name != PREDICTION}
        return {CELL: pa.array(losses.leaves(columns | {PREDICTION: numbers(scores["prediction"])}))}

    def usual(self, inputs: pa.Table, scores: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """How far off it was of such rows in training: an `udfs.rollout.losses.UsualError` each, if known."""
        cells = self.cells(inputs, scores)
        if not cells or self._expected is None or self.losses is None:
            return {}
        leaves, losses = cells[CELL].to_numpy(), self.losses
        mean, squared = np.array(losses.absolute)[leaves], np.array(losses.squared)[leaves]
        rows = np.full(len(leaves), self._expected.rows)
        columns = [pa.array(each) for each in (mean, np.maximum(squared - mean**2, 0.0), rows)]
        return {USUAL: pa.StructArray.from_arrays(columns, ["mean", "variance", "rows"])}

    def predict(self, inputs: pa.Table) -> Scored:
        return self.loaded.model.predict(inputs, threshold=self.threshold)


def numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """NaN where there is none."""
    found: npt.NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def score_columns(scored: Scored, manifest: Manifest) -> dict[str, pa.Array]:
    """`prediction`, and `score` or `probabilities` where there are any, as n values each."""
    columns: dict[str, Any] = {"prediction": pa.array(scored.prediction)}
    if scored.score is not None:
        columns["score"] = pa.array(scored.score)
    if scored.probabilities is not None:
        classes = [str(label) for label in manifest.signature.output.classes]
        arrays = [pa.array(scored.probabilities[:, k]) for k in range(len(classes))]
        columns["probabilities"] = pa.StructArray.from_arrays(arrays, classes)
    return columns


def make_batch_profiler(
    params: CollectParams, loaded: LoadedModel, inputs: Inputs, follow: FollowParams
) -> BatchProfiler | None:
    """Counts a later version's rows on its own reference; None where it has no usable one."""
    try:
        reference = read_reference(loaded)
    except ModelError:
        return None
    known = reference.columns if follow.named else reference.watched
    columns = tuple(
        (name, column) for name, column, _ in inputs if column in follow.watched and name in known
    )
    vectors = watched_vectors(
        reference.vectors,
        {name: column for name, column, _ in inputs},
        follow.elements,
        follow.watched if follow.named else (),
    )
    params = msgspec.structs.replace(params, columns=columns, vectors=vectors)
    return BatchProfiler(params, reference, loaded.manifest.version)


def read_reference(loaded: LoadedModel) -> Reference:
    """A version's reference profile. Raises ModelError where there is none that can be used."""
    try:
        return parse_reference(loaded.profile)
    except ModelError as error:
        manifest = loaded.manifest
        raise ModelError(f"{manifest.name} version {manifest.version}: {PROFILE_FILE}: {error}") from error
