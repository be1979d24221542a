"""Makes a version in the registry of a model that was found, its signature and example rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.formats import client_format, inspect
from flink_jobs.registry.formats.base import Facts
from flink_jobs.registry.importing.artifact import Artifact
from flink_jobs.registry.importing.categories import placed, type_of
from flink_jobs.registry.library import Library, fitted_as, library, typed, with_categories
from flink_jobs.registry.maker_rows import as_frame, described, restored, without
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.manifest import Input, InputType, Lineage, Manifest, Output, Signature
from udfs.profile.profile import reference_profile
from udfs.tables.columns import ColumnError, as_type, column_type

GOLDEN_ROWS = 100
GIVE = "give a --signature"


@dataclass(frozen=True)
class Ready:
    """A model with all that a version needs; `rows` are in the signature's schema, `frame` the maker's."""

    found: Artifact
    signature: Signature
    rows: pa.Table
    profiled: bool
    frame: pd.DataFrame | None = None


def read_signature(path: Path) -> Signature:
    """A signature from a YAML or JSON file, in the manifest's form. Raises `InputError`."""
    try:
        return msgspec.convert(YAML(typ="safe").load(path.read_bytes()), Signature)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        hint = (
            "; for labels such as 1.0 write 1" if "got `float` - at `$.output.classes" in str(error) else ""
        )
        raise InputError(f"{path} must be a signature, as docs/models.md says: {error}{hint}") from None


def complete(found: Artifact, *, rows: pa.Table | None = None, signature: Signature | None = None) -> Ready:
    """Read what is not given from the model, its folder and the rows.

    Raises `InputError` that names what must be given when they do not tell.
    """
    examples = rows if rows is not None else found.rows
    if examples is None:
        raise InputError("example rows must be given with --rows: golden rows are made of them")
    given = signature is not None
    signature = signature or _signature(found, examples)
    own = _library(found)
    if own is None:
        return Ready(found, signature, _cast(examples, signature), profiled=rows is not None)
    signature, frame = _as_fitted(own, signature, examples)
    if not given and not found.inputs:
        signature = _probed(own, signature, frame)
    return Ready(found, signature, _cast(examples, signature), rows is not None, frame)


def _library(found: Artifact) -> Library | None:
    """None too for what cannot be loaded: writing it says why."""
    try:
        return library(found.data, found.data, found.format, found.trusted_types)
    except Exception:
        return None


def _as_fitted(own: Library, signature: Signature, rows: pa.Table) -> tuple[Signature, pd.DataFrame]:
    """The signature with what the model needs its columns to be, and the rows as DataFrame of such."""
    try:
        signature = with_categories(own, signature)
        plain = restored(rows, as_frame(_cast(rows, signature), signature, coded=own.coded), signature)
        signature = fitted_as(own, described(signature, plain, coded=own.coded, objects=False), plain)
    except ModelError as error:
        raise InputError(f"{error}; {GIVE}") from error
    frame = restored(rows, as_frame(_cast(rows, signature), signature, coded=own.coded), signature)
    return signature, frame


def add(
    registry: Registry,
    name: str,
    ready: Ready,
    *,
    metrics: dict[str, float] | None = None,
    lineage: Lineage | None = None,
) -> Manifest:
    """Write the next version of `name`; rows that were given make its reference profile."""
    found, rows, frame = ready.found, ready.rows, ready.frame
    chosen = np.unique(np.linspace(0, rows.num_rows - 1, min(GOLDEN_ROWS, rows.num_rows)).astype(int))
    return registry.write_version(
        name,
        model=found.data,
        format=found.format,
        signature=ready.signature,
        golden_inputs=rows.take(pa.array(chosen)) if frame is None else frame.iloc[chosen],
        profile=_profile(ready) if ready.profiled else {},
        metrics=metrics or {},
        training=found.origin,
        lineage=lineage,
        trusted_types=found.trusted_types,
        libraries=found.libraries,
        code=found.code,
    )


def other_versions(found: Artifact) -> list[str]:
    """What its maker had and is another here: `scikit-learn 1.5.2, here is 1.9.1`."""
    here = formats.installed_versions(found.libraries)
    return [
        f"{name} {was}, here is {here[name]}" for name, was in found.libraries.items() if here[name] != was
    ]


def _signature(found: Artifact, rows: pa.Table) -> Signature:
    facts = inspect(found.format, found.data, found.trusted_types)
    if facts.output is None:
        raise InputError(f"the {found.format} model does not tell its kind of output; {GIVE}")
    if found.inputs:
        return _made(found.inputs, facts.output)
    signature = _made(_inputs(facts, rows), facts.output)
    if client_format(found.format).tensors:
        _check_fits(found, signature)
    return signature


def _made(inputs: tuple[Input, ...], output: Output) -> Signature:
    try:
        return Signature(inputs=inputs, output=output)
    except ValueError as error:
        raise InputError(f"{error}; {GIVE}") from None


def _inputs(facts: Facts, rows: pa.Table) -> tuple[Input, ...]:
    """The model's columns, or all of the rows, with the rows' types."""
    missing = [name for name in facts.names or () if name not in rows.column_names]
    if missing:
        raise InputError(
            f"the rows must have the model's inputs; {', '.join(missing)} is not in {rows.column_names}"
        )
    names = facts.names or rows.column_names
    known = facts.categories or placed(facts.unplaced, [rows[name] for name in names])
    inputs = []
    for place, name in enumerate(names):
        item = Input(name=name, type=_type(name, rows.schema.field(name).type))
        if place in known:
            item = msgspec.structs.replace(item, type=type_of(known[place], item.type))
            item = msgspec.structs.replace(item, values=typed(known[place], item))
        inputs.append(item)
    return tuple(inputs)


def _type(name: str, kind: pa.DataType) -> InputType:
    if pa.types.is_null(kind):
        return "double"
    found = column_type(kind.value_type if pa.types.is_dictionary(kind) else kind)
    if found is not None and found != "timestamp":
        return found
    raise InputError(f"the input {name} must be a number, string or boolean; the rows have a {kind}")


def _probed(own: Library, signature: Signature, frame: pd.DataFrame) -> Signature:
    """Whether the library takes a missing value in an input is found by trying."""
    row = frame.head(1)
    inputs = tuple(
        item
        if own.takes(signature, row.assign(**{item.name: without(row[item.name], item)}))
        else msgspec.structs.replace(item, nullable=False)
        for item in signature.inputs
    )
    return msgspec.structs.replace(signature, inputs=inputs)


def _check_fits(found: Artifact, signature: Signature) -> None:
    """Of a network or graph, by its own shapes: its library would tell of tensors, not of inputs."""
    try:
        formats.build(found.format, found.data, signature, found.trusted_types)
    except ModelError as error:
        raise InputError(f"{error}; {GIVE}") from error


def _cast(rows: pa.Table, signature: Signature) -> pa.Table:
    missing = [name for name in signature.names if name not in rows.column_names]
    if missing:
        raise InputError(
            f"the rows must have the signature's inputs; {', '.join(missing)} is not in {rows.column_names}"
        )
    columns: dict[str, Any] = {}
    for item in signature.inputs:
        try:
            columns[item.name] = as_type(rows[item.name], item.type)
        except ColumnError as error:
            raise InputError(f"the rows' {item.name} {error}, and no value is ever converted") from None
    return pa.table(columns, schema=signature.schema())


def _profile(ready: Ready) -> dict[str, Any]:
    """How the rows, and what the model says of them, are distributed."""
    found = ready.found
    try:
        scored = formats.build(found.format, found.data, ready.signature, found.trusted_types).predict(
            ready.rows
        )
    except Exception as error:
        why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        raise InputError(f"the model cannot score the rows: {why}") from error
    outputs: dict[str, Any] = {}
    if scored.score is not None:
        outputs["score"] = pa.array(scored.score)
    else:
        outputs["prediction"] = pa.array(scored.prediction)
    return reference_profile(ready.rows, pa.table(outputs))
