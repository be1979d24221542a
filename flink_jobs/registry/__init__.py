"""Keeps models: numbered, immutable versions under `models/<name>/` and the log of their releases."""

from __future__ import annotations

from dataclasses import dataclass

from flink_jobs.errors import InputError
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.registry.versions import VersionStore, checked_name, listed
from udfs.errors import ModelError, StoreError
from udfs.releases.chain import ANY_RELEASER, Head, ReleaseTrust
from udfs.releases.log import BEGINNING, ReleaseLog
from udfs.releases.trusted import TrustedLog
from udfs.suggest import hint


@dataclass(frozen=True)
class Release:
    """The version to use. `number` is the release that says so, None when the version was chosen directly.

    `head` is the newest entry of a signed log when it was read.
    """

    version: int
    number: int | None
    head: Head | None = None


class Registry(VersionStore):
    """The versions of the models under `root`, a folder or URI, and which of them is released.

    All methods raise `InputError` for what is not there, and `WorkError` when the store fails.
    """

    def resolve(self, name: str, use: str | int, trust: ReleaseTrust = ANY_RELEASER) -> Release:
        """The release of "champion", the "latest" version, or a version by number.

        `trust` is what is demanded of the release log, where that decides.
        """
        versions = self.versions(name)
        if use == "champion":
            return self._champion(name, versions, trust)
        if use == "latest":
            return Release(versions[-1], None)
        if isinstance(use, bool) or not isinstance(use, int):
            meant = hint(str(use), ["champion", "latest"])
            raise InputError(f"use must be champion, latest or a version number; got {use!r}{meant}")
        self.require(name, use, versions)
        return Release(use, None)

    def promote(self, name: str, version: int) -> Release:
        """Make a version the champion of all records, past ones too; `Releases` does it at a moment."""
        record = self._releases(name).promote(version, Activation(BEGINNING, past=True))
        return Release(version, record.number)

    def releases(self, name: str) -> list[int]:
        """The numbers of a model's releases, ascending; empty before the first."""
        log = self._releases(checked_name(name)).log()
        return [record.number for record in log.records] if log else []

    def _releases(self, name: str) -> Releases:
        return Releases(self, name, lambda: int(self.clock().timestamp() * 1000))

    def _champion(self, name: str, versions: list[int], trust: ReleaseTrust) -> Release:
        log: ReleaseLog | None
        head: Head | None = None
        if trust.signed:
            try:
                read = TrustedLog(self.model_location(name), name, trust)
                log, head = read(), read.head
            except (ModelError, StoreError) as error:
                raise InputError(f"model {name} has no champion to trust: {error}") from None
        else:
            log = self._releases(name).log()
        if log is None:
            where = self.store.where(f"{name}/releases")
            raise InputError(
                f"model {name} has no champion: {where} has no release; promote one of its versions "
                f" ({listed(versions)}) with `tailrace release promote {name} {versions[-1]}`"
            )
        try:
            state = log.state(log.place_at(int(self.clock().timestamp() * 1000)))
        except ModelError as error:
            raise InputError(f"model {name}: {error}") from None
        self.require(name, state.champion, versions)
        return Release(state.champion, state.champion_since, head)
