"""What a person sees of drift: the reader, the table, the page, and `tailrace drift`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.reports.drift.arrow import SCHEMA, from_arrow, read_parquet, to_arrow, write_parquet
from flink_jobs.reports.drift.headline import headline
from flink_jobs.reports.drift.page import render
from flink_jobs.reports.drift.reader import read, read_file
from flink_jobs.reports.drift.series import grouped, open_alerts
from flink_jobs.reports.drift.summary import advice, periods, worst_recent
from flink_jobs.reports.drift.table import print_report, sparkline
from flink_jobs.reports.quality.summary import grouped as versions_of
from flink_jobs.reports.text import day, percent
from flink_jobs.system.terminal import plain
from tests.helpers.drift_records import alert_records, drift_records
from tests.helpers.quality_records import record as quality_record
from udfs.alerts.records import AlertRecord, Segment, WindowSpan
from udfs.drift.records import ColumnReport, DriftRecord, PairChange, SequentialReport, Volume, encode

RECORDS = drift_records(segments=("EWR", None))
ALERTS = alert_records(RECORDS)
SINCE = next(r.window.start[:10] for r in RECORDS if r.segment is None and r.verdict == "drift")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror='a()'>\"'&\x1b[31m\x00\u202e" + "long" * 300
NOT_FINITE = r"[\", >](nan|-?inf)\b"
runner = CliRunner()


def lines(records: Sequence[DriftRecord | AlertRecord]) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


def shown(records: Sequence[DriftRecord], alerts: Sequence[AlertRecord], width: int) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, force_terminal=False)
    print_report(console, grouped(records), alerts)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


class Page(HTMLParser):
    """All elements of a page with their attributes, and its text; fails on a tag that is not closed."""

    VOID = ("meta", "br")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def hostile(record: DriftRecord) -> DriftRecord:
    """The record with a hostile string in each place that a stream or a job file can fill."""
    swap = msgspec.structs.replace
    columns = tuple(
        swap(
            column,
            name=f"{column.name}{HOSTILE}",
            direction=HOSTILE,
            unseen_examples=(HOSTILE,),
            bins=swap(column.bins, labels=tuple(f"{label}{HOSTILE}" for label in column.bins.labels)),
            statistics={f"{name}{HOSTILE}": value for name, value in column.statistics.items()},
            quantiles={f"{name}{HOSTILE}": value for name, value in column.quantiles.items()},
        )
        for column in record.columns
    )
    joint = record.joint and swap(
        record.joint, pairs=tuple(swap(pair, first=HOSTILE, second=HOSTILE) for pair in record.joint.pairs)
    )
    return swap(
        record,
        job=HOSTILE,
        model=HOSTILE,
        columns=columns,
        joint=joint,
        segment=record.segment and Segment(HOSTILE, HOSTILE),
        problems=tuple(swap(p, stage=HOSTILE, reason=HOSTILE, field=HOSTILE) for p in record.problems),
    )


def with_verdict(record: DriftRecord, verdict: str) -> DriftRecord:
    columns = tuple(msgspec.structs.replace(column, verdict=verdict) for column in record.columns)
    return msgspec.structs.replace(record, columns=columns, verdict=verdict, joint=None)


# Reading


def test_a_file_of_lines_gives_back_drift_and_alert_records(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    path.write_bytes(lines(RECORDS) + b"\n" + lines(ALERTS))
    found = read_file(path)
    assert (found.drift, found.alerts) == (RECORDS, ALERTS)


def test_what_tailrace_read_prints_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "read.jsonl"
    value = encode(RECORDS[0]).decode()
    path.write_bytes(msgspec.json.encode({"topic": "f.drift", "partition": 0, "key": None, "value": value}))
    assert read_file(path).drift == [RECORDS[0]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "must be a drift or alert record"),
        (b"\xff\xfe", "must be a drift or alert record"),
        (b"[" * 100_000, "must be a drift or alert record"),
        (b"[1]", "must be a drift or alert record"),
        (b'{"a": 1}', "schema must be 'tailrace.drift/1' or 'tailrace.alert/1'; got none"),
        (b'{"schema": "tailrace.drift/9"}', "got 'tailrace.drift/9'"),
        (b'{"schema": "tailrace.drift/1"}', "missing required field"),
        (encode(RECORDS[0]).replace(b"2013-07-01T00:00:00.000Z", b"yesterday"), "yesterday"),
        (encode(RECORDS[0]).replace(b"2013-07-01T00:00:00.000Z", b"2013-07-01T00:00"), "time zone"),
    ],
)
def test_another_line_is_an_error_with_file_and_line(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(lines(RECORDS[:2]) + line + b"\n")
    with pytest.raises(InputError, match=re.escape(f"{path}:3: ")) as error:
        read_file(path)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet", "folder/none", "."])
def test_a_name_that_can_only_be_a_file_must_be_one(name: str) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read(name)


def test_parquet_gives_back_the_same_records(tmp_path: Path) -> None:
    bare = msgspec.structs.replace(RECORDS[1], columns=(), joint=None, drifted=())
    charts = (
        SequentialReport("score", 3.5, 8.0, "up", "2013-07-01T06:00:00.000Z", True),
        SequentialReport("dep_delay", 0.0, 8.0, None, None, False),
    )
    full = msgspec.structs.replace(
        RECORDS[0],
        reference="hour_of_week",
        partial=True,
        sequential=charts,
        records=Volume(500, 1, 0, 20, 4),
    )
    records = [*RECORDS, bare, bare, RECORDS[0], RECORDS[0], full]
    path = tmp_path / "drift.parquet"
    write_parquet(records, path)
    assert read_parquet(path) == records
    assert read(str(path)).drift == records


def test_parquet_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "drift.parquet"
    table = to_arrow(RECORDS).drop_columns(["reference", "partial", "sequential", "key_sample"])
    place, joints = table.column_names.index("joint"), table["joint"].to_pylist()
    for joint in joints:
        del joint["test"]
        for pair in joint["pairs"]:
            del pair["cell"]
    pq.write_table(table.set_column(place, "joint", pa.array(joints)), path)
    assert read_parquet(path) == RECORDS


def test_parquet_holds_each_field_of_a_record() -> None:
    renamed = {"schema", "window", "segment", "records", "columns"}
    fields = {f.name for kind in (DriftRecord, Volume, ColumnReport) for f in msgspec.structs.fields(kind)}
    assert fields - renamed <= set(SCHEMA.names)
    pairs = SCHEMA.field("joint").type.field("pairs").type.value_type
    assert [field.name for field in pairs] == list(PairChange.__struct_fields__)
    charts = SCHEMA.field("sequential").type.value_type
    assert [field.name for field in charts] == list(SequentialReport.__struct_fields__)


def test_the_arrow_table_has_a_row_per_window_segment_and_column() -> None:
    table = to_arrow(RECORDS)
    assert table.num_rows == sum(len(record.columns) for record in RECORDS)
    row = table.slice(5, 1).to_pylist()[0]
    column = RECORDS[1].columns[0]
    assert (row["name"], row["effect"], row["segment_value"]) == (column.name, column.effect, "EWR")
    assert row["window_start"].isoformat() == "2013-07-01T00:00:00+00:00"
    assert from_arrow(table.slice(0, 0)) == []


def test_other_parquet_files_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"x\.parquet must be drift records in Parquet"):
        read_file(path)
    with pytest.raises(InputError, match="cannot be written"):
        write_parquet(RECORDS, tmp_path / "none" / "x.parquet")


# What it means


def test_the_headline_says_since_when_and_what() -> None:
    [group] = grouped(RECORDS)
    judged = headline(group, open_alerts(ALERTS))
    assert judged.worry == "watch"
    assert judged.sentence.startswith(f"Since {SINCE} score, dep_delay and carrier (3 of 5 columns")
    [last] = [r for r in RECORDS if r.segment is None][-1:]
    worst = max(last.columns, key=lambda column: column.effect)
    assert f"most of all {worst.name}: {worst.direction}" in judged.sentence
    assert judged.sentence.endswith("3 alerts are open.")


@pytest.mark.parametrize(
    ("verdicts", "worry", "said"),
    [
        (["ok", "ok"], "calm", "Nothing to worry about: no drift in 2 windows until 2013-07-15"),
        (["insufficient_data"] * 2, "unknown", "Nothing can be said: all 2 windows hold too few"),
        (["drift", "ok"], "calm", "like the reference again since 2013-07-08; 1 of 2 windows"),
        (["ok", "drift", "insufficient_data"], "watch", "Since 2013-07-08 "),
        (["drift", "ok", "insufficient_data"], "calm", "The last window holds too few records to tell"),
    ],
)
def test_the_headline_follows_the_last_windows(verdicts: list[str], worry: str, said: str) -> None:
    records = [with_verdict(r, v) for r, v in zip(drift_records(len(verdicts)), verdicts, strict=True)]
    judged = headline(grouped(records)[0], [])
    assert judged.worry == worry
    assert said in judged.sentence


def test_drift_of_the_joint_score_or_a_segment_alone_is_said() -> None:
    last = with_verdict(RECORDS[0], "ok")
    joint = msgspec.structs.replace(last, verdict="drift", joint=RECORDS[-3].joint)
    judged = headline(grouped([joint])[0], [])
    assert (judged.worry, "correlation of dep_delay and distance" in judged.sentence) == ("watch", True)
    judged = headline(grouped([last, with_verdict(RECORDS[1], "drift")])[0], [])
    assert judged.worry == "watch"
    assert judged.sentence.endswith("But among 1 segment origin = EWR drifted.")


def test_months_say_what_moved_the_most_important_first() -> None:
    [group] = grouped(RECORDS)
    found = {period.name: period for period in periods(group.total, ALERTS)}
    assert list(found) == [
        f"{month} 2013" for month in ("July", "August", "September", "October", "November", "December")
    ]
    assert (found["August 2013"].drifted, found["August 2013"].moved) == (0, ())
    last = found["December 2013"]
    assert (last.drifted, last.windows) == (3, 4)
    assert re.fullmatch(r"score: moved up \(\d\d%\)", last.moved[0])
    assert {text.split()[0] for text in last.moved} == {"score:", "dep_delay:", "carrier:"}


@pytest.mark.parametrize(
    ("hours", "names"), [(1, ["2013-07-01", "2013-07-01 01:00"]), (48, ["2013-07-01", "2013-07-03"])]
)
def test_shorter_streams_are_told_of_by_window_or_day(hours: int, names: list[str]) -> None:
    start = datetime(2013, 7, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hours * i) for i in range(20)]
    spans = [WindowSpan(time.isoformat(), (time + timedelta(hours=hours)).isoformat()) for time in times]
    [group] = grouped([msgspec.structs.replace(RECORDS[0], window=span) for span in spans])
    found = periods(group.total, [])
    assert len(found) == 12
    assert found[-1].name == day(spans[-1].start)
    assert [day(span.start) for span in spans[:2]] == names


def test_advice_names_what_to_look_at() -> None:
    [group] = grouped(RECORDS)
    told = " ".join(advice(group, open_alerts(ALERTS)))
    assert "if it is still right (tailrace backtest)" in told
    assert "Of the inputs dep_delay and carrier matter to the model." in told
    [last] = [r for r in RECORDS if r.segment is None][-1:]
    moved = msgspec.structs.replace(last.columns[0], null_rate=0.4, unseen_examples=("ZZ",))
    [group] = grouped([msgspec.structs.replace(last, columns=(moved,))])
    little = msgspec.structs.replace(ALERTS[1], column=moved.name, impact=0.001)
    told = " ".join(advice(group, [little]))
    assert f"Values of {moved.name} are missing more often" in told
    assert f"some values of {moved.name}, such as ZZ" in told
    assert f"{moved.name} moved too, but weighs little" in told
    assert advice(grouped([with_verdict(RECORDS[0], "ok")])[0], []) == ["Nothing."]
    assert "Wait for more" in advice(grouped([with_verdict(RECORDS[0], "insufficient_data")])[0], [])[0]


def test_open_alerts_are_ranked_by_impact_and_resolved_ones_gone() -> None:
    firing = open_alerts(ALERTS)
    assert {alert.column for alert in firing} == {"score", "dep_delay", "carrier"}
    assert [a.impact for a in firing] == sorted((a.impact for a in firing), reverse=True)


def test_of_a_window_that_is_there_twice_the_later_record_holds() -> None:
    early, final = (with_verdict(RECORDS[0], verdict) for verdict in ("drift", "ok"))
    [group] = grouped([early, final])
    assert group.total.windows == (final,)


def test_each_model_version_is_a_group_of_its_own_the_newest_first() -> None:
    newer = [msgspec.structs.replace(r, version=2) for r in RECORDS]
    assert [group.version for group in grouped([*RECORDS, *newer])] == [2, 1]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0%"), (0.0001, "<0.1%"), (0.0316, "3.2%"), (0.0999, "10%"), (1, "100%")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def drifting_by(sizes: Sequence[float]) -> list[DriftRecord]:
    """Windows of all records in each of which one input moved by so much."""
    found = []
    for size, record in zip(sizes, drift_records(len(sizes), {"dep_delay": "input"}), strict=True):
        column = msgspec.structs.replace(record.columns[0], effect=size, verdict="drift")
        found.append(msgspec.structs.replace(record, columns=(column,), verdict="drift", joint=None))
    return found


def test_drift_of_all_windows_is_one_sentence_with_what_to_do() -> None:
    """27 alarms about a season are none."""
    records = drifting_by([0.1] * 27)
    [group] = grouped(records)
    judged = headline(group, [])
    assert judged.worry == "note"
    assert judged.sentence.startswith("27 of 27 windows since 2013-07-01 differ from the reference")
    assert "another season" in judged.sentence
    assert "drift.seasonal" in " ".join(advice(group, []))
    broken = [*records[:-1], drifting_by([0.1] * 26 + [0.4])[-1]]
    [news] = grouped(broken)
    assert "drift.seasonal" not in " ".join(advice(news, []))
    [few] = grouped(records[:7])
    assert headline(few, []).sentence.startswith("Since 2013-07-01 dep_delay")


def test_the_worst_recent_windows_are_the_largest_and_recent() -> None:
    sizes = [0.9, *[0.1] * 13, 0.3, 0.2, *[0.1] * 10, 0.4]
    [group] = grouped(drifting_by(sizes))
    found = worst_recent(group.total)
    assert [bad.size for bad in found] == [0.4, 0.3, 0.2, 0.1, 0.1]
    assert found[0].window == group.total.windows[-1]
    assert found[0].moved[0].endswith("(40%)")
    assert worst_recent(grouped([with_verdict(RECORDS[0], "ok")])[0].total) == []


def test_worry_is_by_damage_and_not_by_how_many_things_moved() -> None:
    [group] = grouped(drifting_by([0.92]))
    inputs = open_alerts([alert for alert in ALERTS if alert.rule == "input-drift"])
    assert headline(group, inputs).worry == "note"
    fall = msgspec.structs.replace(
        inputs[0], id="realized-quality/1", severity="critical", damage="realized", column=None, impact=0.1,
        message="AUC 0.81, by 500 labels, is worse than the 0.88 to 0.92 of 9 windows before",
    )  # fmt: skip
    firing = open_alerts([*inputs, fall])
    judged = headline(group, firing)
    assert (firing[0], judged.worry) == (fall, "alarm")
    assert "AUC 0.81" in judged.sentence.split(";")[0]
    [told] = advice(group, firing)
    assert told.startswith("Quality is worse than expected. If it began with a release")


def test_an_alert_that_was_updated_is_open_with_what_was_said_last() -> None:
    fired = next(alert for alert in ALERTS if alert.column == "score")
    later = msgspec.structs.replace(
        fired, state="updated", message="score moved down", at="2014-01-02T00:00:00.000Z"
    )
    over = msgspec.structs.replace(later, state="resolved", at="2014-01-03T00:00:00.000Z")
    assert open_alerts([later, fired]) == [later]
    assert open_alerts([later, over, fired]) == []


# The table


def test_a_sparkline_has_a_sign_per_window_or_the_largest_of_a_few() -> None:
    assert sparkline([0.0, 0.5, None, 1.0], 10, 1.0) == "▁▅·█"
    assert sparkline([0.0, 1.0, None, None, None, 0.2], 3, 1.0) == "█·▂"
    assert sparkline([], 3, 1.0) == ""


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_no_verdict_is_cut(width: int) -> None:
    text = shown(RECORDS, ALERTS, width)
    rows = text.splitlines()
    assert max(map(len, rows)) <= width
    assert rows[0] == "flight-delay, model flight_delay version 1"
    volumes = [r.records for r in RECORDS if r.segment is None]
    dead, late = sum(v.dead for v in volumes), sum(v.late for v in volumes)
    assert re.search(rf"predicted, {dead} dead \(0\.2%\), +{late} late \(0\.1%\)", " ".join(rows[1:3]))
    assert text.index(" late (") < text.index(f"Since {SINCE} score, dep_delay and carrier")
    assert text.index(f"Since {SINCE}") < text.index("Worst recent") < text.index("What moved")
    table = {row.split()[0]: row.split()[2] for row in rows if re.match(r"\S+ +[▁-█·]+ ", row)}
    assert table == {
        "score": "drift",
        "dep_delay": "drift",
        "carrier": "drift",
        "distance": "ok",
        "mean_delay": "ok",
    }
    few = shown(RECORDS[: 3 * 6], [], width)
    assert len(re.findall(r"[▁-█·] +too few +0/6 ", few)) == 5
    assert "…" not in text


def test_nothing_hostile_reaches_the_terminal() -> None:
    alerts = [msgspec.structs.replace(alert, job=HOSTILE, model=HOSTILE, message=HOSTILE) for alert in ALERTS]
    text = shown([hostile(record) for record in RECORDS], alerts, 80)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert max(map(len, text.splitlines())) <= 80


def test_without_any_window_both_say_so() -> None:
    assert shown([], [], 80) == "No window is complete yet.\n"
    assert "No window is complete yet." in Page(render([], [])).text


# The page


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    source = render(grouped(RECORDS), ALERTS)
    page = Page(source)
    text = " ".join("".join(page.text).split())
    assert f"Look into it. Since {SINCE} score, dep_delay and carrier" in text
    assert "What to do. The model's output moved." in text
    assert re.search(r"December 2013 ?3 of 4 ?score: moved up \(", text)
    assert "url(#hatch)" in source
    assert not re.search(r"https?:|@import|url\((?!#hatch)", source)
    assert not [tag for tag, attributes in page.tags if {"src", "xlink:href"} & set(attributes)]
    places = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert len(places) >= 5
    assert all(place.startswith("#") and place[1:] in ids for place in places)
    drifting = sum(c.verdict == "drift" for r in RECORDS if r.segment is None for c in r.columns)
    heat = source[source.index('class="heat"') : source.index("</svg>", source.index('class="heat"'))]
    assert len(re.findall(r'class="h\d d"', heat)) == drifting
    assert heat.count('class="few"') == 3 * 5
    assert not re.search(NOT_FINITE, source)


def test_accounts_come_first_then_quality_then_drift_and_what_to_look_at() -> None:
    quality = versions_of([quality_record(hour, job="flight-delay") for hour in range(4)])
    text = " ".join("".join(Page(render(grouped(RECORDS), ALERTS, quality)).text).split())
    places = [
        text.index(part)
        for part in (
            "records predicted", "quality of model", "Look into it.", "Worst recent windows",
            "Open alertsseverity", "What changed, and whenEach",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_on_a_phone_each_cell_has_its_title() -> None:
    """A table of six columns is one syllable wide there; without titles its cells would say nothing."""
    source = render(grouped(RECORDS), ALERTS)
    stacked = source.split('<div class="stack">')[1:]
    assert len(stacked) >= 4
    for table in stacked:
        cells = re.findall(r"<td[^>]*>", table[: table.index("</table>")])
        assert cells
        assert all('data-title="' in cell for cell in cells)
    assert "@media(max-width:640px)" in source


def test_hostile_text_adds_no_element_and_no_attribute() -> None:
    alerts = [
        msgspec.structs.replace(
            alert,
            job=HOSTILE,
            model=HOSTILE,
            message=HOSTILE,
            segment=Segment(HOSTILE, None),
            examples=(HOSTILE,),
        )
        for alert in ALERTS
    ]
    source = render(grouped([hostile(record) for record in RECORDS]), alerts)
    page = Page(source)
    assert page.count("script") == 1
    assert page.count("img") == 0
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert all(c.isprintable() or c == "\n" for c in source)
    assert plain(HOSTILE) in "".join(page.text)


def test_values_at_the_ends_of_floating_point_still_draw() -> None:
    def extreme(column: ColumnReport, sign: int) -> ColumnReport:
        mean = sign * 1.7e308
        return msgspec.structs.replace(
            column, mean=mean, reference_mean=0.0, quantiles={"p05": mean, "p95": mean}, null_rate=1.0
        )

    records = [
        msgspec.structs.replace(r, columns=tuple(extreme(c, (-1) ** place) for c in r.columns))
        for place, r in enumerate(drift_records(3))
    ]
    for count in (1, 3):
        source = render(grouped(records[:count]), [])
        assert not re.search(NOT_FINITE, source)
        Page(source)


def test_two_hundred_columns_and_a_hundred_windows_stay_below_10_mb() -> None:
    [record] = drift_records(1, {f"column_{place}": "input" for place in range(200)})
    records = [
        msgspec.structs.replace(
            record,
            window=WindowSpan(f"20{place:02}-01-01T00:00:00.000Z", f"20{place:02}-01-02T00:00:00.000Z"),
        )
        for place in range(100)
    ]
    assert 200 * 100 * 50 < len(render(grouped(records), []).encode()) < 10_000_000


def test_the_page_is_the_same_whatever_the_order_of_the_records() -> None:
    assert render(grouped(RECORDS), ALERTS) == render(grouped(RECORDS[::-1]), ALERTS)


# The command


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, records in (("drift.jsonl", RECORDS), ("alerts.jsonl", ALERTS)):
        (tmp_path / name).write_bytes(lines(records))
    return str(tmp_path / "drift.jsonl"), str(tmp_path / "alerts.jsonl")


def test_the_command_prints_the_table_and_writes_page_and_parquet(
    files: tuple[str, str], tmp_path: Path
) -> None:
    drift, alerts = files
    result = runner.invoke(app, ["drift", drift, "--alerts", alerts])
    assert result.exit_code == 0
    assert result.output.startswith("flight-delay, model flight_delay version 1")
    assert f"Since {SINCE} score" in result.output
    page, table = tmp_path / "page.html", tmp_path / "table.parquet"
    options = ["--alerts", alerts, "--html", str(page), "--parquet", str(table)]
    result = runner.invoke(app, ["drift", drift, *options])
    assert result.exit_code == 0
    written = page.read_text(encoding="utf-8")
    [made] = re.findall(r"; page made (\d{4}-\d\d-\d\d \d\d:\d\d)\. All times are UTC", written)
    age = datetime.now(UTC) - datetime.fromisoformat(f"{made}+00:00")
    assert timedelta(0) <= age < timedelta(minutes=10)
    assert written == render(grouped(RECORDS), ALERTS, made=made)
    assert read_parquet(table) == RECORDS


def test_segment_column_and_json(files: tuple[str, str]) -> None:
    result = runner.invoke(app, ["drift", files[0], "--segment", "EWR", "--column", "score", "--json"])
    found = [msgspec.json.decode(line, type=DriftRecord) for line in result.output.splitlines()]
    assert {(r.segment.value if r.segment else None) for r in found} == {"EWR"}
    assert len(found) == 26
    assert all([column.name for column in r.columns] == ["score"] for r in found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--segment", "LGA"], "--segment must be a segment of .*; got 'LGA'; there are EWR"),
        (["--column", "scor"], "--column must be a column of .*; got 'scor'; there are carrier, dep_delay"),
        (["--html", "none/x.html"], "none/x.html cannot be written"),
        (["--alerts", "none.jsonl"], "none.jsonl must be a file"),
    ],
)
def test_wrong_options_are_errors(files: tuple[str, str], options: list[str], said: str) -> None:
    result = runner.invoke(app, ["drift", files[0], *options])
    assert isinstance(result.exception, InputError)
    assert re.search(said, str(result.exception))


def test_a_file_without_drift_records_is_an_error(files: tuple[str, str]) -> None:
    result = runner.invoke(app, ["drift", files[1]])
    assert isinstance(result.exception, InputError)
    assert "must hold drift records; got none" in str(result.exception)
