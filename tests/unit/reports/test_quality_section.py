"""The part of the page that says how right the model is: what a person reads first, and hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from flink_jobs.reports.drift.page import render
from flink_jobs.reports.quality.section import quality_lead
from flink_jobs.reports.quality.summary import grouped
from tests.helpers.alerts import alert
from tests.helpers.quality_records import record

HOURS = [record(hour) for hour in range(5)]


class Text(HTMLParser):
    """All text of a page, and its tags."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_comes_first_and_says_whether_to_act() -> None:
    page = Text(render([], [], grouped([*HOURS, record(5, changed=True)])))
    assert page.text.index("Act.") < page.text.index("No window is complete yet.")
    assert "AUC 0.810 (0.790 to 0.830) in the window of 2026-01-01 05:00" in page.text
    assert page.tags.count("circle") == 1
    calm = Text(quality_lead(grouped(HOURS)))
    assert "As expected." in calm.text
    assert "circle" not in calm.tags


def test_beside_the_alarm_it_says_what_to_do_and_what_else_moved() -> None:
    alarm = record(5, changed=True)
    moved = alert("score", 6, "outputs", message="score moved down; only 0.1% of rows still above 0.8")
    lead = quality_lead(grouped([*HOURS, alarm]), [moved])
    said = Text(lead).text
    assert "What to do. If it began with a release" in said
    assert "WhyAt the same time: score moved down." in said
    assert said.index("What to do.") < said.index("AUC of each window")
    assert "What to do." not in Text(quality_lead(grouped(HOURS), [moved])).text


def test_a_narrow_screen_leaves_out_the_same_cells_as_titles_and_the_newest_window_is_first() -> None:
    lead = quality_lead(grouped(HOURS))
    (table,) = re.findall(r"<table>.*?</table>", lead)
    head, *rows = re.findall(r"<tr>(.*?)</tr>", table)
    spare = [i for i, cell in enumerate(re.findall(r"<th[^>]*>", head)) if "spare" in cell]
    assert 0 < len(spare) < 5
    for row in rows:
        assert [i for i, cell in enumerate(re.findall(r"<td[^>]*>", row)) if "spare" in cell] == spare
    assert [Text(row).text[:16].split()[-1] for row in rows][:2] == ["04:00", "03:00"]


def test_the_chart_has_a_point_for_each_window_with_labels() -> None:
    lead = quality_lead(grouped(HOURS))
    (points,) = re.findall(r'<polyline class="now" points="([^"]+)"', lead)
    assert len(points.split()) == len(HOURS)


def test_names_are_text_and_nothing_else() -> None:
    lead = quality_lead(grouped([record(hour, job="<script>alert(1)</script>") for hour in range(3)]))
    assert "script" not in Text(lead).tags
    assert "<script>alert(1)</script>" in Text(lead).text


def test_without_records_there_is_nothing() -> None:
    assert quality_lead([]) == ""
