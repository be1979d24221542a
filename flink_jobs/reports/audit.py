"""The releases of a model for an auditor: who, what, when, why, signed by whom, and whether it is true.

audit(releases, "fraud")["verified"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from flink_jobs.registry.releases import Releases
from flink_jobs.reports.releases import describe_release
from flink_jobs.system.terminal import plain
from udfs.ed25519 import shown_key
from udfs.errors import ModelError
from udfs.releases.chain import Chain, Entry
from udfs.releases.log import ReleaseRecord, decode_release

SCHEMA = "tailrace.audit/1"


def audit(releases: Releases, model: str) -> dict[str, Any]:
    """All entries of the log, the oldest first, and up to which one it is what is demanded of it."""
    entries, chain = releases.entries(), releases.chain()
    head = chain.heads[-1] if chain.heads else None
    return {
        "schema": SCHEMA,
        "model": model,
        "verified": chain.problem is None,
        "problem": chain.problem,
        "head": msgspec.to_builtins(head),
        "releases": [_row(entry, chain) for entry in entries],
    }


def audit_tables(found: dict[str, Any]) -> Iterator[Table | Text]:
    """The same for a person. Fits 80 columns where names are short."""
    table = Table(box=None, pad_edge=False)
    for column in ("release", "written", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("what", "by", "signed by", "why"):
        table.add_column(column, overflow="fold")
    for row in found["releases"]:
        cells = (row["number"], row["written_at"], row["state"], row["what"])
        who = (row["by"], row["signed_by"] or "nobody", row["reason"])
        table.add_row(*(Text(plain(str(cell or ""))) for cell in (*cells, *who)))
    yield table
    head = found["head"]
    if head:
        yield Text(f"true up to release {head['number']}, {head['sha256']}")
    if found["problem"]:
        yield Text(f"not followed beyond: {plain(found['problem'])}", style="bold red")


def _row(entry: Entry, chain: Chain) -> dict[str, Any]:
    place = entry.number - 1
    true = place < len(chain.records) and chain.records[place].number == entry.number
    record = chain.records[place] if true else _claimed(entry)
    key = record.key if record and isinstance(record.key, str) else None
    return {
        "number": entry.number,
        "state": _state(record, chain) if true else "refused",
        "action": record.action if record else None,
        "what": describe_release(record) if record else "unreadable",
        "from": record.at if record else None,
        "written_at": record.written_at if record else None,
        "by": record.by if record else None,
        "reason": record.reason if record else None,
        "key": key,
        "signed_by": shown_key(key) if key else None,
        "approves": msgspec.to_builtins(record.approves) if record and record.action == "approve" else None,
        "digests": msgspec.to_builtins(record.digests, str_keys=True) if record else {},
        "sha256": chain.heads[place].sha256 if true else None,
    }


def _claimed(entry: Entry) -> ReleaseRecord | None:
    """What a refused entry says of itself."""
    try:
        return decode_release(entry.data or b"", entry.number)
    except ModelError:
        return None


def _state(record: ReleaseRecord | None, chain: Chain) -> str:
    assert record is not None
    if record.number not in chain.waiting:
        return "true"
    return "approval" if record.action == "approve" else "waiting"
