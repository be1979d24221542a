"""Writes a version as MLflow servers keep it: its files, an MLmodel beside them, parameters.

MLmodel                   flavors: Tailrace's own, and that of LightGBM or XGBoost
tailrace/manifest.json    the version's folder as it is
tailrace/model.joblib …
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from udfs.model.manifest import MANIFEST_FILE, Manifest
from udfs.store.base import Store

FOLDER = "tailrace"
_MOST_PARAMETERS, _LONGEST = 100, 500
_COLUMN_TYPES = {"double": "double", "long": "long", "string": "string", "boolean": "boolean"}


def write_artifacts(version: Store, manifest: Manifest, place: Path) -> None:
    """Copy the version and write its MLmodel into `place`."""
    (place / FOLDER).mkdir()
    for name in (MANIFEST_FILE, *manifest.files):
        (place / FOLDER / name).write_bytes(version.read(name))
    _mlmodel(manifest).save(str(place / "MLmodel"))


def run_parameters(manifest: Manifest) -> dict[str, str]:
    """What the version says of its training, flat, as MLflow's parameters: dotted names to short texts."""
    flat = dict(_flat(manifest.training))
    return {name: text[:_LONGEST] for name, text in list(flat.items())[:_MOST_PARAMETERS]}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _mlmodel(manifest: Manifest) -> Any:
    # Start-up: optional and slow to load.
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema, TensorSpec  # noqa: PLC0415

    columns: list[ColSpec | TensorSpec] = [
        ColSpec(_COLUMN_TYPES[item.type], item.name, required=not item.nullable)
        for item in manifest.signature.inputs
    ]
    model = Model(signature=ModelSignature(inputs=Schema(columns)))
    model.add_flavor("python_function", loader_module="flink_jobs.registry.mlflow.pyfunc", data=FOLDER)
    data, libraries = f"{FOLDER}/{manifest.model_file}", manifest.libraries
    if manifest.format == "lightgbm":
        model.add_flavor("lightgbm", data=data, lgb_version=libraries.get("lightgbm"))
    if manifest.format == "xgboost":
        booster = {"model_class": "xgboost.core.Booster", "model_format": "ubj"}
        model.add_flavor("xgboost", data=data, xgb_version=libraries.get("xgboost"), **booster)
    return model
