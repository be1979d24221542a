"""Writes the release log of a model: from which event time on which version scores what.

The rules are in `udfs.releases.steps`; a moment lies at least a lead after its writing, so that every worker
knows of it in time (`udfs.releases.follow`).
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.registry.versions import VersionStore
from udfs.errors import ModelError, StoreError
from udfs.model.manifest import digest
from udfs.releases.files import append, read_records
from udfs.releases.log import BEGINNING, ReleaseLog, ReleaseRecord
from udfs.releases.steps import ReleaseStep, canaried, promoted, rolled_back, shadowed, withdrawn
from udfs.times import iso, now_ms

DEFAULT_LEAD_MS = 20_000
Next = Callable[[ReleaseLog | None, ReleaseStep], ReleaseRecord]


@dataclass(frozen=True)
class Activation:
    """When a release takes effect, and what is recorded of it.

    `at_ms`: event time in ms since the epoch; None is as soon as the lead allows; BEGINNING is the beginning
    of time. `past` allows moments before now + lead: what has been scored then differs from a replay.
    """

    at_ms: int | None = None
    lead_ms: int = DEFAULT_LEAD_MS
    past: bool = False
    reason: str = ""
    by: str | None = None


class Releases:
    """The log of one model. `wall_ms` gives the time of day in ms. Methods raise InputError."""

    def __init__(self, versions: VersionStore, name: str, wall_ms: Callable[[], int] = now_ms) -> None:
        self._versions, self._name, self._wall_ms = versions, name, wall_ms
        self._folder = versions.model_location(name)

    def log(self) -> ReleaseLog | None:
        """None before the first release."""
        try:
            records = read_records(self._folder)
            return ReleaseLog(records) if records else None
        except (ModelError, StoreError) as error:
            raise InputError(str(error)) from None

    def promote(self, version: int, moment: Activation, *, dry_run: bool = False) -> ReleaseRecord:
        """Make a version the champion of all records from the moment on; it ends a canary."""
        return self._append(lambda log, step: promoted(log, version, step), moment, dry_run, (version,))

    def canary(
        self, version: int, share: float, key: str | None, moment: Activation, *, dry_run: bool = False
    ) -> ReleaseRecord:
        """Give a share (0 to 1) of the values of the column `key` to a version."""
        return self._append(
            lambda log, step: canaried(log, version, share, key, step), moment, dry_run, (version,)
        )

    def shadow(
        self, versions: tuple[int, ...], moment: Activation, *, dry_run: bool = False
    ) -> ReleaseRecord:
        """Let these versions, none for no more, score beside the champion."""
        return self._append(lambda log, step: shadowed(log, versions, step), moment, dry_run, versions)

    def rollback(self, moment: Activation, to: int | None = None, *, dry_run: bool = False) -> ReleaseRecord:
        """End the canary, or go back to the champion before."""
        named = () if to is None else (to,)
        return self._append(lambda log, step: rolled_back(log, step, to), moment, dry_run, named)

    def withdraw(
        self, version: int, moment: Activation, to: int | None = None, *, dry_run: bool = False
    ) -> ReleaseRecord:
        """Stop a version at each worker's next look at the log, whatever the event time."""
        named = (version,) if to is None else (version, to)
        return self._append(lambda log, step: withdrawn(log, version, step, to), moment, dry_run, named)

    def _append(self, make: Next, moment: Activation, dry_run: bool, named: tuple[int, ...]) -> ReleaseRecord:
        for version in named:
            self._versions.manifest(self._name, version)
        try:
            if dry_run:
                return self._next(make, moment, self.log())
            written = append(self._folder, lambda log: self._next(make, moment, log))
        except ModelError as error:
            raise InputError(f"model {self._name}: {error}") from None
        assert written is not None
        return written

    def _next(self, make: Next, moment: Activation, log: ReleaseLog | None) -> ReleaseRecord:
        now = self._wall_ms()
        at = self._at_ms(moment, now, first=log is None)
        by = moment.by if moment.by is not None else _user()
        record = make(
            log, ReleaseStep(None if at == BEGINNING else at, now, moment.lead_ms, moment.reason, by)
        )
        return msgspec.structs.replace(record, digests=self._digests(record.versions))

    def _digests(self, versions: tuple[int, ...]) -> dict[int, str]:
        """Of those that are still there."""
        there = set(versions) & set(self._versions.versions(self._name))
        return {version: digest(self._versions.manifest(self._name, version)) for version in sorted(there)}

    def _at_ms(self, moment: Activation, now: int, *, first: bool) -> int:
        # The lead begins when workers can see the release, which in an object store takes some seconds.
        ahead = moment.lead_ms + round(self._versions.store.delay * 1000)
        earliest = now + ahead
        if moment.at_ms is None:
            return BEGINNING if first else earliest
        if moment.at_ms < earliest and not first and not moment.past:
            raise InputError(
                f"a release must lie at least the lead of {ahead / 1000:g} s ahead, so from "
                f"{iso(earliest)} on, for all workers to know in time; --past allows it all the same"
            )
        return moment.at_ms


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
