"""Compares two versions: what they say of themselves, and what they predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from udfs.errors import ModelError
from udfs.model.contract import Scored
from udfs.model.loading import LoadedModel, load_version, verified_files
from udfs.model.manifest import GOLDEN_FILE, Lineage, Manifest, digest
from udfs.tables import reader_of

Named = tuple[str, int]


def compare(registry: Registry, a: Named, b: Named) -> dict[str, Any]:
    """Differences as plain data, `tailrace.model-diff/1`. Each change is [in a, in b], null where absent.

    Raises `InputError` when a version cannot be loaded here.
    """
    first, second = _load(registry, a), _load(registry, b)
    left, right = first.manifest, second.manifest
    return {
        "schema": "tailrace.model-diff/1",
        "a": _about(first),
        "b": _about(second),
        "signature": changes(_signature(left), _signature(right)),
        "metrics": changes(left.metrics, right.metrics),
        "parameters": changes(_parameters(left), _parameters(right)),
        "libraries": changes(left.libraries, right.libraries),
        "predictions": _predictions(registry, a, b, first, second),
    }


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The keys whose values differ, with both values."""
    return {key: [a.get(key), b.get(key)] for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _load(registry: Registry, named: Named) -> LoadedModel:
    registry.manifest(*named)
    try:
        return load_version(registry.location(*named))
    except ModelError as error:
        raise InputError(f"{named[0]} version {named[1]} cannot be compared: {error}") from error


def _about(loaded: LoadedModel) -> dict[str, Any]:
    manifest = loaded.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "digest": loaded.digest,
        "format": manifest.format,
        "created_at": manifest.created_at,
    }


def _signature(manifest: Manifest) -> dict[str, Any]:
    inputs = {item.name: (place, item) for place, item in enumerate(manifest.signature.inputs)}
    shown = {
        f"input {name}": f"{place + 1}: {item.type}{'' if item.nullable else ', never null'}"
        + (f", one of {', '.join(map(str, item.values))}" if item.values else "")
        for name, (place, item) in inputs.items()
    }
    output = manifest.signature.output
    return {**shown, "output": f"{output.kind} {' '.join(map(str, output.classes))}".strip()}


def _parameters(manifest: Manifest) -> dict[str, Any]:
    """What lineage says, and what the maker wrote of the training."""
    lineage = manifest.lineage or Lineage()
    written = manifest.training.get("parameters")
    parameters = {**(written if isinstance(written, dict) else {}), **lineage.parameters}
    others = {"data": lineage.data or manifest.training.get("fingerprint"), "code": lineage.code}
    return parameters | {key: value for key, value in others.items() if value is not None}


def _predictions(
    registry: Registry, a: Named, b: Named, first: LoadedModel, second: LoadedModel
) -> dict[str, Any]:
    """How the two agree on the golden rows of both; null where they have not the same inputs and output."""
    schema = first.model.signature.schema()
    if not schema.equals(second.model.signature.schema()):
        return {"rows": 0, "why": "the inputs differ"}
    if first.manifest.signature.output != second.manifest.signature.output:
        return {"rows": 0, "why": "the outputs differ"}
    rows = pa.concat_tables([golden_inputs(registry, a), golden_inputs(registry, b)])
    left, right = first.model.predict(rows), second.model.predict(rows)
    apart = np.abs(_numbers(left) - _numbers(right))
    apart = apart.max(axis=1) if apart.ndim == 2 else apart
    found: dict[str, Any] = {
        "rows": rows.num_rows,
        "mean_difference": float(apart.mean()),
        "largest_difference": float(apart.max()),
    }
    if first.manifest.signature.output.kind != "regression":
        changed = sum(was != now for was, now in zip(left.prediction, right.prediction, strict=True))
        found["changed"] = changed
    return found


def golden_inputs(registry: Registry, named: Named) -> pa.Table:
    """The inputs of a version's golden rows, in its signature's schema."""
    manifest, files = verified_files(registry.location(*named))
    table = pq.read_table(reader_of(files[GOLDEN_FILE]))
    return table.select(manifest.signature.names).cast(manifest.signature.schema())


def _numbers(scored: Scored) -> Any:
    if scored.probabilities is not None:
        return scored.probabilities
    return scored.score if scored.score is not None else np.asarray(scored.prediction, dtype=np.float64)


def as_data(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain data, with its digest."""
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    return plain | {"digest": digest(manifest)}
