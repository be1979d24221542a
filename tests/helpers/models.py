"""Small fitted models in a registry of their own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import cloudpickle
import pandas as pd
import pyarrow as pa

from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Output, OutputKind, Signature
from udfs.profile.profile import reference_profile
from udfs.types import ARROW, TableType

_KINDS: dict[pa.DataType, Any] = {ARROW[kind]: kind for kind in get_args(TableType)}


def write(
    root: Path,
    name: str,
    estimator: Any,
    inputs: pa.Table,
    targets: Sequence[object] | None,
    kind: OutputKind,
    *,
    promoted: bool = True,
    **profile: Any,
) -> Path:
    """Registers a version in a folder, as the champion unless told otherwise, and gives its folder.

    `profile` are the further arguments of `register`.
    """
    registry = Registry(root)
    version = register(registry, name, estimator, inputs, targets, kind, **profile)
    if promoted:
        registry.promote(name, version)
    return registry.folder(name, version)


def register(
    registry: Registry,
    name: str,
    estimator: Any,
    inputs: pa.Table,
    targets: Sequence[object] | None,
    kind: OutputKind,
    *,
    profiled: pa.Table | None = None,
    segments: Sequence[str] | pa.Table = (),
    event_time: pa.ChunkedArray | None = None,
    unprofiled: Sequence[str] = (),
) -> int:
    """Fits the estimator to the rows, writes it without a release, and gives the version.

    `profiled` are the outputs for the rows, if the version is to have a reference profile of both, of
    `segments`, and of the hours of the week of `event_time`; without the inputs `unprofiled`.
    """
    frame = pd.DataFrame(inputs.to_pydict())
    estimator.fit(frame, targets)
    classes = () if kind in ("regression", "anomaly") else tuple(estimator.classes_.tolist())
    manifest = registry.write_version(
        name,
        model=_portable(estimator),
        signature=Signature(
            inputs=tuple(Input(name=field.name, type=_KINDS[field.type]) for field in inputs.schema),
            output=Output(kind=kind, classes=classes),
        ),
        golden_inputs=inputs,
        profile=reference_profile(
            inputs.drop_columns(list(unprofiled)), profiled, segments=segments, event_time=event_time
        )
        if profiled is not None
        else {},
        metrics={},
        training={},
    )
    return manifest.version


def _portable(estimator: Any) -> Any:
    """With the code of its class, where that is of the tests, which Flink's workers cannot import."""
    module = sys.modules[type(estimator).__module__]
    if not module.__name__.startswith("tests."):
        return estimator
    cloudpickle.register_pickle_by_value(module)
    return cloudpickle.dumps(estimator)
