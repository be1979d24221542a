"""Holds one model version, ready for a job's rows: its model, what feeds it, and its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.contract import Scored
from udfs.model.explain.column import Explaining
from udfs.model.loading import LoadedModel
from udfs.model.manifest import PROFILE_FILE, Manifest
from udfs.profile.batch_profiler import BatchProfiler
from udfs.profile.params import CollectParams
from udfs.profile.reference import Reference, parse_reference
from udfs.records.numbers import cast_column
from udfs.scoring.params import FollowParams
from udfs.scoring.shadow import ShadowParams
from udfs.types import ColumnType

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

    def predict(self, inputs: pa.Table) -> Scored:
        return self.loaded.model.predict(inputs, threshold=self.threshold)


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
    params = msgspec.structs.replace(params, columns=columns)
    return BatchProfiler(params, reference, loaded.manifest.version)


def read_reference(loaded: LoadedModel) -> Reference:
    """A version's reference profile. Raises ModelError where there is none that can be used."""
    try:
        return parse_reference(loaded.profile)
    except ModelError as error:
        manifest = loaded.manifest
        raise ModelError(f"{manifest.name} version {manifest.version}: {PROFILE_FILE}: {error}") from error
