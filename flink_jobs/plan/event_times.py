"""Tells the event times of a source's records as the job does, for those who look at topics from outside.

times = EventTimes(job)
times.of(records)                 # ms since 1970 of each, AT_ONCE where a record has none
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from flink_jobs.plan.params import source_params
from flink_jobs.plan.personal import only_records
from flink_jobs.plan.tables import event_time_field
from flink_jobs.spec import JobSpec
from udfs.records.event_time import EventTimeField, milliseconds
from udfs.scoring.checker import RecordChecker
from udfs.scoring.params import SourceParams

# What has no usable event time is a dead letter at once, as if its time had long passed.
AT_ONCE = 0


class Written(Protocol):
    """A record as it was read; `timestamp` in ms since 1970."""

    @property
    def value(self) -> bytes | None: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...

    @property
    def timestamp(self) -> int: ...


class EventTimes:
    """By the job's own decoder, where a field has them. Raises InputError for schema files that are gone."""

    def __init__(self, job: JobSpec) -> None:
        self._where = event_time_field(job)
        self._max_ahead = job.source.event_time.max_ahead
        self._decoder: _Decoder | None = None  # of others no schema is needed
        if self._where and not self._where.header:
            self._decoder = _Decoder(source_params(job, only_records(job)), self._where)

    def of(self, records: Sequence[Written]) -> list[int]:
        """The event time of each, in ms since 1970."""
        if (where := self._where) is None:
            return [record.timestamp for record in records]
        if self._decoder:
            written = self._decoder.values(records)
        else:
            written = [dict(record.headers).get(where.name) for record in records]
        return [self._in_ms(value, where, record) for value, record in zip(written, records, strict=True)]

    def _in_ms(self, written: object, where: EventTimeField, record: Written) -> int:
        ms = milliseconds(written, where.unit)
        return AT_ONCE if ms is None or ms > record.timestamp + self._max_ahead else ms


class _Decoder:
    """Reads one field of records."""

    def __init__(self, params: SourceParams, where: EventTimeField) -> None:
        self._params, self._name, self._checker = params, where.name, RecordChecker(params)

    def values(self, records: Sequence[Written]) -> list[object]:
        """What records that are valid have there; others have nothing."""
        beside = list(beside_values(self._params, records))
        decoded = self._checker.decode([record.value for record in records], beside)
        found: list[object] = [None] * len(records)
        values = decoded.table.column(self._name).to_pylist()
        for row, value in zip(decoded.rows.tolist(), values, strict=True):
            found[row] = value
        return found


def beside_values(params: SourceParams, records: Sequence[Written]) -> Iterator[list[bytes | None]]:
    """Of each part that workers are given beside values, that of each record."""
    for header in params.parts:
        yield [record.key if header is None else dict(record.headers).get(header) for record in records]
