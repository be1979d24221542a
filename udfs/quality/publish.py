"""Decides when a window is published, and what its records say then.

A window is published when it closes, anew when labels came, and a last time when none can come any more. Each
time it says all that is known up to a moment of event time, so that a replay says the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from udfs.alerts.records import Closed, Segment, WindowSpan
from udfs.quality.counts import (
    Key,
    Labelled,
    LabelsKey,
    Predicted,
    QualityReport,
    decode_report,
    encode_report,
)
from udfs.quality.estimated import estimated, gap_of
from udfs.quality.expected import ExpectedOf
from udfs.quality.fairness import groups_of
from udfs.quality.params import QualityParams, final_at
from udfs.quality.realized import classes_of, curve_of, delay_quantile, realized
from udfs.quality.records import GroupsReport, LabelState, QualityRecord
from udfs.times import iso


class OpenWindow(msgspec.Struct, frozen=True):
    """A window that is not final. `known` holds what was published, `waiting` what came before its records.

    `until` is the time up to which labels were published, `ended` whether none can come.
    """

    known: bytes = b""
    waiting: bytes = b""
    closed: Closed = "watermark"
    published: int = 0
    until: int | None = None
    ended: bool = False


class Publisher:
    """Each method takes a window as it was and gives the records to write; `after` is then how it is."""

    def __init__(self, params: QualityParams, expected_of: ExpectedOf | None = None) -> None:
        self._params = params
        self._expected_of = expected_of or ExpectedOf(params)
        self.after: OpenWindow | None = None

    def counted(
        self, start: int, window: OpenWindow | None, counts: QualityReport, closed: Closed
    ) -> Iterator[QualityRecord]:
        """All predicted records of a window, or more of them after it was closed for silence."""
        window = window or OpenWindow()
        known = _report(window.known)
        known.add(counts)
        waiting = _report(window.waiting)
        window = msgspec.structs.replace(window, known=encode_report(known), waiting=b"", closed=closed)
        # Without labels nothing follows.
        yield from self._publish(start, window, known, final=self._params.labels is None)
        for until in sorted({key.until for key in waiting.labelled}):
            yield from self._more(start, self.after, _until(waiting, until), until)
        if window.ended and self._params.labels:
            final = final_at(start, self._params.count, self._params.labels)
            yield from self._more(start, self.after, QualityReport(), final)

    def labelled(
        self, start: int, window: OpenWindow | None, labels: QualityReport, until: int
    ) -> Iterator[QualityRecord]:
        """Labels that came before `until`. They wait for the records that they are about."""
        window = window or OpenWindow()
        if window.published:
            yield from self._more(start, window, labels, until)
        else:
            waiting = _report(window.waiting)
            waiting.add(labels)
            ended = window.ended or self._is_final(start, until)
            self.after = msgspec.structs.replace(window, waiting=encode_report(waiting), ended=ended)

    def _is_final(self, start: int, until: int) -> bool:
        waits = self._params.labels
        return waits is not None and final_at(start, self._params.count, waits) <= until

    def _more(
        self, start: int, window: OpenWindow | None, labels: QualityReport, until: int
    ) -> Iterator[QualityRecord]:
        if window is None:
            return
        known = _report(window.known)
        for key, counts in labels.labelled.items():
            known.add_labelled(LabelsKey(0, key.key), counts)
        window = msgspec.structs.replace(window, known=encode_report(known), until=until)
        yield from self._publish(start, window, known, final=self._is_final(start, until))

    def _publish(
        self, start: int, window: OpenWindow, known: QualityReport, *, final: bool
    ) -> Iterator[QualityRecord]:
        self.after = None if final else msgspec.structs.replace(window, published=window.published + 1)
        for key in known.predicted:
            yield self._record(start, window, known, key, final=final)

    def _record(
        self, start: int, window: OpenWindow, known: QualityReport, key: Key, *, final: bool
    ) -> QualityRecord:
        params, (_, version, column, value) = self._params, key
        predicted, expected = known.predicted[key], self._expected_of(version)
        labelled = known.labelled.get(LabelsKey(0, key), Labelled(predicted.kind))
        return QualityRecord(
            job=params.job,
            model=params.model,
            version=version,
            kind=predicted.kind,
            window=WindowSpan(iso(start), iso(start + params.count.window_ms), window.closed),
            segment=Segment(column, value) if column is not None else None,
            revision=window.published,
            final=final,
            records=predicted.rows,
            labels=_label_state(predicted, labelled, window.until) if params.labels else None,
            estimated=estimated(predicted, expected),
            realized=realized(labelled, params.quantile),
            gap=gap_of(labelled, params.gap, expected),
            curve=curve_of(labelled) if predicted.kind == "binary" else (),
            classes=classes_of(labelled),
            groups=self._groups(known, version) if column is None else (),
            partial=known.partial,
        )

    def _groups(self, known: QualityReport, version: int) -> tuple[GroupsReport, ...]:
        found = []
        for column in self._params.groups:
            keys = [key for key in known.predicted if key[1:3] == (version, column)]
            counts = {key[3]: (known.predicted[key], known.labelled.get(LabelsKey(0, key))) for key in keys}
            if report := groups_of(column, counts):
                found.append(report)
        return tuple(found)


def _label_state(predicted: Predicted, labelled: Labelled, until: int | None) -> LabelState:
    return LabelState(
        n=labelled.rows,
        rejected=labelled.rejected,
        coverage=labelled.rows / predicted.rows if predicted.rows else 0.0,
        delay_p50_ms=delay_quantile(labelled.delays, 0.5),
        delay_p90_ms=delay_quantile(labelled.delays, 0.9),
        until=iso(until) if until is not None else None,
    )


def _report(data: bytes) -> QualityReport:
    return decode_report(data) if data else QualityReport()


def _until(report: QualityReport, until: int) -> QualityReport:
    return QualityReport(
        labelled={key: counts for key, counts in report.labelled.items() if key.until == until}
    )
