"""Quality records out of a topic or a file of JSON lines: of each window the newest revision.

found = read("flight-delay.quality", settings)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings, describe_topics, read_topic
from udfs.quality.records import QualityRecord

SCHEMA = "tailrace.quality/1"


class _Envelope(msgspec.Struct):
    schema: str | None = None
    topic: str | None = None
    value: object = None


def read(source: str, settings: ClientSettings) -> list[QualityRecord]:
    """Reads a file where there is one of that name, else the topic.

    Raises InputError where neither is there or a line is no such record, WorkError when no broker answers.
    """
    path = Path(source)
    lines = _of_file(path) if path.is_file() else _of_topic(source, settings)
    return newest(_decoded(line, place) for line, place in lines if line.strip())


def beside(drift: str, settings: ClientSettings) -> str | None:
    """The quality topic beside the drift topic `NAME.drift`: `NAME.quality`, None where there is none."""
    if not drift.endswith(".drift") or Path(drift).is_file():
        return None
    name = drift.removesuffix("drift") + "quality"
    return name if describe_topics(settings, [name])[name] is not None else None


def newest(records: Iterable[QualityRecord]) -> list[QualityRecord]:
    """Of each window, segment and version the newest revision, in the order of windows."""
    found: dict[tuple[str, str, int, str, str], QualityRecord] = {}
    for record in records:
        segment = (record.segment.column, record.segment.value or "") if record.segment else ("", "")
        key = (record.job, record.window.start, record.version, *segment)
        if key not in found or found[key].revision <= record.revision:
            found[key] = record
    return [record for _, record in sorted(found.items(), key=lambda item: item[0])]


def _of_file(path: Path) -> Iterator[tuple[bytes, str]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        yield line, f"{path}:{number}"


def _of_topic(topic: str, settings: ClientSettings) -> Iterator[tuple[bytes, str]]:
    for row in read_topic(settings, topic):
        yield row.value or b"{}", f"topic {topic}, partition {row.partition}, offset {row.offset}"


def _decoded(line: bytes, place: str) -> QualityRecord:
    """Also as `tailrace read --json` shows it."""
    try:
        outer = msgspec.json.decode(line, type=_Envelope)
        if outer.schema is None and outer.topic is not None and isinstance(outer.value, str):
            line = outer.value.encode()
            outer = msgspec.json.decode(line, type=_Envelope)
        if outer.schema != SCHEMA:
            shown = repr(outer.schema) if outer.schema is not None else "none"
            raise InputError(f"{place}: schema must be {SCHEMA!r}; got {shown}")
        return msgspec.json.decode(line, type=QualityRecord)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"{place}: must be a quality record; {error}") from error
