"""Exports a version as an ONNX graph: a version of its own, if it reproduces the golden rows."""

from __future__ import annotations

import io
import json

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.diff import golden_inputs
from flink_jobs.registry.formats import client_format
from flink_jobs.registry.formats.onnx_runtime import with_offset
from udfs.errors import ModelError
from udfs.model import formats, golden
from udfs.model.format_table import FORMATS
from udfs.model.loading import LoadedModel, load_version, verified_files
from udfs.model.manifest import EXPECTED_FILE, GOLDEN_FILE, Lineage, Manifest, Signature
from udfs.tables import reader_of


def export_onnx(registry: Registry, name: str, version: int) -> Manifest:
    """Write a scikit-learn, LightGBM or XGBoost version as ONNX: the next version, with this as its parent.

    Where only rows with missing values differ, its inputs must not be missing. Raises `InputError` when it
    cannot be converted, or the graph does not reproduce the golden rows within the tolerance of ONNX; then
    nothing is written.
    """
    manifest = registry.manifest(name, version)
    location = registry.location(name, version)
    _, files = verified_files(location)
    loaded = _load(location, name, version)
    graph, signature = _faithful(loaded, files[GOLDEN_FILE], f"{name} version {version}")
    lineage = msgspec.structs.replace(manifest.lineage or Lineage(), parent=version)
    return registry.write_version(
        name,
        model=graph,
        format="onnx",
        signature=signature,
        golden_inputs=_complete(golden_inputs(registry, (name, version)), signature),
        profile=json.loads(loaded.profile or b"{}"),
        metrics=manifest.metrics,
        training=manifest.training,
        lineage=lineage,
        expected=files.get(EXPECTED_FILE),
    )


def _load(location: str, name: str, version: int) -> LoadedModel:
    try:
        return load_version(location)
    except ModelError as error:
        raise InputError(f"{name} version {version} cannot be exported: {error}") from error


def _faithful(loaded: LoadedModel, golden_file: bytes, title: str) -> tuple[bytes, Signature]:
    """The first graph that reproduces the golden rows, and its signature.

    Converters know no missing values of forests: a graph that reproduces all other rows takes none.
    """
    manifest = loaded.manifest
    ways = client_format(manifest.format).to_onnx
    if not ways:
        raise InputError(
            f"{title} must be a scikit-learn, LightGBM or XGBoost model to be exported; got {manifest.format}"
        )
    failures = []
    for signature in (manifest.signature, _without_null(manifest.signature)):
        for way, convert in ways.items():
            try:
                graph = convert(getattr(loaded.model, "native", None), signature)
                model = formats.build("onnx", graph, with_offset(graph, signature))
                golden.check(model, _complete_rows(golden_file, signature), FORMATS["onnx"].tolerance)
            except ModelError as error:
                failures.append(f"{way} {error}")
                continue
            return graph, signature
    raise InputError(f"{title} cannot be exported: {'; '.join(dict.fromkeys(failures))}")


def _without_null(signature: Signature) -> Signature:
    inputs = tuple(msgspec.structs.replace(item, nullable=False) for item in signature.inputs)
    return msgspec.structs.replace(signature, inputs=inputs)


def _complete(rows: pa.Table, signature: Signature) -> pa.Table:
    """The rows that miss nothing that must not be missing."""
    for item in signature.inputs:
        if not item.nullable:
            rows = rows.filter(rows[item.name].is_valid())
    return rows


def _complete_rows(golden_file: bytes, signature: Signature) -> bytes:
    rows, written = pq.read_table(reader_of(golden_file)), io.BytesIO()
    pq.write_table(_complete(rows, signature), written)
    return written.getvalue()
