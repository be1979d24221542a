"""The aggregates that a window selects.

parse_aggregate("lag(x, 2)")   # Aggregate("lag", "x", offset=2)
str(parse_aggregate("COUNT(*)"))   # "count(*)"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from flink_jobs.spec.diagnostics import wrong
from flink_jobs.spec.scalars import Parsed
from udfs.suggest import nearest

AGGREGATES = ("count", "sum", "avg", "min", "max", "stddev", "first", "last", "lag")
NUMERIC_AGGREGATES = frozenset({"sum", "avg", "stddev"})
_OTHER_NAMES = {
    "mean": "avg",
    "average": "avg",
    "std": "stddev",
    "first_value": "first",
    "last_value": "last",
    "minimum": "min",
    "maximum": "max",
    "n": "count",
    "total": "sum",
}
_AGGREGATE = re.compile(
    r"\s*(?P<function>[A-Za-z_]+)\s*\(\s*(?P<distinct>(?i:distinct)\s+)?(?P<column>[^\s(),]+)\s*"
    r"(,\s*(?P<offset>[0-9]{1,5})\s*)?\)\s*"
)
_LARGEST_LAG = 10_000


@dataclass(frozen=True)
class Aggregate:
    """One result of a window. `column` is None for count(*); `offset` is given for lag only."""

    function: str
    column: str | None = None
    distinct: bool = False
    offset: int | None = None

    def __str__(self) -> str:
        argument = f"{'distinct ' if self.distinct else ''}{self.column or '*'}"
        return f"{self.function}({argument}{f', {self.offset}' if self.offset else ''})"


def parse_aggregate(value: object) -> Aggregate:
    """Read count(*), count(x), count(distinct x), sum(x), …, lag(x) or lag(x, n)."""
    match = _AGGREGATE.fullmatch(value) if isinstance(value, str) and len(value) <= 300 else None
    if not match:
        raise wrong("an aggregate such as count(*), count(distinct x), avg(x) or lag(x, 2)")
    function, column, offset = match["function"].lower(), match["column"], match["offset"]
    if function not in AGGREGATES:
        meant = _OTHER_NAMES.get(function) or nearest(function, AGGREGATES, cutoff=0.75)
        suggestion = f"{meant}({column})" if meant else None
        raise wrong(f"an aggregate by one of: {', '.join(AGGREGATES)}", suggestion=suggestion)
    if column == "*" and (function != "count" or match["distinct"]):
        raise wrong(f"an aggregate of a column, {function}({'distinct x' if match['distinct'] else 'x'})")
    if match["distinct"] and function != "count":
        raise wrong(f"{function}({column}), as distinct is for count only")
    if offset and function != "lag":
        raise wrong(f"{function}({column}), as a second argument is for lag only")
    if offset and not 1 <= int(offset) <= _LARGEST_LAG:
        raise wrong(f"a lag of 1 to {_LARGEST_LAG} rows")
    steps = int(offset or 1) if function == "lag" else None
    return Aggregate(function, None if column == "*" else column, bool(match["distinct"]), steps)


_SPELLINGS = "|".join([*AGGREGATES, *map(str.upper, AGGREGATES)])
_AGGREGATE_SCHEMA = {
    "type": "string",
    "pattern": rf"^\s*({_SPELLINGS})\s*\(.*\)\s*$",
    "examples": ["count(*)", "count(distinct x)", "avg(x)", "lag(x, 2)"],
}
AggregateText = Annotated[Aggregate, Parsed(parse_aggregate, _AGGREGATE_SCHEMA)]
