"""Leaves a job's account of its state beside savepoints and checkpoints, and reads it again."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.plan import Runnable
from flink_jobs.plan.state import (
    FILE,
    PARAMETER,
    JobState,
    Verdict,
    encode_state,
    judge,
    parse_state,
    state_of,
)
from udfs.errors import StoreError
from udfs.store import open_store

# Partition, next offset, end.
_SPLIT = struct.Struct(">iqq")
_NO_END = -(2**63)
# Far more than the longest job file makes.
_LARGEST = 4_000_000


def as_parameter(state: JobState) -> str:
    """The account as a Flink job parameter, `name:value` without characters that Flink would split."""
    return f"{PARAMETER}:{base64.urlsafe_b64encode(zlib.compress(encode_state(state))).decode()}"


def parse_parameter(packed: str | None) -> JobState | None:
    """What a job keeps, of its parameter; None for a job that Tailrace did not start, or an older one."""
    try:
        text = zlib.decompressobj().decompress(base64.urlsafe_b64decode(packed or ""), _LARGEST)
        return parse_state(text)
    except (ValueError, zlib.error, msgspec.DecodeError):
        return None


def leave_state(folder: str, state: JobState) -> bool:
    """Writes the account into a savepoint's folder, or a job's folder of checkpoints; whether that worked."""
    try:
        open_store(folder).write_once(FILE, encode_state(state))
    except (StoreError, OSError):
        return False
    return True


def stored_state(savepoint: str) -> JobState | None:
    """The account beside a savepoint, or beside the checkpoints of a job; None where there is none.

    Raises StoreError for a folder that cannot be read, or an account that is none.
    """
    for folder in (savepoint, savepoint.rstrip("/").rpartition("/")[0]):
        try:
            return parse_state(open_store(folder).read(FILE))
        except FileNotFoundError:
            continue
        except msgspec.DecodeError as error:
            raise StoreError(f"{folder}/{FILE} is no account of a job's state: {error}") from None
    return None


def checkpoints_of(directory: str, job_id: str) -> str | None:
    """The folder of a job's checkpoints, if Flink has made it where this machine sees it."""
    folder = Path(directory.removeprefix("file://").removeprefix("file:"), job_id)
    return str(folder) if folder.is_dir() else None


def account_of(savepoint: str) -> JobState | None:
    """The same of what --savepoint names. Raises InputError."""
    try:
        return stored_state(savepoint_uri(savepoint))
    except StoreError as error:
        raise InputError(f"--savepoint: {error}") from None


def judged(
    plan: Runnable, savepoint: str, topic_id: Callable[[], str] = lambda: ""
) -> tuple[Verdict, ...] | None:
    """What the plan's job can go on from; None where the savepoint has no account of its state.

    `topic_id` asks for Kafka's id of the source, where the account has one.
    """
    state = account_of(savepoint)
    if state is None:
        return None
    return judge(state, state_of(plan, topic_id=topic_id() if state.topic_id else ""))


def places_in(metadata: bytes, topic: str) -> dict[int, int]:
    """The next offset of each partition of a topic that is read without an end, by a savepoint's `_metadata`.

    Splits are looked for as Flink's Kafka connector writes them (KafkaPartitionSplitSerializer): a source's
    state is small, and so in that file. Empty where there is none.
    """
    name = topic.encode()
    found: dict[int, int] = {}
    for match in re.finditer(re.escape(len(name).to_bytes(2, "big") + name), metadata):
        split = metadata[match.end() : match.end() + _SPLIT.size]
        if len(split) == _SPLIT.size:
            partition, offset, end = _SPLIT.unpack(split)
            if end == _NO_END and partition >= 0 and offset >= 0:
                found[partition] = min(offset, found.get(partition, offset))
    return found


def stored_places(savepoint: str, topic: str) -> dict[int, int]:
    """Those of a savepoint or checkpoint. Raises InputError where it cannot be read from here."""
    try:
        return places_in(open_store(savepoint_uri(savepoint)).read("_metadata"), topic)
    except (StoreError, OSError) as error:
        raise InputError(f"--savepoint: {savepoint} cannot be read from here: {error}") from None


def savepoint_uri(given: str) -> str:
    """A savepoint's path or URI as a URI; what Flink prints, file:/path, is one too."""
    if re.match(r"(?!file:)[a-z][a-z0-9+.-]*:/", given):
        return given
    path = Path(re.sub(r"^file:(//(?=/))?", "", given)).absolute()
    return f"file://{path}"  # not escaped: Flink takes it as it is
