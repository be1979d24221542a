"""Drift and alert records out of a topic, a file of JSON lines or a Parquet file.

found = read_file(Path("drift.jsonl"))
found.drift[0].columns, found.alerts
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings, describe_topics, read_topic
from flink_jobs.reports.drift.arrow import read_parquet
from udfs.alerts.records import AlertRecord
from udfs.drift.records import DriftRecord

DRIFT = "tailrace.drift/1"
ALERT = "tailrace.alert/1"
_FILE_ENDINGS = {".jsonl", ".json", ".ndjson", ".parquet", ".txt", ".log"}


@dataclass
class DriftHistory:
    """The records of one or more sources, in the order in which they were read."""

    drift: list[DriftRecord] = field(default_factory=list)
    alerts: list[AlertRecord] = field(default_factory=list)

    def add(self, line: bytes, place: str) -> None:
        """Takes one record in; also as `tailrace read --json` shows it. Raises InputError naming `place`."""
        record = _decoded(line, place)
        if isinstance(record, DriftRecord):
            self.drift.append(record)
        else:
            self.alerts.append(record)


def read(source: str, settings: ClientSettings | None = None) -> DriftHistory:
    """Reads a file where there is one of that name, else the topic.

    Raises InputError when there is neither or a line is no record, WorkError when no broker answers.
    """
    path = Path(source)
    if path.is_file():
        return read_file(path)
    if settings is None or path.exists() or "/" in source or path.suffix in _FILE_ENDINGS:
        raise InputError(f"{source} must be a file of drift records; there is no such file")
    found = DriftHistory()
    for record in read_topic(settings, source):
        found.add(
            record.value or b"", f"topic {source}, partition {record.partition}, offset {record.offset}"
        )
    return found


def read_file(path: Path) -> DriftHistory:
    """Parquet when the name ends in `.parquet`, else JSON lines. Raises InputError with file and line."""
    if path.suffix == ".parquet":
        return DriftHistory(read_parquet(path))
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    found = DriftHistory()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found.add(line, f"{path}:{number}")
    return found


def alerts_topic(source: str, settings: ClientSettings) -> str | None:
    """The alert topic beside the drift topic `NAME.drift`: `NAME.alerts`, None where there is none."""
    if not source.endswith(".drift") or Path(source).is_file():
        return None
    name = source.removesuffix("drift") + "alerts"
    return name if describe_topics(settings, [name])[name] is not None else None


class _Envelope(msgspec.Struct):
    schema: str | None = None
    topic: str | None = None
    value: object = None


def _decoded(line: bytes, place: str) -> DriftRecord | AlertRecord:
    try:
        outer = msgspec.json.decode(line, type=_Envelope)
        if outer.schema is None and outer.topic is not None and isinstance(outer.value, str):
            line = outer.value.encode()
            outer = msgspec.json.decode(line, type=_Envelope)
        if outer.schema not in (DRIFT, ALERT):
            shown = repr(outer.schema) if outer.schema is not None else "none"
            raise InputError(f"{place}: schema must be {DRIFT!r} or {ALERT!r}; got {shown}")
        if outer.schema == DRIFT:
            record: DriftRecord | AlertRecord = msgspec.json.decode(line, type=DriftRecord)
        else:
            record = msgspec.json.decode(line, type=AlertRecord)
        _require_times((record.window.start, record.window.end))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"{place}: must be a drift or alert record; {error}") from error
    return record


def _require_times(times: Iterable[str]) -> None:
    for time in times:
        if datetime.fromisoformat(time).tzinfo is None:
            raise ValueError(f"window times must have a time zone; got {time!r}")
