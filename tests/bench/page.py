"""Writes docs/benchmarks.md, its picture, and the numbers that both are made of, docs/benchmarks.json.

page(json.loads(Path("docs/benchmarks.json").read_text()))
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

from tests.bench.contenders import CONTENDERS
from tests.bench.measure import WARM_UP
from tests.bench.picture import picture
from tests.bench.rounds import Measures, Spread

NAME = "benchmarks"
LONG_RECORDS, LONG_ROUNDS = 500_000, 3
Facts = dict[str, Any]
_TEMPLATE = Template(Path(__file__).with_name("page_template.md").read_text())


def write(facts: Facts, folder: Path) -> None:
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / f"{NAME}.md").write_text(page(facts))
    (folder / f"{NAME}.svg").write_text(picture(facts["contenders"], caption(facts)))


def caption(facts: Facts) -> str:
    cores = facts["machine"]["cores"]
    rounds = "one round" if facts["rounds"] == 1 else f"{facts['rounds']} rounds"
    return f"{facts['records']:,} records, {rounds}, {cores} cores, {facts['date']}"


def page(facts: Facts) -> str:
    """The page as Markdown."""
    text = _TEMPLATE.substitute(
        caption=caption(facts),
        notes="\n".join(_notes(facts)),
        results=_results(facts["contenders"]),
        latency="\n\n".join(_latency(facts["latency"])),
        aims="" if _short(facts) else _aims(facts["aims"]),
        contenders=_contenders(facts["read"]),
        bytes=facts["bytes"],
        in_a_window=f"{facts['in_a_window']:,}",
        keys=", ".join(f"{count:,} values of `{name}`" for name, count in facts["keys"].items()),
        warm_up=f"{WARM_UP:.0%}",
        where=_where(facts),
    )
    return "\n\n".join(_wrapped(part) for part in re.split(r"\n{2,}", text.strip())) + "\n"


def _wrapped(part: str) -> str:
    """Prose in lines of a length; tables, lists, pictures, headings and code stay."""
    if part[0] in "|-#!`":
        return part
    return fill(part, 120, break_long_words=False, break_on_hyphens=False)


def _notes(facts: Facts) -> list[str]:
    notes = [
        f"Load average before the run: {facts['load_before']:.1f}, after it: {facts['load_after']:.1f}, "
        f"its own work included."
    ]
    if _short(facts):
        notes.insert(
            0,
            f"**A short run**, which shows that all of them work: numbers to go by take at least "
            f"{LONG_RECORDS:,} records and {LONG_ROUNDS} rounds.",
        )
    return notes + [f"{reason[:1].upper()}{reason[1:]}." for reason in facts["left_out"]]


def _short(facts: Facts) -> bool:
    return bool(facts["records"] < LONG_RECORDS or facts["rounds"] < LONG_ROUNDS)


def _results(measured: dict[str, Measures]) -> str:
    heads = ["records/s", "to `bare`", "CPU s per million", "to `bare`", "start, s", "worker MB", "JVM MB"]
    return _table(["", *heads], ([f"`{name}`", *_cells(spreads)] for name, spreads in measured.items()))


def _cells(spreads: Measures) -> list[str]:
    return [
        spread(spreads["records_per_s"], ",.0f"),
        spread(spreads["ratio_to_bare"], ".2f"),
        spread(spreads["cpu_s_per_million"], ".1f"),
        spread(spreads["cpu_ratio_to_bare"], ".2f"),
        f"{spreads['startup_s']['median']:.1f}",
        *(f"{spreads[name]['max']:,.0f}" if spreads[name]["max"] else "" for name in ("worker_mb", "jvm_mb")),
    ]


def _latency(found: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"Latency of `{name}` at {waits['rate']:,} records a second (`latency: low`, `at_least_once`, "
        f"`out_of_order: 1s`): half of {waits['records']:,} predictions within {waits['p50_ms']:,.0f} ms, "
        f"99% within {waits['p99_ms']:,.0f} ms."
        for name, waits in found.items()
    ]


def _aims(found: list[dict[str, Any]]) -> str:
    rows = [[aim["words"], aim["aim"], aim["measured"], "yes" if aim["met"] else "no"] for aim in found]
    return "## Aims\n\n" + _table(["", "aim", "measured", "met"], rows) if rows else ""


def _contenders(read: dict[str, int]) -> str:
    rows = [
        [f"`{name}`", CONTENDERS[name].what, CONTENDERS[name].delivery, f"{count:,}"]
        for name, count in read.items()
    ]
    return _table(["", "what it is", "delivery", "records"], rows)


def _where(facts: Facts) -> str:
    rows = {"date": facts["date"], "took": f"{facts['minutes']:.0f} minutes"}
    return _table(["", ""], [list(row) for row in (rows | facts["machine"] | facts["versions"]).items()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([_row(head), "|" + "---|" * len(head), *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def spread(values: Spread, form: str) -> str:
    """The median, and the least and greatest if they differ."""
    if values["min"] == values["max"]:
        return f"{values['median']:{form}}"
    return f"{values['median']:{form}} ({values['min']:{form}} to {values['max']:{form}})"
