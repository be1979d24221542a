"""`tailrace models register | import | export`: new versions, of files or of versions that there are."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.column_types import Types, declared_types
from flink_jobs.cli.models import models
from flink_jobs.cli.models_shared import (
    Name,
    RegistryFolder,
    Version,
    as_json_option,
    open_registry,
)
from flink_jobs.errors import InputError
from flink_jobs.history.table_files import read_table
from flink_jobs.registry import Registry
from flink_jobs.registry.diff import as_data
from flink_jobs.registry.fresh import packed
from flink_jobs.registry.importing import Artifact, Ready, add, complete, find, other_versions
from flink_jobs.registry.importing.version import read_signature
from flink_jobs.registry.onnx_export import export_onnx
from flink_jobs.system.terminal import print_json, say
from udfs.model.code import importable
from udfs.model.manifest import Input, Lineage, Manifest, digest
from udfs.types import ColumnType

Kind = Annotated[
    str | None,
    typer.Option("--format", help="Its format, where the file's name does not tell.", show_default=False),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME=VALUE", help="A metric; repeatable.", show_default=False),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="A parameter of the training; repeatable.", show_default=False
    ),
]
Parent = Annotated[int | None, typer.Option(min=1, help="Version that it was made from.", show_default=False)]
Data = Annotated[str | None, typer.Option(help="Fingerprint of the training data.", show_default=False)]
Commit = Annotated[
    str | None, typer.Option(help="Commit or hash of the code that trained.", show_default=False)
]
Code = Annotated[
    list[Path] | None,
    typer.Option(
        help="A module (.py) or package of its maker that the model needs and the version ships; repeatable.",
        show_default=False,
    ),
]
Trusted = Annotated[
    list[str] | None,
    typer.Option("--trust-type", help="A class that a skops model may hold; repeatable.", show_default=False),
]
Onnx = Annotated[bool, typer.Option("--onnx", help="Export it as ONNX too, as a version of its own.")]


@models.command("register")
def register_model(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The model's file.", show_default=False)],
    signature: Annotated[
        Path, typer.Option(help="YAML or JSON file: inputs and output.", show_default=False)
    ],
    rows: Annotated[Path, typer.Option(help="Parquet or CSV file of held-out rows.", show_default=False)],
    kind: Kind = None,
    metric: Metrics = None,
    param: Parameters = None,
    parent: Parent = None,
    data: Data = None,
    commit: Commit = None,
    code: Code = None,
    trust_type: Trusted = None,
    onnx: Onnx = False,
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Register a model's file as the next version of NAME, with its signature and where it comes from.

    The rows become golden rows, which each later load must reproduce, and the reference profile that drift
    is measured against.

    [bold]Example[/]

      tailrace models register fraud model.joblib --signature signature.yaml --rows holdout.parquet
    """
    if file.is_dir():
        raise InputError(f"{file} must be a file; folders of MLflow are for tailrace models import")
    given = read_signature(signature)
    examples = read_table(rows, _types(given.inputs))
    found = _found(file, kind, trust_type, code)
    with importable(found.code):
        ready = complete(found, rows=examples, signature=given)
    _add(registry, name, ready, metric, _lineage(param, parent, data, commit), onnx, as_json)


@models.command("import")
def import_model(
    name: Name,
    path: Annotated[
        Path, typer.Argument(help="A model's file, or a folder with an MLmodel.", show_default=False)
    ],
    signature: Annotated[
        Path | None,
        typer.Option(
            help="YAML or JSON file: inputs and output. Default: what the model tells.", show_default=False
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or CSV file of held-out rows. Default: MLflow's input example.", show_default=False
        ),
    ] = None,
    type_: Types = None,
    kind: Kind = None,
    metric: Metrics = None,
    trust_type: Trusted = None,
    code: Code = None,
    onnx: Onnx = False,
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Import a model that was made elsewhere as the next version of NAME.

    PATH is what MLflow saved (flavors sklearn, lightgbm, xgboost, onnx), or a file: joblib or pickle, skops,
    LightGBM, XGBoost, ONNX, PyTorch, Keras. What is not given is read from it: inputs and their types from
    the rows, classes from the model. Columns of a CSV file have the types of the signature, or of --type, or
    else those that their values look like. Reading a pickle runs code of its maker.

    [bold]Examples[/]

      tailrace models import fraud mlruns/1/artifacts/model --rows holdout.parquet

      tailrace models import fraud model.txt --rows holdout.csv
    """
    found = _found(path, kind, trust_type, code)
    given = read_signature(signature) if signature else None
    types = _types(given.inputs if given else found.inputs) | declared_types(type_)
    examples = read_table(rows, types) if rows else None
    with importable(found.code):
        ready = complete(found, rows=examples, signature=given)
    _add(registry, name, ready, metric, None, onnx, as_json)


@models.command()
def export(
    name: Name,
    version: Version,
    kind: Annotated[str, typer.Option("--format", help="The format; onnx.")] = "onnx",
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Export a version as ONNX: the next version, with this one as its parent.

    Scikit-learn, LightGBM and XGBoost models can be; it is written only if the graph reproduces the golden
    rows. Needs the extra [bold]export[/].

    [bold]Example[/]

      tailrace models export flight_delay 1 --format onnx
    """
    if kind != "onnx":
        raise InputError(f"--format must be onnx; got {kind!r}")
    _tell([export_onnx(open_registry(registry), name, version)], as_json)


def _add(
    registry: str,
    name: str,
    ready: Ready,
    metrics: list[str] | None,
    lineage: Lineage | None,
    onnx: bool,
    as_json: bool,
) -> None:
    found: Registry = open_registry(registry)
    if others := other_versions(ready.found):
        say(f"made with {'; '.join(others)}: golden rows hold what it says here", error=True)
    written = [add(found, name, ready, metrics=_numbers(metrics), lineage=lineage)]
    try:
        if onnx:
            written.append(export_onnx(found, name, written[0].version))
    finally:
        _tell(written, as_json)


def _tell(manifests: list[Manifest], as_json: bool) -> None:
    if as_json:
        return print_json([as_data(manifest) for manifest in manifests])
    for manifest in manifests:
        inputs, kind = ", ".join(manifest.signature.names), manifest.signature.output.kind
        say(f"{manifest.name} version {manifest.version} ({manifest.format}, {kind}): {digest(manifest)}")
        say(f"  inputs: {inputs}")
    return None


def _types(inputs: Iterable[Input]) -> dict[str, ColumnType]:
    return {item.name: item.type for item in inputs}


def _found(path: Path, kind: str | None, types: list[str] | None, code: list[Path] | None) -> Artifact:
    """What scikit-learn warns of for each estimator of a pickle is said once, in a line."""
    warnings.filterwarnings("ignore", "Trying to unpickle estimator")
    return replace(_trusting(find(path, kind), types), code=packed(code or ()) or b"")


def _trusting(found: Artifact, types: list[str] | None) -> Artifact:
    return replace(found, trusted_types=(*found.trusted_types, *types)) if types else found


def _lineage(
    parameters: list[str] | None, parent: int | None, data: str | None, commit: str | None
) -> Lineage | None:
    made = Lineage(data=data, code=commit, parameters=_pairs("--param", parameters), parent=parent)
    return None if made == Lineage() else made


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise InputError(f"{option} must be NAME=VALUE; got {name + equals + value!r}")
    return {name: value for name, _, value in pairs}


def _numbers(given: list[str] | None) -> dict[str, float]:
    numbers = {}
    for name, value in _pairs("--metric", given).items():
        try:
            numbers[name] = float(value)
        except ValueError:
            raise InputError(f"--metric {name} must be a number; got {value!r}") from None
    return numbers
