"""Release records for tests, at moments counted in ms from T0."""

from __future__ import annotations

from typing import Any

from udfs.releases.log import ReleaseRecord
from udfs.times import iso

T0 = 1_767_225_600_000


def release(number: int, champion: int, at: int | None = None, **more: Any) -> ReleaseRecord:
    text = None if at is None else iso(T0 + at)
    return ReleaseRecord(number=number, champion=champion, written_at=iso(T0), at=text, **more)
