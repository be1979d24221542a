"""Makes the next entry of a release log of what a person, or the gate of a job, decides.

>>> step = ReleaseStep(at_ms=86_400_000, written_ms=0, lead_ms=20_000, reason="better on holidays", by="ada")
>>> record = promoted(None, 2, step)
>>> record.number, record.champion, record.at
(1, 2, '1970-01-02T00:00:00.000Z')

Pure. All raise ModelError for what makes no sense after that log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from udfs.errors import ModelError
from udfs.releases.log import Action, Canary, ReleaseLog, ReleaseRecord
from udfs.times import iso


class ReleaseStep(msgspec.Struct, frozen=True):
    """When it takes effect (`at_ms` null: from the beginning of time), and what is recorded with it.

    `digests` are those of all versions that may be named.
    """

    at_ms: int | None
    written_ms: int
    lead_ms: int
    reason: str = ""
    by: str = ""
    digests: Mapping[int, str] = {}


def promoted(
    log: ReleaseLog | None, version: int, step: ReleaseStep, action: Action = "promote"
) -> ReleaseRecord:
    """`version` alone is champion; shadows go on, except itself."""
    _not_withdrawn(log, version)
    shadows = tuple(v for v in log.last.shadows if v != version) if log else ()
    return _record(log, step, action, version, None, shadows)


def canaried(
    log: ReleaseLog | None, version: int, share: float, key: str | None, step: ReleaseStep
) -> ReleaseRecord:
    """A share of the values of `key` (default: the running canary's) goes to `version`."""
    last = _last(log, "a canary needs a champion beside it: promote a version first")
    _not_withdrawn(log, version)
    if version == last.champion:
        raise ModelError(f"version {version} is the champion already; a canary must be another version")
    if key is None and last.canary is not None:
        key = last.canary.key
    if key is None:
        raise ModelError("a canary needs a key, the column whose values are divided; give --key COLUMN")
    try:
        canary = Canary(version=version, share=share, key=key)
    except ValueError as error:
        raise ModelError(str(error)) from None
    shadows = tuple(v for v in last.shadows if v != version)
    return _record(log, step, "canary", last.champion, canary, shadows)


def shadowed(log: ReleaseLog | None, versions: tuple[int, ...], step: ReleaseStep) -> ReleaseRecord:
    """These versions, none for no more, score beside the champion."""
    last = _last(log, "a shadow needs a champion beside it: promote a version first")
    for version in versions:
        _not_withdrawn(log, version)
        if version == last.champion or (last.canary and version == last.canary.version):
            raise ModelError(f"version {version} scores already, as champion or canary")
    return _record(log, step, "shadow", last.champion, last.canary, tuple(dict.fromkeys(versions)))


def rolled_back(log: ReleaseLog | None, step: ReleaseStep, to: int | None = None) -> ReleaseRecord:
    """Ends the canary, or else goes back to the champion before, or to version `to`."""
    last = _last(log, "there is nothing to roll back to: the model has no release")
    if to is None:
        to = last.champion if last.canary else _champion_before(log)
    _not_withdrawn(log, to)
    return _record(log, step, "rollback", to, None, last.shadows)


def withdrawn(
    log: ReleaseLog | None, version: int, step: ReleaseStep, to: int | None = None
) -> ReleaseRecord:
    """`version` must not score any more; if it is champion, the one before it, or `to`, takes over."""
    last = _last(log, "there is nothing to withdraw from: the model has no release")
    champion = last.champion
    if to is not None:
        champion = to
    elif champion == version:
        champion = _champion_before(log)
    _not_withdrawn(log, champion)
    if champion == version:
        raise ModelError(f"version {version} must be replaced by another one; give --to VERSION")
    canary = last.canary if last.canary and last.canary.version not in (version, champion) else None
    shadows = tuple(v for v in last.shadows if v not in (version, champion))
    return _record(log, step, "withdraw", champion, canary, shadows, withdraw=version)


def confirmed(log: ReleaseLog | None, step: ReleaseStep) -> ReleaseRecord:
    """The same as now, said anew: the log is shown to be no old one."""
    last = _last(log, "there is nothing to confirm: the model has no release")
    return _record(log, step, "confirm", last.champion, last.canary, last.shadows)


def approved(log: Sequence[ReleaseRecord], number: int, step: ReleaseStep) -> ReleaseRecord:
    """The release of that number once more, with the word of another releaser, from a moment of its own."""
    found = next((record for record in log if record.number == number), None)
    if found is None or found.action == "approve":
        raise ModelError(f"release {number} must be a release that waits for approval")
    made = _made(len(log) + 1, step, "approve", found.champion, found.canary, found.shadows, None)
    return msgspec.structs.replace(made, approves=number, digests=found.digests)


def _champion_before(log: ReleaseLog | None) -> int:
    assert log is not None
    last = log.last
    for record in reversed(log.records):
        usable = record.champion not in log.withdrawn and record.number not in log.waiting
        if record.champion != last.champion and usable:
            return record.champion
    raise ModelError(f"there is no champion before version {last.champion}; give --to VERSION")


def _last(log: ReleaseLog | None, otherwise: str) -> ReleaseRecord:
    if log is None:
        raise ModelError(otherwise)
    return log.last


def _not_withdrawn(log: ReleaseLog | None, version: int) -> None:
    if log and version in log.withdrawn:
        raise ModelError(f"version {version} was withdrawn; register it anew to use it")


def _record(
    log: ReleaseLog | None,
    step: ReleaseStep,
    action: Action,
    champion: int,
    canary: Canary | None,
    shadows: tuple[int, ...],
    withdraw: int | None = None,
) -> ReleaseRecord:
    number = len(log.records) + 1 if log else 1
    record = _made(number, step, action, champion, canary, shadows, withdraw)
    pinned = {v: step.digests[v] for v in record.versions if v in step.digests}
    return msgspec.structs.replace(record, digests=pinned)


def _made(
    number: int,
    step: ReleaseStep,
    action: Action,
    champion: int,
    canary: Canary | None,
    shadows: tuple[int, ...],
    withdraw: int | None,
) -> ReleaseRecord:
    return ReleaseRecord(
        number=number,
        action=action,
        champion=champion,
        canary=canary,
        shadows=shadows,
        withdraw=withdraw,
        at=None if step.at_ms is None else iso(step.at_ms),
        written_at=iso(step.written_ms),
        lead_ms=step.lead_ms,
        reason=step.reason,
        by=step.by,
    )
