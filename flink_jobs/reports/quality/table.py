"""Quality as a page of a terminal: how right the model is, window after window, then segments and groups.

print_report(Console(), grouped(records), last=14)
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flink_jobs.reports.quality.summary import (
    SHOWN,
    VersionQuality,
    Worry,
    headline,
    interval,
    label,
    number,
    spread,
)
from flink_jobs.reports.text import day, percent
from flink_jobs.system.terminal import plain
from udfs.quality.records import GroupsReport, Metric, QualityRecord

STYLE: dict[Worry, str] = {"alarm": "bold red", "calm": "bold green", "unknown": "bold yellow"}


def print_report(console: Console, groups: Sequence[VersionQuality], last: int) -> None:
    """All versions, the newest first; of each the last windows."""
    for group in groups:
        worry, sentence = headline(group)
        console.print(Text(f"{plain(sentence)}.", STYLE[worry]))
        console.print()
        console.print(Text.assemble((plain(group.job), "bold"), _model(group)))
        console.print(_windows(group, last))
        if group.segments:
            _print_title(console, "Segments and groups, in the newest window that has labels")
            console.print(_segments(group))
        for report in _groups(group):
            _print_title(console, f"Differences between values of {plain(report.column)}")
            console.print(_disparities(report))
        console.print()


def _model(group: VersionQuality) -> str:
    return plain(f", model {group.model} version {group.version}, {group.kind}")


def _windows(group: VersionQuality, last: int) -> Table:
    """Fits 80 columns."""
    main, *others = SHOWN[group.kind]
    estimates = any(main in r.estimated for r in group.total)
    others = others[:1] if estimates else others
    added = ("estimated", "gap") if estimates else ()
    table = _table("window", "records", "labels", label(main), *map(label, others), *added)
    for record in group.total[-last:]:
        begins = day(record.window.start) + " (part)" * record.partial
        row = [begins, f"{record.records:,}", _coverage(record)]
        row += [spread(record.realized.get(main)), *(_value(record.realized.get(name)) for name in others)]
        if estimates:
            row += [_value(record.estimated.get(main)), _gap(record)]
        style = "red" if record.gap and record.gap.changed else ""
        table.add_row(*(Text(plain(cell), style) for cell in row))
    return table


def _value(metric: Metric | None) -> str:
    return "" if metric is None or metric.value is None else number(metric.value)


def _coverage(record: QualityRecord) -> str:
    if record.labels is None:
        return "none"
    return f"{percent(record.labels.coverage)}{'' if record.final else ' …'}"


def _gap(record: QualityRecord) -> str:
    gap = record.gap
    return "" if gap is None else f"{gap.part:+.1%}{'!' if gap.changed else ''}"


def _segments(group: VersionQuality) -> Table:
    shown = SHOWN[group.kind]
    labelled = [r.window.start for r in group.segments if r.realized] or [group.segments[-1].window.start]
    table = _table("segment", "records", "labels", *map(label, shown))
    for record in group.segments:
        if record.window.start == labelled[-1] and record.segment:
            name = f"{record.segment.column}={record.segment.value}"
            row = [name, f"{record.records:,}", _coverage(record)]
            row += [spread(record.realized.get(each)) for each in shown]
            table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _groups(group: VersionQuality) -> Sequence[GroupsReport]:
    found = [r.groups for r in group.total if any(each.disparities for each in r.groups)]
    return found[-1] if found else ()


def _disparities(report: GroupsReport) -> Table:
    table = _table("rate", "difference", "ratio", "lowest", "highest")
    for each in report.disparities:
        cells = (
            label(each.measure),
            interval(each.difference),
            interval(each.ratio),
            str(each.lowest),
            str(each.highest),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _print_title(console: Console, title: str) -> None:
    console.print("", Text(title, "bold"), sep="\n")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name == "records" else "left", no_wrap=name == "window")
    return table
