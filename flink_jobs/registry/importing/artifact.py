"""Holds a model of a file or an MLflow folder, with what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from udfs.model.format_table import Format
from udfs.model.manifest import Input


@dataclass(frozen=True)
class Artifact:
    """A model's bytes, which nothing has loaded yet.

    `inputs` and `rows` are what the source says of the model's inputs, and examples of them; `libraries` the
    versions that its maker had, as far as it says; `code` an archive of its modules.
    """

    data: bytes
    format: Format
    inputs: tuple[Input, ...] = ()
    rows: pa.Table | None = None
    trusted_types: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)
    code: bytes = b""
    origin: dict[str, Any] = field(default_factory=dict)
