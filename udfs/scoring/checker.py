"""Tells which records are valid: decoded, within the contract, with an event time, and not late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.features import DerivedParams, FeatureBuilder, FeatureParams
from udfs.isolate import Span
from udfs.profile.batch_profiler import NO_VERSION, BatchProfiler
from udfs.records.beside import BesideDecoder, joined
from udfs.records.cloudevents import CloudEvents
from udfs.records.contract import Contract
from udfs.records.decode import Decoded, Decoder, decode_batch
from udfs.records.event_time import are_iso_8601, explain_event_time
from udfs.records.formats import make_decoder
from udfs.records.problems import Problem
from udfs.records.vectors import part_names, parts_of
from udfs.scoring.last_net import score_all
from udfs.scoring.outcomes import DEAD, LATE, NO_EVENT_TIME, PREDICTED, Outcomes, problem_json, undecided
from udfs.scoring.params import SourceParams
from udfs.scoring.tallies import count_problem

Raws = Sequence[bytes | None]


class RecordChecker:
    """Decodes and checks records; shared by scoring and by the windows' extraction.

    Each of `conditions` becomes a column; a record of which one cannot be computed is not valid.
    """

    def __init__(self, params: SourceParams, conditions: tuple[DerivedParams, ...] = ()) -> None:
        self._params = params
        self._rules = params.rules
        checked = _of_rules(params)
        self._computed = FeatureBuilder(FeatureParams(derived=(*params.taken, *checked, *conditions)))
        self._dropped = [each.name for each in params.contract.lists] + [each.name for each in checked]
        self._decoder = make_decoder(_own_contract(params), params.max_bytes, params.written)
        self._events = _events(params, self._decoder)
        self._beside = [BesideDecoder(part, params.max_bytes) for part in params.beside]
        self._iso_field = _iso_field(params)
        self._watch = BatchProfiler(params.counted, None, NO_VERSION) if params.counted else None
        self.counts: Counter[str] = Counter()

    def extract(
        self,
        raws: Raws,
        event_time: npt.NDArray[np.int64],
        late: npt.NDArray[np.bool_],
        beside: Sequence[Raws] = (),
    ) -> tuple[Outcomes, pa.Table]:
        """Kind and problem of each record, and the columns of all (null where the record is not valid).

        Never raises for what a record contains.
        """
        spans, failures = score_all(
            lambda start, stop: self.check(
                raws[start:stop],
                event_time[start:stop],
                late[start:stop],
                [part[start:stop] for part in beside],
            ),
            len(raws),
            "decode",
        )
        decoded = spans[0][2] if len(spans) == 1 and not failures else self._join(spans, failures)
        outcomes = undecided(len(raws), late)
        outcomes.kind[decoded.rows] = PREDICTED
        for row, problem in decoded.problems.items():
            outcomes.kind[row] = DEAD
            outcomes.problem[row] = problem_json(problem)
            count_problem(self.counts, problem, int(event_time[row]), self._watch)
        self.counts["dead"] += len(decoded.problems)
        self.counts["late"] += int((outcomes.kind == LATE).sum())
        if self._watch:
            self._watch.late(event_time[outcomes.kind == LATE])
            outcomes = replace(outcomes, profile=self._watch.take())
        if len(decoded.rows) == len(raws):
            return outcomes, decoded.table
        position = np.full(len(raws), -1)
        position[decoded.rows] = np.arange(len(decoded.rows))
        return outcomes, decoded.table.take(pa.array(position, mask=position < 0))

    def _join(self, spans: Sequence[Span[Decoded]], failures: Mapping[int, Problem]) -> Decoded:
        """What spans of a batch were decoded to, as if it had been at once."""
        problems = dict(failures)
        contracts = [self._params.contract, *(part.contract for part in self._params.beside)]
        empty = pa.schema([field for each in contracts for field in each.arrow_schema()]).empty_table()
        nothing = Decoded(empty, np.zeros(0, dtype=np.int64), {})
        tables = [self._with_computed(nothing).table]
        rows = [np.zeros(0, dtype=np.int64)]
        for start, _, decoded in spans:
            problems |= {start + row: problem for row, problem in decoded.problems.items()}
            tables.append(decoded.table)
            rows.append(start + decoded.rows)
        return Decoded(pa.concat_tables(tables).combine_chunks(), np.concatenate(rows), problems)

    def check(
        self,
        raws: Raws,
        event_time: npt.NDArray[np.int64],
        late: npt.NDArray[np.bool_],
        beside: Sequence[Raws] = (),
    ) -> Decoded:
        """The valid records that are not late; `rows` and `problems` refer to positions in `raws`."""
        decoded = self._decode_on_time(raws, late, beside)
        times = event_time[decoded.rows]
        timeless = times <= NO_EVENT_TIME
        if self._iso_field:
            timeless |= ~are_iso_8601(decoded.table.column(self._iso_field), times)
        if timeless.any():
            decoded = self._without_event_time(decoded, timeless, times)
        return self._with_computed(decoded)

    def _with_computed(self, decoded: Decoded) -> Decoded:
        """With what is made of lists in their place, and conditions; without what breaks a rule."""
        table, failures = self._computed.compute(self._with_vectors(decoded.table))
        for rule in self._rules:
            broken = pc.equal(table.column(rule.column), False).fill_null(False).to_numpy()
            failures |= {row: rule.problem for row in np.flatnonzero(broken).tolist() if row not in failures}
        if self._dropped:
            table = table.drop_columns(self._dropped)
        if not failures:
            return Decoded(table, decoded.rows, decoded.problems)
        problems = {int(decoded.rows[row]): problem for row, problem in failures.items()}
        valid = np.delete(np.arange(table.num_rows), list(failures))
        return Decoded(table.take(pa.array(valid)), decoded.rows[valid], decoded.problems | problems)

    def _with_vectors(self, table: pa.Table) -> pa.Table:
        """With a column for each element of vectors."""
        if not self._params.vectors:
            return table
        columns, names = table.columns, table.column_names
        for name, size in self._params.vectors.items():
            columns += parts_of(table.column(name).combine_chunks(), size)
            names += part_names(name, size)
        return pa.Table.from_arrays(columns, names)

    def _decode_on_time(self, raws: Raws, late: npt.NDArray[np.bool_], beside: Sequence[Raws]) -> Decoded:
        if not late.any():
            return self.decode(raws, beside)
        on_time = np.flatnonzero(~late)
        kept = on_time.tolist()
        decoded = self.decode([raws[i] for i in kept], [[part[i] for i in kept] for part in beside])
        problems = {int(on_time[i]): problem for i, problem in decoded.problems.items()}
        return Decoded(decoded.table, on_time[decoded.rows], problems)

    def decode(self, raws: Raws, beside: Sequence[Raws]) -> Decoded:
        """The records that the contract allows, with what is beside them; nothing else is checked."""
        count = len(self._events.headers) if self._events else 0
        if self._events:
            decoded = self._events.decode(raws, beside[:count])
        else:
            decoded = decode_batch(self._decoder, raws)
        if not self._beside:
            return decoded
        parts = zip(self._beside, beside[count:], strict=True)
        return joined(decoded, [decoder.decode(part) for decoder, part in parts])

    def _without_event_time(
        self, decoded: Decoded, timeless: npt.NDArray[np.bool_], times: npt.NDArray[np.int64]
    ) -> Decoded:
        problems = dict(decoded.problems)
        for row, i in zip(decoded.rows[timeless].tolist(), np.flatnonzero(timeless).tolist(), strict=True):
            record = decoded.table.slice(i, 1).to_pylist()[0]
            problems[row] = explain_event_time(self._params.event_time, record, int(times[i]))
        return Decoded(decoded.table.filter(pa.array(~timeless)), decoded.rows[~timeless], problems)


def _of_rules(params: SourceParams) -> list[DerivedParams]:
    """Whether each rule holds, after what they alone take of lists."""
    known = {each.name for each in params.taken}
    taken = {each.name: each for rule in params.rules for each in rule.taken if each.name not in known}
    return [*taken.values(), *(DerivedParams(rule.column, rule.tree) for rule in params.rules)]


def _own_contract(params: SourceParams) -> Contract:
    """What the decoder of values reads: not the attributes of an event."""
    if params.events is None:
        return params.contract
    fields = tuple(field for field in params.contract.fields if field.name not in params.events.fields)
    return Contract(fields, params.contract.lists)


def _events(params: SourceParams, data: Decoder) -> CloudEvents | None:
    if params.events is None:
        return None
    return CloudEvents(params.contract, data, params.events.fields, params.max_bytes)


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
