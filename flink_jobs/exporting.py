"""A version as an ONNX graph: registered as a version of its own, if it says the same.

manifest = export_onnx(registry, "flight_delay", 3)
manifest.format, manifest.lineage.parent          # "onnx", 3
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from flink_jobs.comparing import golden_inputs
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from udfs import formats, golden
from udfs.errors import ModelError
from udfs.manifest import GOLDEN_FILE, Lineage, Manifest, Signature
from udfs.model import LoadedModel, load_version, verified_files

# What onnxruntime and skl2onnx support both.
OPSETS = {"": 21, "ai.onnx.ml": 3}


def export_onnx(registry: Registry, name: str, version: int) -> Manifest:
    """Write a scikit-learn version as ONNX, as the next version with this one as its parent.

    Raises `InputError` when it cannot be converted, or the graph does not reproduce the golden rows of the
    version within the tolerance of ONNX; then nothing is written.
    """
    manifest = registry.manifest(name, version)
    place = registry.location(name, version)
    _, files = verified_files(place)
    loaded = _load(place, name, version)
    graph = _faithful(loaded, files[GOLDEN_FILE], f"{name} version {version}")
    lineage = msgspec.structs.replace(manifest.lineage or Lineage(), parent=version)
    return registry.write_version(
        name,
        model=graph,
        format="onnx",
        signature=manifest.signature,
        golden_inputs=golden_inputs(registry, (name, version)),
        profile=json.loads(loaded.profile or b"{}"),
        metrics=manifest.metrics,
        training=manifest.training,
        lineage=lineage,
    )


def _load(place: str, name: str, version: int) -> LoadedModel:
    try:
        return load_version(place)
    except ModelError as error:
        raise InputError(f"{name} version {version} cannot be exported: {error}") from error


def _faithful(loaded: LoadedModel, golden_file: bytes, title: str) -> bytes:
    """The graph that reproduces the golden rows: with 32-bit inputs if that will do, else with 64."""
    estimator = getattr(loaded.model, "native", None)
    if loaded.manifest.format not in ("joblib", "skops"):
        raise InputError(f"{title} must be a scikit-learn model to be exported; got {loaded.manifest.format}")
    failures = []
    for bits in (32, 64):
        try:
            graph = _convert(estimator, loaded.manifest.signature, bits)
            model = formats.build("onnx", graph, loaded.manifest.signature)
            golden.check(model, golden_file, formats.TOLERANCES["onnx"])
        except ModelError as error:
            failures.append(f"with {bits}-bit floats {error}")
            continue
        return graph
    raise InputError(f"{title} cannot be exported: {'; '.join(failures)}")


def _convert(estimator: Any, signature: Signature, bits: int) -> bytes:
    try:
        from skl2onnx import to_onnx
    except ImportError as error:
        raise InputError(f"exporting needs skl2onnx: pip install 'tailrace[export]' ({error})") from None
    options = {"zipmap": False} if signature.output.classes else None
    try:
        graph = to_onnx(
            estimator,
            initial_types=_types(estimator, signature, bits),
            options=options,
            target_opset=OPSETS,
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"skl2onnx has no way: {reason}") from error
    return bytes(graph.SerializeToString())


def _types(estimator: Any, signature: Signature, bits: int) -> list[tuple[str, Any]]:
    """One input per column for an estimator that was fitted on columns, else one matrix."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    floats = FloatTensorType if bits == 32 else DoubleTensorType
    columns = hasattr(estimator, "feature_names_in_") or any(i.type == "string" for i in signature.inputs)
    if not columns:
        return [("inputs", floats([None, len(signature.inputs)]))]
    return [
        (item.name, StringTensorType([None, 1]) if item.type == "string" else floats([None, 1]))
        for item in signature.inputs
    ]
