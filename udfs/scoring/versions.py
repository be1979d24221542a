"""Chooses the version that scores each row of a batch: one for all, or as the release log says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from udfs.errors import ModelError
from udfs.model.cache import VersionCache
from udfs.profile.batch_profiler import BatchProfiler
from udfs.releases.follow import Follower
from udfs.releases.log import ReleaseLog, State
from udfs.releases.route import Buckets, routed
from udfs.rollout.events import Event, Role
from udfs.scoring.shadow import Shadow
from udfs.scoring.version import Version
from udfs.times import Milliseconds, now_ms

Rows = npt.NDArray[np.intp]
KEEP_REFRESHES = 3
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ScoringGroup:
    """Rows of a batch that one version scores. `rows` are positions, None for all of them.

    `buckets` are those of the rows' keys, where a canary is chosen by key.
    """

    version: Version
    release: int | None
    role: Role = "champion"
    rows: Rows | None = None
    shadows: tuple[Shadow, ...] = ()
    buckets: Buckets | None = None


class Versions(Protocol):
    """Where a scorer gets its versions from."""

    def groups(self, featured: pa.Table, times: Milliseconds) -> list[ScoringGroup]:
        """Each of n rows, whose routing times are given, in exactly one group."""

    def watches(self) -> list[BatchProfiler]:
        """Those of the versions that may have counted something."""

    def take_events(self) -> list[Event]:
        """What a person should know of, since the last call."""

    def close(self) -> None: ...


class FixedVersion:
    """The same version for every row."""

    def __init__(self, version: Version, release: int | None) -> None:
        self._group = ScoringGroup(version, release)

    def groups(self, featured: pa.Table, times: Milliseconds) -> list[ScoringGroup]:
        return [self._group] if featured.num_rows else []

    def watches(self) -> list[BatchProfiler]:
        watch = self._group.version.watch
        return [watch] if watch else []

    def take_events(self) -> list[Event]:
        return []

    def close(self) -> None:
        return


class FollowedVersions:
    """Follows a release log: versions are loaded before their moment, and dropped some time after it.

    `load` loads a version, given its number and the digest that the log wants of it. `start_shadow` starts a
    version as a shadow, given these, the release, and whether its first rows are to wait for it. `read` reads
    the log, `refusals` gives what was wrong with it since the last call.
    """

    def __init__(
        self,
        model: str,
        read: Callable[[], ReleaseLog],
        load: Callable[[int, str | None], Version],
        start_shadow: Callable[[int, str | None, int, bool], Shadow] | None,
        refresh_s: float,
        steady: Callable[[], float] = time.monotonic,
        refusals: Callable[[], list[tuple[str, int]]] = list,
    ) -> None:
        self._model, self._steady, self._refusals = model, steady, refusals
        self._keep_s = KEEP_REFRESHES * refresh_s
        # For what the follower's thread changes too: shadows, their events, when a version was last used.
        self._lock = threading.Lock()
        self._digests: dict[int, str] = {}
        self._cache = VersionCache(lambda version: load(version, self._digests.get(version)))
        self._start_shadow = start_shadow
        self._shadows: dict[int, Shadow] = {}
        self._refused: dict[int, ModelError] = {}
        # From which place in the log on a refused version is to be tried again.
        self._again: dict[int, int] = {}
        self._used: dict[int, float] = {}
        self._states: dict[tuple[int, int], State] = {}
        self._events: list[Event] = []
        self._tidied = steady()
        self._follower = Follower(read, refresh_s, partial(self._prepare, live=True))
        release_log = self._follower.log
        self._records = self._prepared = len(release_log.records)
        self._prepare(release_log, live=False)
        self._usable(release_log, release_log.place_at(now_ms()))

    def groups(self, featured: pa.Table, times: Milliseconds) -> list[ScoringGroup]:
        if not len(times):
            return []
        release_log = self._follower.covering(int(times.max()))
        if len(release_log.records) != self._records:
            self._begin(release_log)
        places = release_log.places(times)
        present = np.unique(places).tolist()
        groups: list[ScoringGroup] = []
        for place in present:
            rows = None if len(present) == 1 else np.flatnonzero(places == place)
            groups += self._split(self._state(release_log, place), featured, rows)
        self._tidy(release_log)
        return groups

    def watches(self) -> list[BatchProfiler]:
        held = [self._cache.get(version) for version in self._cache.held()]
        return [version.watch for version in held if version.watch]

    def take_events(self) -> list[Event]:
        with self._lock:
            for shadow in self._shadows.values():
                self._events += shadow.take_events()
            events, self._events = self._events, []
        return events + [Event("log_refused", 0, kept, problem) for problem, kept in self._refusals()]

    def close(self) -> None:
        self._follower.close()
        with self._lock:
            for shadow in self._shadows.values():
                shadow.close()

    def _prepare(self, release_log: ReleaseLog, *, live: bool) -> None:
        """Begins to load what is in force now or will be.

        In the follower's thread (`live`) no row waits for a shadow that begins, for it has the lead to be
        ready; and shadows that are off have another try, as have versions that failed and are named anew.
        """
        self._cache.forget_failures(_named(release_log, self._prepared))
        self._prepared = len(release_log.records)
        counted = [r for r in release_log.records if r.number not in release_log.waiting]
        self._digests = {v: digest for record in counted for v, digest in record.digests.items()}
        for place in release_log.from_then_on(now_ms()):
            try:
                state = release_log.state(place)
            except ModelError:
                continue
            scoring = [state.champion] + ([state.canary.version] if state.canary else [])
            self._cache.prepare(scoring)
            for version in state.shadows:
                self._shadow(version, state.number, live=live)

    def _begin(self, release_log: ReleaseLog) -> None:
        """A new release may be about a version that failed before: from it on, it is tried once more."""
        for place in range(self._records, len(release_log.records)):
            for version in release_log.records[place].versions:
                if version in self._refused:
                    self._again.setdefault(version, place)
        self._cache.forget_failures(_named(release_log, self._records))
        self._records = len(release_log.records)
        self._states.clear()

    def _state(self, release_log: ReleaseLog, place: int) -> State:
        key = (len(release_log.records), place)
        if key not in self._states:
            self._states[key] = self._usable(release_log, place)
        return self._states[key]

    def _usable(self, release_log: ReleaseLog, place: int) -> State:
        """The state with only versions that load: the one before, where the champion does not."""
        while True:
            state = self._try_state(release_log, place)
            candidates = [state.champion] + ([state.canary.version] if state.canary else [])
            failed = [version for version in candidates if self._fails(version, state)]
            if not failed:
                return state

    def _try_state(self, release_log: ReleaseLog, place: int) -> State:
        """Raises the first refusal itself, where nothing is left to score with."""
        unusable = frozenset(v for v in self._refused if place < self._again.get(v, place + 1))
        try:
            return release_log.state(place, unusable)
        except ModelError:
            if not unusable:
                raise
        raise next(error for version, error in self._refused.items() if version in unusable)

    def _fails(self, version: int, state: State) -> bool:
        error = self._cache.failure(version)
        if error is None:
            return False
        self._refused[version] = error
        self._again.pop(version, None)
        self._events.append(Event("version_refused", version, state.number, str(error)))
        return True

    def _split(self, state: State, featured: pa.Table, rows: Rows | None) -> list[ScoringGroup]:
        shadows = tuple(s for v in state.shadows if (s := self._shadow(v, state.number)) and not s.off)
        champion = ScoringGroup(self._use(state.champion), state.champion_since, "champion", rows, shadows)
        if state.canary is None:
            return [champion]
        if state.canary.key not in featured.column_names:
            self._missing_key(state)
            return [champion]
        keys = featured.column(state.canary.key).combine_chunks()
        salt = f"{self._model}/{state.canary.version}"
        mine = keys if rows is None else keys.take(pa.array(rows))
        chosen, buckets = routed(mine, state.canary.share, salt)
        if not chosen.any():
            return [replace(champion, buckets=buckets)]
        every = np.arange(featured.num_rows) if rows is None else rows
        version = self._use(state.canary.version)
        canary = ScoringGroup(version, state.number, "canary", every[chosen], shadows, buckets[chosen])
        others = replace(champion, rows=every[~chosen], buckets=buckets[~chosen])
        rest = [others] if not chosen.all() else []
        return [*rest, canary]

    def _missing_key(self, state: State) -> None:
        assert state.canary is not None
        text = f"the job has no column {state.canary.key!r} to choose canary rows by"
        event = Event("canary_without_key", state.canary.version, state.number, text)
        if event not in self._events:
            self._events.append(event)

    def _use(self, version: int) -> Version:
        with self._lock:
            self._used[version] = self._steady()
        return self._cache.get(version)

    def _shadow(self, version: int, release: int, *, live: bool = False) -> Shadow | None:
        if self._start_shadow is None:
            return None
        with self._lock:
            if live and version in self._shadows and self._shadows[version].off:
                self._end_shadow(version)
            if version not in self._shadows:
                digest = self._digests.get(version)
                self._shadows[version] = self._start_shadow(version, digest, release, not live)
            self._used[version] = self._steady()
            return self._shadows[version]

    def _end_shadow(self, version: int) -> None:
        """With the lock held. What it had to say is not lost."""
        shadow = self._shadows.pop(version)
        self._events += shadow.take_events()
        shadow.close()

    def _tidy(self, release_log: ReleaseLog) -> None:
        now = self._steady()
        if now - self._tidied < self._keep_s / KEEP_REFRESHES:
            return
        self._tidied = now
        needed: set[int] = set()
        for place in release_log.from_then_on(now_ms()):
            needed |= set(release_log.records[place].versions)
        with self._lock:
            needed |= {version for version, used in self._used.items() if now - used < self._keep_s}
            for version in self._shadows.keys() - needed:
                self._end_shadow(version)
        self._cache.keep(needed)


def _named(release_log: ReleaseLog, since: int) -> set[int]:
    """The versions that the records from a place on are about."""
    return {version for record in release_log.records[since:] for version in record.versions}
