"""The aggregates that a window selects.

parse_aggregate("lag(x, 2)")   # Aggregate("lag", "x", offset=2)
parse_aggregate("count(* where amount > 100)")   # Aggregate("count", where="amount > 100")
str(parse_aggregate("COUNT(*)"))   # "count(*)"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic_core import PydanticCustomError

from flink_jobs.spec.diagnostics import wrong
from flink_jobs.spec.scalars import Parsed, format_duration, parse_duration, parse_share
from udfs.suggest import nearest

# About the records before one, so only windows over events have them.
EVENT_AGGREGATES = ("lag", "time_since_last")
AGGREGATES = (
    *("count", "sum", "avg", "min", "max", "stddev", "first", "last"),
    *("lag", "percentile", "top", "ewma", "rate", "delta", "time_since_last"),
)
NUMERIC_AGGREGATES = frozenset({"sum", "avg", "stddev", "percentile", "ewma", "rate", "delta"})
# What is written for them; {x} is the column.
_OTHER_NAMES = {
    "mean": "avg({x})",
    "average": "avg({x})",
    "std": "stddev({x})",
    "first_value": "first({x})",
    "last_value": "last({x})",
    "minimum": "min({x})",
    "maximum": "max({x})",
    "n": "count({x})",
    "total": "sum({x})",
    "nunique": "count(distinct {x})",
    "count_distinct": "count(distinct {x})",
    "count_if": "count(* where {x})",
    "countif": "count(* where {x})",
    "median": "percentile({x}, 0.5)",
    "quantile": "percentile({x}, 0.5)",
    "ema": "ewma({x}, 10m)",
    "ewm": "ewma({x}, 10m)",
    "derivative": "rate({x})",
    "diff": "delta({x})",
    "difference": "delta({x})",
    "change": "delta({x})",
    "previous": "lag({x})",
    "mode": "top({x})",
    "most_common": "top({x})",
    "most_frequent": "top({x})",
    "top_k": "top({x}, 3)",
    "time_since": "time_since_last()",
    "since_last": "time_since_last()",
}
_AGGREGATE = re.compile(
    r"\s*(?P<function>[A-Za-z_][A-Za-z0-9_]*)\s*\(\s*"
    r"((?P<distinct>(?i:distinct)\s+)?(?P<column>[^\s(),]+)\s*(,\s*(?P<second>[^\s(),]+)\s*)?)?"
    r"((?<=[\s(])(?i:where)\b\s*(?P<inside>\S.*?)\s*\)|\)(\s*(?i:where)\b\s*(?P<after>\S.*?))?)\s*",
    re.DOTALL,
)
_LONGEST = 2_000
_LARGEST_LAG = 10_000
_LAST_PLACE = 100


@dataclass(frozen=True)
class Aggregate:
    """One result of a window. `column` is None for count(*) and time_since_last().

    `offset` is given for lag, and the place for top; `share` for percentile and `half_life`, in ms, for ewma.
    `where` is an SQL expression: only records count of which it is true.
    """

    function: str
    column: str | None = None
    distinct: bool = False
    offset: int | None = None
    share: float | None = None
    half_life: int | None = None
    where: str | None = None

    def __str__(self) -> str:
        first = self.column or ("" if self.function == "time_since_last" else "*")
        half_life = format_duration(self.half_life) if self.half_life else None
        arguments = f"{'distinct ' if self.distinct else ''}{first}"
        for second in (self.offset, self.share, half_life):
            arguments += "" if second is None else f", {second}"
        if self.where:
            arguments += f"{' ' if arguments else ''}where {self.where}"
        return f"{self.function}({arguments})"


def parse_aggregate(value: object) -> Aggregate:
    """Read count(*), count(distinct x), sum(x), …, lag(x, n), percentile(x, share), ewma(x, half life).

    Each with `where condition`, within the brackets or after them.
    """
    match = _AGGREGATE.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
    if not match:
        raise wrong("an aggregate such as count(*), count(distinct x), avg(x) or lag(x, 2)")
    function, column, where = match["function"].lower(), match["column"], match["inside"] or match["after"]
    if function not in AGGREGATES:
        suggestion = _meant(function, column, match["second"])
        expected = f"an aggregate by one of: {', '.join(AGGREGATES)}"
        raise wrong(expected, suggestion=suggestion and _with(suggestion, where))
    if function == "time_since_last":
        if column:
            meant = _with("time_since_last()", where or f"{column} IS NOT NULL")
            raise wrong("time_since_last(), as it is of records, not of a column", suggestion=meant)
        return Aggregate(function, where=where)
    if column is None or (column == "*" and (function != "count" or match["distinct"])):
        raise wrong(f"an aggregate of a column, {function}({'distinct x' if match['distinct'] else 'x'})")
    if match["distinct"] and function != "count":
        raise wrong(f"{function}({column}), as distinct is for count only")
    offset, share, half_life = _second(function, column, match["second"])
    return Aggregate(
        function,
        None if column == "*" else column,
        bool(match["distinct"]),
        offset,
        share,
        half_life,
        where,
    )


def _second(function: str, column: str, text: str | None) -> tuple[int | None, float | None, int | None]:
    """The offset of lag or place of top, the share of percentile, and the half life of ewma."""
    match function:
        case "lag":
            return _whole(text, _LARGEST_LAG, f"a lag of 1 to {_LARGEST_LAG} rows"), None, None
        case "top":
            expected = f"top({column}, n) with a place from 1 to {_LAST_PLACE}"
            return _whole(text, _LAST_PLACE, expected), None, None
        case "percentile":
            return None, _share(column, text), None
        case "ewma":
            return None, None, _half_life(column, text)
    if text:
        raise wrong(f"{function}({column}), as a second argument is for lag, top, percentile and ewma only")
    return None, None, None


def _whole(text: str | None, most: int, expected: str) -> int:
    """A number from 1 on; 1 if there is none."""
    number = 1 if text is None else int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not 1 <= number <= most:
        raise wrong(expected)
    return number


def _share(column: str, text: str | None) -> float:
    try:
        return parse_share(text)
    except ValueError:
        percent = text and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", text)
        meant = f"percentile({column}, {text}%)" if percent else f"percentile({column}, 0.5)"
        raise wrong(f"percentile({column}, share) with a share from 0 to 1", suggestion=meant) from None


def _half_life(column: str, text: str | None) -> int:
    try:
        return parse_duration(text, 1)
    except PydanticCustomError as error:
        respelled = (error.context or {}).get("suggestion") or "10m"
        expected = f"ewma({column}, half life) with a duration such as 30s, 10m or 1d"
        raise wrong(expected, suggestion=f"ewma({column}, {respelled})") from None


def _meant(function: str, column: str | None, second: str | None) -> str | None:
    """What to write instead of an aggregate that there is not."""
    per_cent = re.fullmatch("p([0-9]{1,2})", function)
    if per_cent:
        return f"percentile({column or 'x'}, {int(per_cent[1]) / 100})"
    if function in _OTHER_NAMES:
        return _OTHER_NAMES[function].format(x=column or "x")
    near = nearest(function, AGGREGATES, cutoff=0.75)
    return f"{near}({', '.join(filter(None, (column, second)))})" if near else None


def _with(call: str, where: str | None) -> str:
    return f"{call[:-1]}{'' if call.endswith('()') else ' '}where {where})" if where else call


_SPELLINGS = "|".join([*AGGREGATES, *map(str.upper, AGGREGATES)])
_AGGREGATE_SCHEMA = {
    "type": "string",
    "pattern": rf"^\s*({_SPELLINGS})\s*\([\s\S]*\)\s*([wW][hH][eE][rR][eE]\b[\s\S]*)?$",
    "examples": [
        "count(*)",
        "count(distinct x)",
        "avg(x)",
        "lag(x, 2)",
        "percentile(x, 0.9)",
        "top(x, 3)",
        "ewma(x, 10m)",
        "time_since_last()",
        "count(* where x > 100)",
    ],
}
AggregateText = Annotated[Aggregate, Parsed(parse_aggregate, _AGGREGATE_SCHEMA)]
