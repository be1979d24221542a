"""Files that came along with a job: named by what they hold, beside the code on the workers' path.

A parameter says artifact:NAME; where the file is, each worker finds for itself.

>>> path_of("/srv/planes.parquet")
'/srv/planes.parquet'
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

SCHEME = "artifact:"
FOLDER = "tailrace-artifacts"


def path_of(place: str, search: Iterable[str] | None = None) -> str:
    """The file's path on this machine; what is no artifact is a path already.

    Raises FileNotFoundError for an artifact that has not come along.
    """
    if not place.startswith(SCHEME):
        return place
    name = place.removeprefix(SCHEME)
    for folder in sys.path if search is None else search:
        if (path := Path(folder) / FOLDER / name).is_file():
            return str(path)
    raise FileNotFoundError(
        f"{name} did not come along with the job: it was changed while the job was submitted; submit again"
    )
