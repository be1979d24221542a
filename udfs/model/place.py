"""Binds a version to its place: `NAME/versions/N` holds version N of NAME, in the registry itself.

Signatures cover a manifest, so a signed version is as true in another version's folder, or another model's,
as in its own. Only its place tells that it is the one that was meant.
"""

from __future__ import annotations

import os
import re

from udfs.errors import ModelError
from udfs.store.base import is_uri

_PLACE = re.compile(r"([^/]+)/versions/([1-9][0-9]{0,8})/?\Z")


def check_place(where: str, name: str, version: int) -> None:
    """Raise `ModelError` when `where`, a path or URI, is the place of another version.

    A folder of another shape, such as that of a download, is no place in a registry, and binds nothing.
    """
    path = where if is_uri(where) else os.path.abspath(where)
    found = _PLACE.search(path)
    if not found:
        return
    if (found[1], int(found[2])) != (name, version):
        raise ModelError(
            f"{where} must hold {found[1]} version {found[2]}; its manifest says {name} version {version}"
        )
    if not is_uri(where):
        _check_links(path)


def _check_links(path: str) -> None:
    """The registry may be reached by links; nothing in it may lead out of it."""
    *_, model, versions, version = path.split(os.sep)
    root = os.path.realpath(path.removesuffix(os.path.join(model, versions, version)))
    wanted = os.path.join(root, model, versions, version)
    if (real := os.path.realpath(path)) != wanted:
        raise ModelError(f"{path} must be a folder of its registry; it is a link to {real}")
