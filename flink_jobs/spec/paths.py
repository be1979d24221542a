"""Makes paths of a job file absolute against its folder, and reads secrets from files.

The folder comes as `base` in the validation context; without one, paths stay as they are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, SecretStr, ValidationInfo, WithJsonSchema

from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.secrets import ADDRESS, HEADER, VALUE, Rule

LARGEST_SECRET_FILE = 64 * 1024


class PlacedText(str):
    """Text of another file than the job's, from whose folder its paths begin."""

    base: str

    def __new__(cls, text: str, base: str = "") -> Self:
        placed = super().__new__(cls, text)
        placed.base = base
        return placed

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


def _absolute(value: object, info: ValidationInfo) -> str:
    """A path against the job file's folder, which comes as `base` in the validation context."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise wrong("a path")
    base = value.base if isinstance(value, PlacedText) else (info.context or {}).get("base")
    return os.path.normpath(os.path.join(base, value)) if base else value


def _absolute_or_uri(value: object, info: ValidationInfo) -> str:
    return (
        value if isinstance(value, str) and "://" in value and value.isprintable() else _absolute(value, info)
    )


def _registry(value: object, info: ValidationInfo) -> Path | str:
    found = _absolute_or_uri(value, info)
    return found if "://" in found else Path(found)


def _table_file(value: object, info: ValidationInfo) -> Path | str:
    if not isinstance(value, str) or not urlsplit(value).path.lower().endswith((".parquet", ".csv")):
        raise wrong("the path or URI of a .parquet or .csv file")
    found = _absolute_or_uri(value, info)
    if found.startswith("file://"):
        return Path(unquote(urlsplit(found).path))
    return found if "://" in found else Path(found)


def read_secret(value: object, info: ValidationInfo) -> SecretStr:
    """A secret of the environment, or of the file that the mapping names."""
    if isinstance(value, dict) and set(value) == {"file"}:
        value = _secret_in(value["file"], info)
    if not isinstance(value, str) or not value:
        raise wrong("a secret, as ${VARIABLE} or {file: path}")
    return SecretStr(value)


def _secret_in(path: object, info: ValidationInfo) -> str:
    try:
        full = _absolute(path, info)
    except ValueError:
        raise wrong_at({("file",): wrong("a path", "another value")}) from None
    try:
        with open(full, encoding="utf-8") as file:
            secret = file.read(LARGEST_SECRET_FILE).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise wrong_at({("file",): wrong("a readable text file", f"{full} ({reason})")}) from None
    if not secret:
        raise wrong_at({("file",): wrong("a file with a secret in it", f"an empty file at {full}")})
    return secret


_PATH_SCHEMA = {"type": "string", "minLength": 1}
SECRET_FILE = {
    "type": "object",
    "properties": {"file": {**_PATH_SCHEMA, "description": "A file that holds only the secret."}},
    "required": ["file"],
    "additionalProperties": False,
}


def _secret_schema(rule: Rule) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [rule.schema, SECRET_FILE]})


AbsolutePath = Annotated[
    Path, BeforeValidator(lambda v, info: Path(_absolute(v, info))), WithJsonSchema(_PATH_SCHEMA)
]
TableFile = Annotated[
    Path | str,
    BeforeValidator(_table_file),
    WithJsonSchema({"type": "string", "pattern": r"\.([Pp][Aa][Rr][Qq][Uu][Ee][Tt]|[Cc][Ss][Vv])(\?.*)?$"}),
]
PathOrUri = Annotated[str, BeforeValidator(_absolute_or_uri), WithJsonSchema(_PATH_SCHEMA)]
RegistryPlace = Annotated[Path | str, BeforeValidator(_registry), WithJsonSchema(_PATH_SCHEMA)]
Secret = Annotated[SecretStr, BeforeValidator(read_secret), _secret_schema(VALUE)]
SecretHeader = Annotated[SecretStr, BeforeValidator(read_secret), _secret_schema(HEADER)]
SecretAddress = Annotated[SecretStr, BeforeValidator(read_secret), _secret_schema(ADDRESS)]
