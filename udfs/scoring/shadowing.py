"""Scores the rows of a group with its shadows too, and puts what they say beside what the champion said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.encode import json_objects
from udfs.rollout.version_metrics import VersionMetrics
from udfs.scoring.shadow import Shadow
from udfs.scoring.version import USUAL
from udfs.scoring.versions import ScoringGroup
from udfs.times import Milliseconds

Scores = Mapping[str, pa.Array]
Predicted = Sequence[tuple[int, int, Scores]]
SCHEMA = "tailrace.shadow/1"


class Shadowing:
    """One question to each shadow of a group, for n rows; `answers` are those that `lines` waited for."""

    def __init__(self, group: ScoringGroup, featured: pa.Table, metrics: VersionMetrics) -> None:
        self._group, self._version_metrics = group, metrics
        self.answers: list[tuple[int, pa.Table]] = []
        self._requests = [(shadow, shadow.ask(featured)) for shadow in group.shadows]

    def lines(
        self, predicted: Predicted, event_time: Milliseconds, context: Scores, topic: str
    ) -> npt.NDArray[np.object_]:
        """JSON for each of n rows, None where no shadow answered.

        `predicted` holds (start, stop, scores) of the rows that the group's own version predicted.
        """
        rows = len(event_time)
        said: list[pa.Array] = []
        for shadow, request in self._requests:
            table = shadow.answer(request) if request else None
            if table is None or table.num_rows != rows:
                self._version_metrics.missed(shadow.version, self._release, event_time)
            else:
                self.answers.append((shadow.version, table))
                table = table.drop_columns([USUAL]) if USUAL in table.column_names else table
                self._count(shadow, table, predicted, event_time)
                said.append(_of_shadow(shadow.version, table))
        if not said:
            return np.full(rows, None, dtype=object)
        return self._joined(said, _spread(predicted, rows), context, topic)

    @property
    def _release(self) -> int:
        return self._group.release or 0

    def _count(self, shadow: Shadow, table: pa.Table, predicted: Predicted, event_time: Milliseconds) -> None:
        worked = np.asarray(pc.is_null(table.column("error")))
        took = int((table.schema.metadata or {}).get(b"took_ns", b"0"))
        who = (shadow.version, "shadow", self._release)
        if (~worked).any():
            self._version_metrics.failed(*who, event_time[~worked])  # type: ignore[arg-type]
        scores = {n: table.column(n).combine_chunks() for n in table.column_names if n != "error"}
        if worked.any():
            self._version_metrics.scored(*who, event_time[worked], _filtered(scores, worked), took)  # type: ignore[arg-type]
        for start, stop, champion in predicted:
            both = worked[start:stop]
            if both.any():
                theirs = _filtered({n: c.slice(start, stop - start) for n, c in scores.items()}, both)
                self._version_metrics.paired(
                    shadow.version,
                    self._release,
                    event_time[start:stop][both],
                    _filtered(champion, both),
                    theirs,
                )

    def _joined(
        self, said: Sequence[pa.Array], own: Scores, context: Scores, topic: str
    ) -> npt.NDArray[np.object_]:
        """The group's own prediction in front, then a list of the shadows'."""
        tail = {**self._group.version.tail(self._group.release, topic), "schema": SCHEMA}
        head = json_objects({**own, **context}, tail).cast(pa.string())
        opened = pc.binary_replace_slice(head, -1, 2**31 - 1, "")
        listed = reduce(lambda one, more: pc.binary_join_element_wise(one, more, ","), said)
        whole = pc.binary_join_element_wise(opened, ',"shadows":[', listed, "]}", "")
        lines: npt.NDArray[np.object_] = whole.cast(pa.binary()).to_pandas().to_numpy()
        return lines


def _filtered(columns: Scores, mask: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    return dict(columns) if mask.all() else {n: c.filter(pa.array(mask)) for n, c in columns.items()}


def _of_shadow(version: int, table: pa.Table) -> pa.Array:
    """{"version":2,"prediction":…,"error":null} of each row, as text."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    numbered = {"version": pa.array(np.full(table.num_rows, version)), **columns}
    return json_objects(numbered, {}).cast(pa.string())


def _spread(predicted: Predicted, rows: int) -> dict[str, pa.Array]:
    """The scores at their places among all rows, null where the group's version has none."""
    if len(predicted) == 1 and predicted[0][1] - predicted[0][0] == rows:
        return dict(predicted[0][2])
    if not predicted:
        return {"prediction": pa.nulls(rows, pa.string())}
    tables = [pa.table(dict(scores)) for _, _, scores in predicted]
    joined = pa.concat_tables(tables, promote_options="default").combine_chunks()
    places = np.full(rows, -1)
    places[np.concatenate([np.arange(start, stop) for start, stop, _ in predicted])] = np.arange(
        joined.num_rows
    )
    taken = joined.take(pa.array(places, mask=places < 0))
    return {name: taken.column(name).combine_chunks() for name in taken.column_names}
