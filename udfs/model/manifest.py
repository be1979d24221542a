"""Reads and writes what a model version says about itself: `models/<name>/versions/<n>/manifest.json`.

>>> Signature(inputs=(Input(name="distance", type="double"),), output=Output(kind="regression")).names
['distance']
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa

from udfs.errors import ModelError, StoreError
from udfs.model.format_table import Format
from udfs.model.place import check_place
from udfs.store import open_store
from udfs.store.base import Store
from udfs.types import ARROW

MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.parquet"
PROFILE_FILE = "profile.json"
EXPECTED_FILE = "expected.json"

InputType = Literal["double", "long", "string", "boolean"]
OutputKind = Literal["binary", "multiclass", "regression", "anomaly"]

Missing = Literal["nan", "none", "NA"]
Value = str | bool | int | float

_VALUES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "long": (int,),
    "double": (int, float),
    "boolean": (bool,),
}
# What `pandas.api.types.pandas_dtype` takes; brackets hold the dtype of an index of categories.
_PANDAS = re.compile(r"(category(\[[a-z0-9]+\])?|object|string|bool(ean)?|u?int\d+|U?Int\d+|[fF]loat\d+)\Z")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model input. `values` are its categories, of its own type, in the order of their codes.

    For models that take a DataFrame, `pandas` is the column's dtype in that which the model was fitted on,
    and `missing` what stands there for a missing value. They came later: left out where they are not set, a
    number is a float64, and a missing string None.
    """

    name: str
    type: InputType
    nullable: bool = True
    values: tuple[Value, ...] = ()
    pandas: str | msgspec.UnsetType = msgspec.UNSET
    missing: Missing | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty")
        for value in self.values:
            if type(value) not in _VALUES[self.type]:
                raise ValueError(
                    f"values of {self.name} must each be a {self.type}, as the input is; got {value!r}"
                )
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values of {self.name} must be distinct")
        if self.pandas is not msgspec.UNSET and not _PANDAS.match(self.pandas):
            raise ValueError(f"pandas of {self.name} must be a dtype such as category; got {self.pandas!r}")


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model predicts. For `binary`, `classes[1]` is the positive class.

    `offset`: what an anomaly graph's scores lie above the same model's `score_samples`, with the sign turned
    (scikit-learn's `offset_`). Left out where it is not known: then scores are the graph's own.
    """

    kind: OutputKind
    classes: tuple[str | int | bool, ...] = ()
    offset: float | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.kind == "binary" and count != 2:
            raise ValueError(f"classes must be 2 for a binary output; got {count}")
        if self.kind == "multiclass" and count < 2:
            raise ValueError(f"classes must be 2 or more for a multiclass output; got {count}")
        if self.kind in ("regression", "anomaly") and count:
            raise ValueError(f"classes must be empty for a {self.kind} output; got {count}")
        if len(set(self.classes)) != count:
            raise ValueError("classes must be distinct")
        if any(isinstance(label, float) for label in self.classes):
            raise ValueError(f"classes must be strings, whole numbers or booleans{whole(self.classes)}")
        if self.offset is not msgspec.UNSET and self.kind != "anomaly":
            raise ValueError("offset must only be given for an anomaly output")


def whole(classes: Sequence[object]) -> str:
    """A hint for labels that a library holds as floats: how to write them.

    >>> whole((0.0, 1.0))
    '; for the labels 0.0, 1.0 write [0, 1]'
    """
    labels = [label for label in classes if isinstance(label, float)]
    if not labels or not all(label.is_integer() for label in labels):
        return f"; got {list(classes)}"
    written = ", ".join(str(int(label) if isinstance(label, float) else label) for label in classes)
    return f"; for the labels {', '.join(map(str, classes))} write [{written}]"


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's inputs, in order, and its output."""

    inputs: tuple[Input, ...]
    output: Output

    def __post_init__(self) -> None:
        names = [item.name for item in self.inputs]
        if not names:
            raise ValueError("inputs must not be empty")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"input names must be distinct; repeated: {', '.join(repeated)}")

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.inputs]

    def schema(self) -> pa.Schema:
        """The Arrow schema of the tables that the model scores."""
        return pa.schema([(item.name, ARROW[item.type]) for item in self.inputs])


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a version comes from.

    `data`: fingerprint of the training data; `code`: a commit, or a hash of the code that trained;
    `parent`: the version that it was made from.
    """

    data: str | None = None
    code: str | None = None
    parameters: dict[str, Any] = {}
    parent: int | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version's manifest. `files` maps each file of the folder, but the manifest, to its SHA-256 in hex.

    Keys that came later are left out where they are not set, so that digests of older versions stay.
    `trusted_types`: classes that a skops model may hold beyond those that are safe.
    """

    schema: Literal["tailrace.model/1"] = "tailrace.model/1"
    name: str
    version: int
    format: Format
    model_file: str
    files: dict[str, str]
    signature: Signature
    libraries: dict[str, str]
    training: dict[str, Any]
    metrics: dict[str, float]
    created_at: str
    golden_tolerance: float = 1e-9
    lineage: Lineage | msgspec.UnsetType = msgspec.UNSET
    trusted_types: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.version < 1:
            raise ValueError(f"version must be 1 or more; got {self.version}")
        for name, sha in self.files.items():
            _check_file(name, sha)
        for needed in (self.model_file, GOLDEN_FILE):
            if needed not in self.files:
                raise ValueError(f"files must list {needed}")
        if not 0 <= self.golden_tolerance <= 0.1:
            raise ValueError(f"golden_tolerance must be between 0 and 0.1; got {self.golden_tolerance}")


def _check_file(name: str, sha: str) -> None:
    if not _FILE_NAME.match(name) or name == MANIFEST_FILE:
        raise ValueError(f"files must be plain names inside the version's folder; got {name!r}")
    if not _SHA256.match(sha):
        raise ValueError(f"the SHA-256 of {name} must be 64 lower-case hex digits; got {sha[:80]!r}")


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`: indented, with sorted keys."""
    return msgspec.json.format(canonical(manifest), indent=2) + b"\n"


# Made on import, as all decoders of workers: msgspec (0.22) shows a type that it learns to other threads
# before it is ready, which crashes the process. Shadows and the champion read their manifests at once.
_decoder = msgspec.json.Decoder(Manifest)


def canonical(manifest: Manifest) -> bytes:
    """The manifest as JSON without spaces and with sorted keys: the bytes that `digest` covers."""
    return msgspec.json.encode(manifest, order="sorted")


def digest(manifest: Manifest) -> str:
    """`sha256:<hex>` over the canonical manifest, and so, through `files`, over the whole version."""
    return f"sha256:{hashlib.sha256(canonical(manifest)).hexdigest()}"


def read_manifest(place: str | Path | Store) -> Manifest:
    """Read a version's manifest.json. Raises `ModelError` when it is missing, no manifest, or another's."""
    try:
        store = open_store(place) if isinstance(place, str | Path) else place
        manifest = _decoder.decode(store.read(MANIFEST_FILE))
    except FileNotFoundError:
        where = store.where("")
        raise ModelError(f"{store.where(MANIFEST_FILE)} is missing: {where} is not a model version") from None
    except StoreError as error:
        raise ModelError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        where = store.where(MANIFEST_FILE)
        raise ModelError(f"{where} must be a tailrace.model/1 manifest: {error}") from None
    check_place(store.where(""), manifest.name, manifest.version)
    return manifest
