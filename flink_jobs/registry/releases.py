"""Writes the release log of a model: from which event time on which version scores what.

The rules are in `udfs.releases.steps`; a moment lies at least a lead after its writing, so that every worker
knows of it in time (`udfs.releases.follow`).
"""

from __future__ import annotations

import base64
import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.registry.versions import VersionStore
from udfs.errors import ModelError, StoreError
from udfs.model.manifest import digest
from udfs.releases.chain import ANY_RELEASER, Chain, Entry, ReleaseTrust, signed_message, verify
from udfs.releases.files import append_next, read_entries
from udfs.releases.log import BEGINNING, ReleaseLog, ReleaseRecord
from udfs.releases.steps import (
    ReleaseStep,
    approved,
    canaried,
    confirmed,
    promoted,
    rolled_back,
    shadowed,
    withdrawn,
)
from udfs.times import iso, now_ms

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEFAULT_LEAD_MS = 20_000
Next = Callable[[ReleaseLog | None, ReleaseStep], ReleaseRecord]


@dataclass(frozen=True)
class Activation:
    """When a release takes effect, and what is recorded of it.

    `at_ms`: event time in ms since the epoch; None is as soon as the lead allows; BEGINNING is the beginning
    of time. `past` allows moments before now + lead: what has been scored then differs from a replay. With
    `after` it is written only on top of the release of that number; else OvertakenError. `floor_ms`: where
    `at_ms` is None, it is no earlier than that.
    """

    at_ms: int | None = None
    lead_ms: int = DEFAULT_LEAD_MS
    past: bool = False
    reason: str = ""
    by: str | None = None
    after: int | None = None
    floor_ms: int | None = None


class OvertakenError(InputError):
    """Another release was written since it was decided what the next one shall be."""


@dataclass(frozen=True)
class Signing:
    """A releaser's key; `adopt` vouches for earlier releases, which are not signed."""

    key: Ed25519PrivateKey
    adopt: bool = False


class Releases:
    """The log of one model. `wall_ms` gives the time of day in ms. Methods raise InputError.

    With `signing` releases are signed; `trust` is what the log must be, for what is read and built upon.
    """

    def __init__(
        self,
        versions: VersionStore,
        name: str,
        wall_ms: Callable[[], int] = now_ms,
        *,
        signing: Signing | None = None,
        trust: ReleaseTrust = ANY_RELEASER,
    ) -> None:
        self._versions, self._name, self._wall_ms = versions, name, wall_ms
        self._signing, self._trust = signing, trust
        self._folder = versions.model_location(name)

    def log(self) -> ReleaseLog | None:
        """None before the first release."""
        try:
            return self._sound(read_entries(self._folder)).log()
        except (ModelError, StoreError) as error:
            raise InputError(str(error)) from None

    def entries(self) -> list[Entry]:
        """The files of the log as they are."""
        try:
            return read_entries(self._folder)
        except StoreError as error:
            raise InputError(str(error)) from None

    def chain(self) -> Chain:
        """The log as far as it is true, and why no farther."""
        return verify(self.entries(), self._name, self._trust)

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

    def confirm(self, moment: Activation, *, dry_run: bool = False) -> ReleaseRecord:
        """Say anew what is in force, for jobs that ask for a log of late."""
        return self._append(confirmed, moment, dry_run, ())

    def approve(self, number: int | None, moment: Activation, *, dry_run: bool = False) -> ReleaseRecord:
        """Approve the release of that number, default the newest, as another releaser than those before."""
        if self._signing is None:
            raise InputError("an approval must be signed; give the key of a releaser (--sign-with)")
        return self._write(lambda entries: self._approval(entries, number, moment), dry_run)

    def _append(self, make: Next, moment: Activation, dry_run: bool, named: tuple[int, ...]) -> ReleaseRecord:
        for version in named:
            self._versions.manifest(self._name, version)
        return self._write(lambda entries: self._next(make, moment, entries), dry_run)

    def _write(self, make: Callable[[Sequence[Entry]], ReleaseRecord], dry_run: bool) -> ReleaseRecord:
        try:
            if dry_run:
                return make(read_entries(self._folder))
            written = append_next(self._folder, make)
        except (ModelError, StoreError) as error:
            raise InputError(f"model {self._name}: {error}") from None
        assert written is not None
        return written

    def _sound(self, entries: Sequence[Entry]) -> Chain:
        """Raises ModelError for a log that is not true to its end: nothing is built upon it."""
        chain = verify(entries, self._name, self._trust)
        if chain.problem:
            where = self._versions.store.where(f"{self._name}/releases")
            raise ModelError(f"{where}: {chain.problem}; tailrace audit {self._name} shows the log")
        return chain

    def _ground(self, entries: Sequence[Entry]) -> Chain:
        """What the next release is built upon: a sound log, or one that nobody has signed yet."""
        found = verify(entries, self._name, ANY_RELEASER)
        if found.problem or any(record.is_signed for record in found.records):
            return self._sound(entries)
        return found

    def _next(self, make: Next, moment: Activation, entries: Sequence[Entry]) -> ReleaseRecord:
        if moment.after is not None and len(entries) != moment.after:
            raise OvertakenError(f"release {len(entries)} of model {self._name} came in between")
        chain = self._ground(entries)
        log = chain.log()
        step = self._step(moment, first=log is None)
        record = make(log, step)
        record = msgspec.structs.replace(record, digests=self._digests(record.versions))
        return self._signed(record, chain)

    def _approval(self, entries: Sequence[Entry], number: int | None, moment: Activation) -> ReleaseRecord:
        chain = self._ground(entries)
        others = [record for record in chain.records if record.action != "approve"]
        if not others:
            raise ModelError("there is nothing to approve: the model has no release")
        target = others[-1] if number is None else chain.records[min(number, len(chain.records)) - 1]
        signers = [r.key for r in chain.records if target.number in (r.number, r.approves)]
        if self._public() in signers:
            raise ModelError(
                f"release {target.number} has been signed with this key; another must approve it"
            )
        step = self._step(moment, first=target.at is None)
        if moment.at_ms is None and step.at_ms is not None:
            step = msgspec.structs.replace(step, at_ms=max(step.at_ms, target.at_ms))
        return self._signed(approved(chain.records, target.number, step), chain)

    def _step(self, moment: Activation, *, first: bool) -> ReleaseStep:
        now = self._wall_ms()
        at = self._at_ms(moment, now, first=first)
        by = moment.by if moment.by is not None else _user()
        return ReleaseStep(None if at == BEGINNING else at, now, moment.lead_ms, moment.reason, by)

    def _signed(self, record: ReleaseRecord, chain: Chain) -> ReleaseRecord:
        before = any(each.is_signed for each in chain.records)
        if self._signing is None:
            if before:
                raise ModelError("its releases are signed; give the key of a releaser (--sign-with)")
            return record
        if chain.records and not before and not self._signing.adopt:
            raise ModelError(
                f"releases 1 to {len(chain.records)} are not signed; look at them (tailrace audit "
                f"{self._name}), and sign on top of them with --adopt"
            )
        named = msgspec.structs.replace(
            record,
            schema="tailrace.release/3",
            model=self._name,
            previous=chain.heads[-1].sha256 if chain.heads else "",
            key=self._public(),
        )
        signature = base64.b64encode(self._signing.key.sign(signed_message(named))).decode()
        return msgspec.structs.replace(named, signature=signature)

    def _public(self) -> str:
        assert self._signing is not None
        return base64.b64encode(self._signing.key.public_key().public_bytes_raw()).decode()

    def _digests(self, versions: tuple[int, ...]) -> dict[int, str]:
        """Of those that are still there."""
        there = set(versions) & set(self._versions.versions(self._name))
        return {version: digest(self._versions.manifest(self._name, version)) for version in sorted(there)}

    def _at_ms(self, moment: Activation, now: int, *, first: bool) -> int:
        # The lead begins when workers can see the release, which in an object store takes some seconds.
        ahead = moment.lead_ms + round(self._versions.store.delay * 1000)
        earliest = now + ahead
        if moment.at_ms is None:
            return BEGINNING if first else max(earliest, moment.floor_ms or earliest)
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
