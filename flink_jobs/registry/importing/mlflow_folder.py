"""Reads a folder that `mlflow.<flavor>.save_model` wrote: MLmodel, model file and example rows.

It needs no MLflow.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flink_jobs.errors import InputError
from flink_jobs.registry.formats import CLIENT_FORMATS, client_format, format_of
from flink_jobs.registry.importing.artifact import Artifact
from udfs.model.format_table import FORMATS, Format
from udfs.model.manifest import Input, InputType

_TYPES: dict[str, InputType] = {
    "double": "double",
    "float": "double",
    "long": "long",
    "integer": "long",
    "string": "string",
    "boolean": "boolean",
}
_VERSION_KEYS = {
    "python_function": ("python_version", "python"),
    "sklearn": ("sklearn_version", "scikit-learn"),
    "lightgbm": ("lgb_version", "lightgbm"),
    "xgboost": ("xgb_version", "xgboost"),
    "catboost": ("catboost_version", "catboost"),
}
_PYFUNC = "python_function"
_FLAVORS = tuple(dict.fromkeys(entry.flavor for entry in CLIENT_FORMATS.values() if entry.flavor))


def read_folder(folder: Path) -> Artifact:
    """The model of a flavor that Tailrace has a format for, else as MLflow's own function of DataFrames.

    Raises `InputError` for what has neither.
    """
    mlmodel = folder / "MLmodel"
    try:
        content: Any = YAML(typ="safe").load(mlmodel.read_bytes())
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{mlmodel} must be YAML that MLflow wrote: {error}") from None
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict):
        raise InputError(f"{mlmodel} must have flavors")
    flavor = next((name for name in _FLAVORS if name in flavors), None)
    if flavor is None:
        known, got = ", ".join(_FLAVORS), ", ".join(map(str, flavors)) or "none"
        raise InputError(f"{mlmodel} must have one of the flavors {known}; got {got}")
    details = flavors[flavor]
    if str(details.get("loader_module", "")).startswith("flink_jobs."):
        raise InputError(f"{folder} is a version that Tailrace pushed: fetch it with models pull")
    name = details.get("pickled_model") or details.get("data")
    return Artifact(
        client_format("pyfunc").dump(folder) if flavor == _PYFUNC else _read(folder, name),
        "pyfunc" if flavor == _PYFUNC else _format(flavor, str(name)),
        inputs=_inputs(mlmodel, content.get("signature")),
        rows=_example(folder, content.get("saved_input_example_info")),
        origin=_origin(flavor, content),
        libraries=_libraries(folder, flavors),
    )


def _format(flavor: str, name: str) -> Format:
    """A flavor's file may be the library's own, or an estimator of its scikit-learn interface."""
    named = format_of(name)
    if named is not None and CLIENT_FORMATS[named].flavor == "sklearn":
        return named
    return next(known for known, entry in CLIENT_FORMATS.items() if entry.flavor == flavor)


def _read(folder: Path, name: object) -> bytes:
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{folder / 'MLmodel'} must name a model file inside its folder; got {name!r}")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise InputError(f"{folder / name} cannot be read: {error.strerror}") from None


def _inputs(mlmodel: Path, signature: Any) -> tuple[Input, ...]:
    """None where MLflow was told of no signature, or of a tensor, which has no columns."""
    if not isinstance(signature, dict) or not signature.get("inputs"):
        return ()
    columns = json.loads(signature["inputs"])
    if any(column.get("type") == "tensor" for column in columns):
        return ()
    return tuple(_input(mlmodel, column, index) for index, column in enumerate(columns))


def _input(mlmodel: Path, column: dict[str, Any], index: int) -> Input:
    name, kind = column.get("name", f"column_{index}"), column.get("type")
    if kind not in _TYPES:
        raise InputError(
            f"{mlmodel}: the input {name} must be one of {', '.join(_TYPES)}; got {kind!r}; "
            "give a --signature"
        )
    return Input(name=name, type=_TYPES[str(kind)], nullable=not column.get("required", True))


def _example(folder: Path, info: Any) -> pa.Table | None:
    """The example rows that MLflow keeps as a DataFrame in its `split` form."""
    if not isinstance(info, dict) or info.get("type") != "dataframe" or info.get("pandas_orient") != "split":
        return None
    content = json.loads(_read(folder, info["artifact_path"]))
    columns = zip(*content["data"], strict=True)
    return pa.table({str(n): list(values) for n, values in zip(content["columns"], columns, strict=True)})


def _libraries(folder: Path, flavors: dict[str, Any]) -> dict[str, str]:
    """What MLflow wrote down of its maker's environment: Python, and exact requirements."""
    found: dict[str, str] = {}
    with suppress(OSError):
        lines = (folder / "requirements.txt").read_text().splitlines()
        found = {name: pin for name, _, pin in (line.strip().partition("==") for line in lines) if pin}
    for flavor, details in flavors.items():
        key, library = _VERSION_KEYS.get(flavor, ("", ""))
        if isinstance(details, dict) and details.get(key):
            found[library] = str(details[key])
    known = {library for entry in FORMATS.values() for library in entry.libraries}
    return {name: found[name] for name in sorted(found) if name in known}


def _origin(flavor: str, content: dict[str, Any]) -> dict[str, Any]:
    kept = ("run_id", "model_uuid", "mlflow_version", "utc_time_created")
    found = {key: str(content[key]) for key in kept if content.get(key)}
    return {"imported": f"MLflow {flavor}", **found}
