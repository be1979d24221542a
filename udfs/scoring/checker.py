"""Which records of a batch are valid: decoded, within the contract, with an event time, and not late.

checker = RecordChecker(params.source)
decoded = checker.check(raws, event_time, late)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.profile.batch_profiler import NO_VERSION, BatchProfiler
from udfs.records.decode import Decoded, decode_batch
from udfs.records.event_time import are_iso_8601, explain_event_time
from udfs.records.json import JsonDecoder
from udfs.scoring.outcomes import NO_EVENT_TIME, PREDICTED, Outcomes, problem_json, undecided
from udfs.scoring.params import SourceParams


class RecordChecker:
    """Decodes and checks records; shared by scoring and by the windows' extraction."""

    def __init__(self, params: SourceParams) -> None:
        self._params = params
        self._decoder = JsonDecoder(params.contract, params.max_bytes)
        self._iso_field = _iso_field(params)
        self._watch = BatchProfiler(params.counted, None, NO_VERSION) if params.counted else None
        self.counts: Counter[str] = Counter()

    def extract(
        self, raws: Sequence[bytes | None], event_time: npt.NDArray[np.int64], late: npt.NDArray[np.bool_]
    ) -> tuple[Outcomes, pa.Table]:
        """Kind and problem of each record, and the columns of all (null where the record is not valid)."""
        decoded = self.check(raws, event_time, late)
        outcomes = undecided(len(raws), late)
        outcomes.kind[decoded.rows] = PREDICTED
        for row, problem in decoded.problems.items():
            outcomes.problem[row] = problem_json(problem)
            self.counts[f"dead_{problem.stage}"] += 1
            if self._watch:
                self._watch.dead(problem, int(event_time[row]))
        self.counts["dead"] += len(decoded.problems)
        self.counts["late"] += int(late.sum())
        if self._watch:
            self._watch.late(event_time[late])
            outcomes = replace(outcomes, profile=self._watch.take())
        if len(decoded.rows) == len(raws):
            return outcomes, decoded.table
        position = np.full(len(raws), -1)
        position[decoded.rows] = np.arange(len(decoded.rows))
        return outcomes, decoded.table.take(pa.array(position, mask=position < 0))

    def check(
        self, raws: Sequence[bytes | None], event_time: npt.NDArray[np.int64], late: npt.NDArray[np.bool_]
    ) -> Decoded:
        """The valid records that are not late; `rows` and `problems` refer to positions in `raws`."""
        decoded = self._decode_on_time(raws, late)
        times = event_time[decoded.rows]
        timeless = times <= NO_EVENT_TIME
        if self._iso_field:
            timeless |= ~are_iso_8601(decoded.table.column(self._iso_field), times)
        return self._without_event_time(decoded, raws, timeless) if timeless.any() else decoded

    def _decode_on_time(self, raws: Sequence[bytes | None], late: npt.NDArray[np.bool_]) -> Decoded:
        if not late.any():
            return decode_batch(self._decoder, raws)
        on_time = np.flatnonzero(~late)
        decoded = decode_batch(self._decoder, [raws[i] for i in on_time.tolist()])
        problems = {int(on_time[i]): problem for i, problem in decoded.problems.items()}
        return Decoded(decoded.table, on_time[decoded.rows], problems)

    def _without_event_time(
        self, decoded: Decoded, raws: Sequence[bytes | None], timeless: npt.NDArray[np.bool_]
    ) -> Decoded:
        problems = dict(decoded.problems)
        for row, i in zip(decoded.rows[timeless].tolist(), np.flatnonzero(timeless).tolist(), strict=True):
            record = decoded.table.slice(i, 1).to_pylist()[0]
            problems[row] = explain_event_time(self._params.event_time, record)
        return Decoded(decoded.table.filter(pa.array(~timeless)), decoded.rows[~timeless], problems)


def _iso_field(params: SourceParams) -> str | None:
    """The field of the record that holds the event time as text, if that is where it is."""
    where = params.event_time
    if where is None or where.header or where.unit != "iso8601":
        return None
    return (
        where.name
        if any(f.name == where.name and f.type == "string" for f in params.contract.fields)
        else None
    )
