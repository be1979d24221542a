"""docs/benchmarks.md is what the benchmark wrote, and its commands are ones that it takes."""

from __future__ import annotations

import json
import re
import shlex
from xml.etree import ElementTree

from flink_jobs.system.jars import PROJECT
from tests.bench.__main__ import RECORDS, parser
from tests.bench.contenders import CONTENDERS
from tests.bench.page import NAME, caption, page
from tests.bench.picture import picture
from tests.helpers.pages import DOCS, README, blocks, names, table

FACTS = json.loads((PROJECT / "docs" / f"{NAME}.json").read_text())
PAGE = DOCS[f"{NAME}.md"]
MEASURES = {"records_per_s", "cpu_s_per_million", "ratio_to_bare", "cpu_ratio_to_bare"}


def test_nothing_on_the_page_is_typed_in() -> None:
    """Someone betters a number by hand, in the page or in the picture."""
    assert page(FACTS) == PAGE
    assert picture(FACTS["contenders"], caption(FACTS)) == (PROJECT / "docs" / f"{NAME}.svg").read_text()
    assert f"{NAME}.svg" in PAGE
    assert f"docs/{NAME}.md" in README


def test_the_page_tells_all_contenders_and_how_many_records_they_read() -> None:
    told = {names(row[0])[0]: int(row[3].replace(",", "")) for row in table(PAGE, "## Contenders")}
    assert told == FACTS["read"]
    left_out = {name for reason in FACTS["left_out"] for name in names(reason)}
    usual = {name for name, contender in CONTENDERS.items() if contender.by_default}
    assert usual <= {*told, *left_out}
    assert [names(row[0])[0] for row in table(PAGE, "## Results")] == list(told)


def test_each_number_has_its_spread() -> None:
    for measures in FACTS["contenders"].values():
        assert measures.keys() >= MEASURES
        for spread in measures.values():
            assert spread["min"] <= spread["median"] <= spread["max"]
    bare = FACTS["contenders"]["bare"]
    assert bare["ratio_to_bare"] == bare["cpu_ratio_to_bare"] == {"median": 1, "min": 1, "max": 1}


def test_a_short_run_says_so() -> None:
    long = FACTS | {"records": RECORDS, "rounds": 3}
    assert "**A short run**" not in page(long)
    assert "**A short run**" in page(long | {"rounds": 2})
    assert "**A short run**" in page(long | {"records": 100_000})
    assert f"Load average before the run: {FACTS['load_before']:.1f}" in PAGE


def test_the_picture_is_one_for_light_and_dark() -> None:
    text = (PROJECT / "docs" / f"{NAME}.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('viewBox', '').split()[3]}"
    assert "prefers-color-scheme:dark" in text
    assert len(text) < 20_000
    drawn = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert drawn >= set(FACTS["contenders"])


def test_the_commands_of_the_page_are_taken() -> None:
    lines = [line for block in blocks(PAGE, "bash") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        command, *options = shlex.split(line, comments=True)
        assert command == "scripts/bench"
        parser().parse_args(options)
    assert re.search(rf"default {RECORDS:,}", parser().format_help())
