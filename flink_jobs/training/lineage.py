"""Where a version comes from, as fingerprints that anyone can compute again.

table_fingerprint(records)          # sha256:… of names, types and values, whatever the chunks
code_version(Path("models/flight_delay/train.py"))
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import flink_jobs
import udfs
from flink_jobs.kafka import Message
from flink_jobs.registry.fresh import packed
from flink_jobs.spec import JobSpec
from udfs.features.lookup_file import LookupTableError, file_content

_NOT_FEATURES = {"cli", "drift_report", "training"}


def table_fingerprint(table: pa.Table) -> str:
    """SHA-256 over the columns in order. Values that are missing count as missing, not as what is below."""
    hashed = hashlib.sha256()
    for field in table.schema:
        column = table.column(field.name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
        hashed.update(f"{field.name}\0{field.type}\0{len(column)}\0".encode())
        hashed.update(np.packbits(pc.is_null(column).to_numpy(zero_copy_only=False)).tobytes())
        _add_values(hashed, column)
    return f"sha256:{hashed.hexdigest()}"


def _add_values(hashed: Any, column: pa.Array) -> None:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        zero = pa.scalar(False if pa.types.is_boolean(kind) else 0, kind)
        hashed.update(pc.fill_null(column, zero).to_numpy(zero_copy_only=False).tobytes())
        return
    texts = [b"" if value is None else _bytes(value) for value in column.to_pylist()]
    hashed.update(np.array([len(text) for text in texts], np.int64).tobytes())
    hashed.update(b"".join(texts))


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def features_fingerprint(
    job: JobSpec, columns: Sequence[str], tables: Mapping[str, Sequence[Message]] | None = None
) -> str:
    """SHA-256 over what makes the columns: source and features of the job, lookups, Tailrace's code.

    Lookups are files, and the changes of `tables` that are topics.
    """
    features = job.features.model_dump(mode="json")
    for name, lookup in job.features.lookups.items():
        if lookup.file:
            features["lookups"][name]["file"] = _table(lookup.file)
    source = job.source.model_dump(mode="json", exclude={"topic"})
    made = [source, features, job.score, list(columns), _code()]
    made += [[name, _changes(changes)] for name, changes in (tables or {}).items()]
    return f"sha256:{digest(made)}"


def _changes(changes: Sequence[Message]) -> str:
    hashed = hashlib.sha256()
    for each in changes:
        parts = (each.value, each.key, each.timestamp)
        hashed.update(repr(parts).encode())
    return hashed.hexdigest()


def digest(parts: Sequence[object]) -> str:
    """SHA-256 in hex over the parts as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _table(place: Path | str) -> str:
    """The file of a lookup by its content; one that cannot be read, by its name: the job will say why."""
    try:
        return hashlib.sha256(file_content(place)[0]).hexdigest()
    except LookupTableError:
        return str(place)


@cache
def _code() -> str:
    """SHA-256 over the modules that features may depend on."""
    hashed = hashlib.sha256()
    for package in (flink_jobs, udfs):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            if path.relative_to(root).parts[0] not in _NOT_FEATURES:
                hashed.update(path.read_bytes())
    return hashed.hexdigest()


def code_version(train: Path | None, code: Sequence[Path] = ()) -> dict[str, str | None]:
    """`code`: sha256:… of train.py, and of the `code` that it ships; `commit`: what its folder is at in git.

    None where there is no such. Raises InputError for what cannot be shipped.
    """
    found: dict[str, str | None] = {"code": None, "commit": None}
    if train is None:
        return found
    shipped = packed(code) or b""
    found["code"] = f"sha256:{hashlib.sha256(train.read_bytes() + shipped).hexdigest()}"
    command = ["git", "-C", str(train.resolve().parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return found
    return found | {"commit": done.stdout.strip() if done.returncode == 0 else None}


def predictions_digest(scores: npt.NDArray[np.float64]) -> str:
    """SHA-256 over predictions as little-endian doubles: equal only when every bit is."""
    return f"sha256:{hashlib.sha256(np.ascontiguousarray(scores, '<f8').tobytes()).hexdigest()}"
