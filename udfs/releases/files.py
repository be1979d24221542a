"""Reads and appends to the release log of a model, `models/<name>/releases/<8-digit number>.json`.

Of two writers at once, the second one decides anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from udfs.errors import ModelError
from udfs.releases.chain import Entry
from udfs.releases.log import ReleaseLog, ReleaseRecord, decode_release, encode_release
from udfs.store import open_store
from udfs.store.base import Store

_RELEASE = re.compile(r"([0-9]{8})\.json\Z")
Decide = Callable[[ReleaseLog | None], ReleaseRecord | None]
DecideNext = Callable[[Sequence[Entry]], ReleaseRecord | None]


def read_entries(folder: str | Path) -> list[Entry]:
    """All files of the log of the model in `folder`, in order, as they are. Raises StoreError."""
    store = open_store(folder)
    return [Entry(number, _data(store, number)) for number in _numbers(store)]


def read_records(folder: str | Path) -> list[ReleaseRecord]:
    """All records of the model in `folder`, in order. Raises ModelError for one that cannot be read."""
    store = open_store(folder)
    return [_read(store, number) for number in _numbers(store)]


def read_log(folder: str | Path) -> ReleaseLog:
    """Raises ModelError when there is none or it is damaged."""
    records = read_records(folder)
    if not records:
        raise ModelError(f"{open_store(folder).where('releases')} has no release")
    return ReleaseLog(records)


def append(folder: str | Path, decide: Decide) -> ReleaseRecord | None:
    """Writes what `decide` makes of the log as it is; None where that is to write nothing.

    The record's number must be the next one. Where another writer takes it first, `decide` is asked again.
    Raises ModelError for a log whose releases are signed: see `append_next`.
    """
    store = open_store(folder)

    def decide_next(entries: Sequence[Entry]) -> ReleaseRecord | None:
        records = [_decoded(store, entry.number, entry.data) for entry in entries]
        if any(record.is_signed for record in records):
            raise ModelError(f"the releases of {store.where('')} are signed; this one must be, too")
        return decide(ReleaseLog(records) if records else None)

    return append_next(folder, decide_next)


def append_next(folder: str | Path, decide: DecideNext) -> ReleaseRecord | None:
    """As `append`, from the files as they are: what is signed covers them."""
    store = open_store(folder)
    while True:
        record = decide(read_entries(folder))
        if record is None or store.write_once(_path(record.number), encode_release(record)):
            return record


def _numbers(store: Store) -> list[int]:
    return [int(match[1]) for name in store.names("releases") if (match := _RELEASE.match(name))]


def _path(number: int) -> str:
    return f"releases/{number:08}.json"


def _data(store: Store, number: int) -> bytes | None:
    try:
        return store.read(_path(number))
    except FileNotFoundError:
        return None


def _read(store: Store, number: int) -> ReleaseRecord:
    return _decoded(store, number, _data(store, number))


def _decoded(store: Store, number: int, data: bytes | None) -> ReleaseRecord:
    path = store.where(_path(number))
    if data is None:
        raise ModelError(f"{path} is gone")
    try:
        return decode_release(data, number)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
