"""`tailrace drift`: what the drift topic says, as a table, a page, a Parquet file or JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from flink_jobs.cli.connection import Brokers, Job, kafka_settings
from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings
from flink_jobs.reports.drift.arrow import write_parquet
from flink_jobs.reports.drift.page import render
from flink_jobs.reports.drift.reader import DriftHistory, alerts_topic, read
from flink_jobs.reports.drift.series import grouped
from flink_jobs.reports.drift.table import print_report
from flink_jobs.reports.quality.reader import beside as quality_topic
from flink_jobs.reports.quality.reader import read as read_quality
from flink_jobs.reports.quality.summary import VersionQuality, of_segment
from flink_jobs.reports.quality.summary import grouped as versions_of
from flink_jobs.system.terminal import json_line, open_console, plain
from udfs.alerts.records import AlertRecord
from udfs.drift.records import DriftRecord, encode
from udfs.times import iso, now_ms


def drift(
    source: Annotated[
        str,
        typer.Argument(metavar="DRIFT", help="Drift topic, or a file of its records (JSON lines, Parquet)."),
    ],
    alerts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE_OR_TOPIC",
            help="Alert records. Default: topic NAME.alerts beside a topic NAME.drift.",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="FILE_OR_TOPIC",
            help="Quality records, told of first. Default: NAME.quality beside a topic NAME.drift.",
            show_default=False,
        ),
    ] = None,
    segment: Annotated[
        str | None, typer.Option(help="Only the segment of this value.", show_default=False)
    ] = None,
    column: Annotated[str | None, typer.Option(help="Only this column.", show_default=False)] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write one page for a browser.", show_default=False)
    ] = None,
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write a row per window and column.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON lines.")] = False,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Show what changed in the data, since when, and whether to worry.

    [bold]Examples[/]

      tailrace drift flight-delay.drift

      tailrace drift flight-delay.drift --html drift.html

      tailrace drift drift.jsonl --alerts alerts.jsonl --segment EWR
    """
    found = _read(source, alerts, brokers, job)
    records = _chosen(found.drift, segment, column, source)
    firing = _matching(found.alerts, segment, column)
    if parquet:
        write_parquet(records, parquet)
        print(f"wrote {parquet}", file=sys.stderr)
    if html:
        versions = _quality(source, quality, segment, kafka_settings(brokers, job))
        _write_page(html, records, firing, versions)
        print(f"wrote {html}", file=sys.stderr)
    if as_json:
        _print_lines(records, firing)
    elif not (html or parquet):
        versions = _quality(source, quality, segment, kafka_settings(brokers, job))
        print_report(open_console(), grouped(records), firing, versions)


def _read(source: str, alerts: str | None, brokers: str | None, job: Path | None) -> DriftHistory:
    settings = kafka_settings(brokers, job)
    found = read(source, settings)
    if not found.drift:
        raise InputError(f"{source} must hold drift records; got none (are the windows still open?)")
    beside = alerts or alerts_topic(source, settings)
    if beside:
        found.alerts += read(beside, settings).alerts
    return found


def _chosen(
    records: list[DriftRecord], segment: str | None, column: str | None, source: str
) -> list[DriftRecord]:
    """The records asked for, with the columns asked for; their own verdict when it is one column."""
    if segment is not None:
        values = {r.segment.value for r in records if r.segment}
        records = [r for r in records if r.segment and r.segment.value == segment]
        if not records:
            raise InputError(f"--segment must be a segment of {source}; got {segment!r}{_known(values)}")
    if column is None:
        return records
    names = {each.name for r in records for each in r.columns}
    if column not in names:
        raise InputError(f"--column must be a column of {source}; got {plain(column)!r}{_known(names)}")
    only = [(r, tuple(each for each in r.columns if each.name == column)) for r in records]
    return [
        msgspec.structs.replace(
            r,
            columns=kept,
            joint=None,
            verdict=kept[0].verdict,
            drifted=tuple(each.name for each in kept if each.verdict == "drift"),
        )
        for r, kept in only
        if kept
    ]


def _known(names: set[str] | set[str | None]) -> str:
    shown = sorted(str(name) for name in names)[:10]
    return f"; there are {', '.join(shown)}{' …' if len(names) > 10 else ''}" if shown else "; there are none"


def _matching(alerts: list[AlertRecord], segment: str | None, column: str | None) -> list[AlertRecord]:
    if segment is not None:
        alerts = [alert for alert in alerts if alert.segment and alert.segment.value == segment]
    return [alert for alert in alerts if column is None or alert.column == column]


def _quality(
    source: str, quality: str | None, segment: str | None, settings: ClientSettings
) -> list[VersionQuality]:
    """How right the model is, of all records or of the segment."""
    topic = quality or quality_topic(source, settings)
    if topic is None:
        return []
    found = read_quality(topic, settings)
    if segment is not None:
        found = of_segment(found, segment)
    return versions_of(found)


def _write_page(
    path: Path, records: list[DriftRecord], alerts: list[AlertRecord], quality: list[VersionQuality]
) -> None:
    try:
        path.write_text(render(grouped(records), alerts, quality, iso(now_ms())), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _print_lines(records: list[DriftRecord], alerts: list[AlertRecord]) -> None:
    lines: list[DriftRecord | AlertRecord] = [*records, *alerts]
    for record in lines:
        print(json_line(encode(record).decode()))
