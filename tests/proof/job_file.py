"""How the job files of the proof begin, and how they become files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

PAYMENTS = {"id": "long", "card": "string", "shop": "string", "amount": "double", "fee": "double"}


def head(name: str, out_of_order: str, fields: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The job's name, its brokers, which come later, and its source; all but the `others` must be there."""
    contract = "".join(f"    {each}: {{type: {PAYMENTS[each]}, required: true}}\n" for each in fields)
    contract += "".join(f"    {each}: {kind}\n" for each, kind in (others or {}).items())
    return (
        f'job: {name}\nkafka: {{brokers: "BROKERS"}}\nsource:\n  topic: {name}\n'
        f"  event_time: {{out_of_order: {out_of_order}}}\n  schema:\n{contract}"
    )


def write_job(file: Path, text: str, brokers: str, edits: Iterable[tuple[str, str]]) -> Path:
    """The file with what is to be replaced, all of which must be there."""
    text = text.replace("BROKERS", brokers)
    for before, after in edits:
        if before not in text:
            raise ValueError(f"{before!r} must be in the job file")
        text = text.replace(before, after)
    file.write_text(text)
    return file
