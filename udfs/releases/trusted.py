"""Reads the release log that a job trusts, and remembers how far it has seen it.

    read = TrustedLog("s3://bucket/models/fraud", "fraud", ReleaseTrust(keys, signed=True))
    read()        # a ReleaseLog

Who can write the registry can cut off the log's end, or bring an old one back. So the newest head is
remembered: in the process, in a note on the machine that the next process finds, and in the plan of the job
(`pinned`). A job without any of these, on a new machine, has only `max_age_ms`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from udfs.errors import ModelError
from udfs.releases.chain import Chain, Head, ReleaseTrust, verify
from udfs.releases.files import read_entries, read_log
from udfs.releases.log import ReleaseLog
from udfs.store.base import without_secrets
from udfs.times import iso, parse_time

NOTES = "TAILRACE_RELEASES"
log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(Head)


class TrustedLog:
    """Call it to read the log. Raises ModelError when there is none that the job may follow, and StoreError.

    What cannot be verified is not followed, and is told once: the log up to there goes on. `wall` gives
    seconds since the epoch.
    """

    def __init__(
        self, folder: str, model: str, trust: ReleaseTrust, wall: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._model, self._trust, self._wall = folder, model, trust, wall
        self._chain: Chain | None = None
        self._told: str | None = None
        self._refusals: deque[tuple[str, int]] = deque()

    def __call__(self) -> ReleaseLog:
        if not self._trust.signed:
            return read_log(self._folder)
        chain = verify(read_entries(self._folder), self._model, self._trust)
        problem = chain.problem
        if self._chain is None:
            self._check_first(chain)
        elif not chain.extends(self._chain.heads[-1]):
            problem = _gone_back(self._chain.heads[-1], chain)
            chain = self._chain
        found = chain.log()
        assert found is not None
        self._chain = chain
        _note(self._folder, chain.heads[-1])
        self._tell(problem, chain.heads[-1].number)
        return found

    @property
    def head(self) -> Head | None:
        """The newest that was found true; None before the first reading, and without signatures."""
        return self._chain.heads[-1] if self._chain else None

    def take_refusals(self) -> list[tuple[str, int]]:
        """What was wrong since the last call, with the number of the last release that is followed."""
        return [self._refusals.popleft() for _ in range(len(self._refusals))]

    def _check_first(self, chain: Chain) -> None:
        where = without_secrets(f"{self._folder}/releases")
        if not chain.heads:
            raise ModelError(f"{where} must hold signed releases: {chain.problem or 'there is none'}")
        for known, source in ((self._trust.pinned, "the plan of this job"), _noted(self._folder)):
            if known and not chain.extends(known):
                raise ModelError(f"{where}: {_gone_back(known, chain)}; it was seen by {source}")
        limit = self._trust.max_age_ms
        newest = max(parse_time(record.written_at) for record in chain.records if record.is_signed)
        if limit is not None and self._wall() * 1000 - newest > limit:
            raise ModelError(
                f"{where} must have a release of the last {limit / 86_400_000:g} days, or it may be an old "
                f"one; the newest is of {iso(newest)}: tailrace release confirm writes one"
            )

    def _tell(self, problem: str | None, kept: int) -> None:
        if problem and problem != self._told:
            log.error("release_log_refused", model=self._model, problem=problem, kept=kept)
            self._refusals.append((problem, kept))
        self._told = problem


def _gone_back(known: Head, chain: Chain) -> str:
    found = len(chain.heads)
    why = f" ({chain.problem})" if chain.problem else ""
    if found < known.number:
        return f"release {known.number} was there, and the log ends with {found} now{why}"
    return f"release {known.number} was another one before"


def note_path(folder: str) -> Path:
    """Where this machine remembers the newest head of a model's log."""
    root = os.environ.get(NOTES) or f"{tempfile.gettempdir()}/tailrace-releases-{os.getuid()}"
    return Path(root) / f"{hashlib.sha256(without_secrets(folder).encode()).hexdigest()[:32]}.json"


def _noted(folder: str) -> tuple[Head | None, str]:
    path = note_path(folder)
    try:
        if path.parent.stat().st_uid != os.getuid():
            return None, ""
        return _decoder.decode(path.read_bytes()), f"this machine, which notes it in {path}"
    except (OSError, msgspec.DecodeError):
        return None, ""


def _note(folder: str, head: Head) -> None:
    """Whole or not at all; a machine without a place for it does without."""
    path = note_path(folder)
    noted = _noted(folder)[0]
    if noted and noted.number >= head.number:
        return
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_bytes(msgspec.json.encode(head))
        temporary.replace(path)
    except OSError as error:
        log.warning("release_head_not_noted", error=str(error))
