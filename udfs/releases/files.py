"""Reads and appends to the release log of a model, `models/<name>/releases/<8-digit number>.json`.

Of two writers at once, the second one decides anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from udfs.errors import ModelError
from udfs.releases.log import ReleaseLog, ReleaseRecord, decode_release, encode_release
from udfs.store import open_store
from udfs.store.base import Store

_RELEASE = re.compile(r"([0-9]{8})\.json\Z")
Decide = Callable[[ReleaseLog | None], ReleaseRecord | None]


def read_records(folder: str | Path) -> list[ReleaseRecord]:
    """All records of the model in `folder`, in order. Raises ModelError for one that cannot be read."""
    store = open_store(folder)
    found = [match for name in store.names("releases") if (match := _RELEASE.match(name))]
    return [_read(store, int(match[1])) for match in found]


def read_log(folder: str | Path) -> ReleaseLog:
    """Raises ModelError when there is none or it is damaged."""
    records = read_records(folder)
    if not records:
        raise ModelError(f"{open_store(folder).where('releases')} has no release")
    return ReleaseLog(records)


def append(folder: str | Path, decide: Decide) -> ReleaseRecord | None:
    """Writes what `decide` makes of the log as it is; None where that is to write nothing.

    The record's number must be the next one. Where another writer takes it first, `decide` is asked again.
    """
    store = open_store(folder)
    while True:
        records = read_records(folder)
        record = decide(ReleaseLog(records) if records else None)
        if record is None or store.write_once(_path(record.number), encode_release(record)):
            return record


def _path(number: int) -> str:
    return f"releases/{number:08}.json"


def _read(store: Store, number: int) -> ReleaseRecord:
    path = _path(number)
    try:
        return decode_release(store.read(path), number)
    except FileNotFoundError:
        raise ModelError(f"{store.where(path)} is gone") from None
    except ModelError as error:
        raise ModelError(f"{store.where(path)}: {error}") from error
