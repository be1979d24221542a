"""What a person should know of a version, and the roles that one can have."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["champion", "canary", "shadow"]

EventKind = Literal["version_refused", "shadow_off", "canary_without_key", "rolled_back", "log_refused"]


class Event(msgspec.Struct, frozen=True, array_like=True):
    """Something that a person should know of: about a version, under a release.

    Of a log that is refused the version is 0, and the release the last one that is followed.
    """

    kind: EventKind
    version: int
    release: int
    message: str
