"""Looks for planted identities in whatever bytes are left behind."""

from __future__ import annotations

import base64
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

# In each identity, and nowhere else.
PLANTED = "zq7xplanted"


@dataclass(frozen=True)
class Left:
    """A file, and how often an identity is in it."""

    path: str
    size: int
    told: int


def _forms() -> re.Pattern[bytes]:
    """The mark of an identity as plain bytes in any case, as UTF-16, in hex, and as base64 at each place."""
    mark = PLANTED.encode()
    coded = [base64.b64encode(b"\0" * shift + mark)[4 * (shift > 0) : -4] for shift in range(3)]
    exact = b"|".join(map(re.escape, [mark.hex().encode(), *coded]))
    any_case = b"|".join(map(re.escape, [mark, PLANTED.encode("utf-16-le")]))
    return re.compile(b"(?i:%b)|%b" % (any_case, exact))


FORMS = _forms()


def told(data: bytes) -> bool:
    return FORMS.search(data) is not None


def _scanned(path: Path, folder: Path) -> Left:
    size = path.stat().st_size
    if not size:
        return Left(str(path.relative_to(folder)), 0, 0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return Left(str(path.relative_to(folder)), size, len(FORMS.findall(data)))


def scanned(folder: Path) -> list[Left]:
    """All files below a folder."""
    return [_scanned(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()]
