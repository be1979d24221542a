"""From when on the state of windows has what they ask for, after an edit of the job.

>>> hour = WindowParams(over_ms=3_600_000, select={"spent": AggregateParams("sum", "amount")})
>>> before = Retention([WindowParams(over_ms=60_000)])
>>> held = held_since({}, before, {"card": True, "amount": True}, until=100_000)
>>> limits_of(("card",), [hour], held).time
3640000
>>> limits_of(("card",), [hour], {}).time == LEAST_TIME  # nothing was edited
True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from udfs.windows.kept import LEAST_TIME
from udfs.windows.params import AggregateParams, WindowParams
from udfs.windows.retention import Retention, looks_back

_ALL = 2**62


class Back(NamedTuple):
    """A look back: `rows` rows, the own one included; or to the `rows`-th before that has `where`."""

    rows: int
    where: str | None = None


class Held(msgspec.Struct, frozen=True):
    """What the state has of a column: all rows from `since` on, and of before that the last ones of each key.

    These are the last `rows` of all, and of those in which another column is true as many as `true` says, all
    if it is None.
    """

    since: int = LEAST_TIME
    rows: int = _ALL
    true: dict[str, int] | None = None

    def after(self, retention: Retention, until: int) -> Held:
        """When rows up to `until` were kept as `retention` says."""
        true = {w: n if self.true is None else min(n, self.true.get(w, 0)) for w, n in retention.last.items()}
        return Held(max(self.since, until - retention.over), min(self.rows, retention.rows), true)

    def reaches(self, back: Back) -> bool:
        """Whether a look back of the next row finds what it asks for, however old that is."""
        if back.where:
            return self.true is None or back.rows <= self.true.get(back.where, 0)
        return back.rows <= self.rows


WHOLE = Held()


class Limits(NamedTuple):
    """When the windows of a row are complete: from this time of its own on, and where no look back is short.

    A look back is short unless the row that it ends at has this time or a later one; where it is LEAST_TIME,
    it never is.
    """

    time: int
    backs: dict[Back, int]


def held_since(
    before: Mapping[str, Held], retention: Retention, columns: Mapping[str, bool], until: int
) -> dict[str, Held]:
    """What the state has for other windows than it was written for, which `retention` tells.

    `columns` says of each column that is kept from now on whether it was kept; rows up to `until` were.
    """
    if until == LEAST_TIME:
        return {}
    return {
        name: before.get(name, WHOLE).after(retention, until) if kept else Held(until + 1, 0, {})
        for name, kept in columns.items()
    }


def refilled(held: Mapping[str, Held], since: int) -> dict[str, Held]:
    """After all rows from `since` on were read again, none of which has a time of 0 or before."""
    since = LEAST_TIME if since <= 0 else since
    return {name: Held(min(each.since, since), each.rows, each.true) for name, each in held.items()}


def backs_of(windows: Sequence[WindowParams]) -> tuple[Back, ...]:
    """The looks back that windows make, but for those at a row itself."""
    asked = dict.fromkeys(back for window in windows for _, back in _asks((), window) if back)
    return tuple(back for back in asked if back.where or back.rows > 1)


def limits_of(by: Sequence[str], windows: Sequence[WindowParams], held: Mapping[str, Held]) -> Limits:
    """Those of a shard whose state has this; columns that are not named are whole."""
    time, backs = LEAST_TIME, dict.fromkeys(backs_of(windows), LEAST_TIME)
    for window in windows:
        for columns, back in _asks(by, window):
            of = [held.get(name, WHOLE) for name in columns]
            since = max(each.since for each in of)
            if since == LEAST_TIME:
                continue
            if back is None:
                time = max(time, since + window.over_ms)
            elif back in backs and not all(each.reaches(back) for each in of):
                backs[back] = max(backs[back], since)
    return Limits(time, backs)


def _asks(by: Sequence[str], window: WindowParams) -> Iterator[tuple[tuple[str, ...], Back | None]]:
    """The columns that each result reads, the key's among them, and its look back if it has one."""
    for aggregate in window.select.values():
        read = tuple(name for name in (aggregate.column, aggregate.where) if name)
        yield (*by, *read), _back(aggregate, window)


def _back(aggregate: AggregateParams, window: WindowParams) -> Back | None:
    if looks_back(aggregate):
        return Back(aggregate.offset, aggregate.where) if aggregate.where else Back(aggregate.offset + 1)
    return Back(window.rows) if window.rows else None
