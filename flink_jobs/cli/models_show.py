"""How versions, checks and comparisons look at a terminal.

print_version(Console(), registry.manifest("flight_delay", 1), [], champion=True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flink_jobs.registry.verify import Check
from flink_jobs.system.terminal import literal
from udfs.model.manifest import Lineage, Manifest, digest


def champion_words(champion: bool, coming: str | None) -> str:
    """Whether a version is the champion now, or from which event time on it will be."""
    return "yes" if champion else f"from {coming}" if coming else ""


def print_version(
    console: Console,
    manifest: Manifest,
    signed_by: Sequence[str],
    champion: bool,
    coming: str | None = None,
) -> None:
    """All that a version says of itself; `coming` is the event time from which on it will be champion."""
    title = f"[bold]{literal(manifest.name)} version {manifest.version}[/]"
    console.print(title + (" (champion)" if champion else f" (champion from {coming})" if coming else ""))
    lineage = manifest.lineage or Lineage()
    about = {
        "digest": digest(manifest),
        "signed by": ", ".join(signed_by) or "nobody",
        "format": manifest.format,
        "created": manifest.created_at,
        "output": f"{manifest.signature.output.kind} {_listed(manifest.signature.output.classes)}".strip(),
        "parent": lineage.parent,
        "data": lineage.data,
        "code": lineage.code,
        "trusted types": _listed(manifest.trusted_types or ()) or None,
        "libraries": _listed(f"{name} {version}" for name, version in manifest.libraries.items()),
    }
    console.print(_pairs({key: value for key, value in about.items() if value is not None}))
    inputs = Table("input", "type", "null", "values")
    for item in manifest.signature.inputs:
        null = "yes" if item.nullable else "never"
        inputs.add_row(literal(item.name), item.type, null, _listed(item.values))
    console.print(inputs)
    for heading, values in (
        ("metrics", manifest.metrics),
        ("parameters", lineage.parameters),
        ("training", manifest.training),
    ):
        if values:
            console.print(f"[bold]{heading}[/]", _pairs(values), sep="\n")


def print_checks(console: Console, name: str, results: Mapping[int, Sequence[Check]]) -> None:
    """A line for each check."""
    for version, checks in results.items():
        console.print(f"[bold]{literal(name)} version {version}[/]")
        for check in checks:
            mark = {True: "[green]ok[/]", False: "[red]FAILED[/]", None: "skipped"}[check.passed]
            console.print(f"  {check.check}: {mark}  {literal(check.detail)}", soft_wrap=True)


def print_diff(console: Console, found: Mapping[str, Any]) -> None:
    """What differs, part by part."""
    a, b = (f"{found[side]['name']}/{found[side]['version']}" for side in "ab")
    for part in ("signature", "metrics", "parameters", "libraries"):
        if not found[part]:
            console.print(f"[bold]{part}[/]: the same")
            continue
        table = Table(part, literal(a), literal(b), title_justify="left")
        for key, (was, now) in found[part].items():
            table.add_row(literal(key), _shown(was), _shown(now))
        console.print(table)
    console.print(f"[bold]predictions[/]: {_agreement(found['predictions'])}")


def _agreement(found: Mapping[str, Any]) -> str:
    if not found["rows"]:
        return f"not compared, as {found['why']}"
    far = f"{found['mean_difference']:.3g} apart on average, {found['largest_difference']:.3g} at most"
    changed = f", {found['changed']} of them with another prediction" if "changed" in found else ""
    return f"on {found['rows']} golden rows {far}{changed}"


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(f"  {literal(key)}", _shown(value))
    return table


def _shown(value: object) -> str:
    return "" if value is None else literal(f"{value:.6g}" if isinstance(value, float) else str(value))


def _listed(values: Any) -> str:
    return literal(", ".join(map(str, values)))
