"""Reads the records of a table's topic: as changes of its rows, or as deletions.

A record without a value, a tombstone, deletes the row of its own key: JSON with the key's columns, in a
`payload` beside a `schema` or not, or the key's only column, as JSON or as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from udfs.records.contract import Contract, Field
from udfs.records.problems import Problem
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import NO_EVENT_TIME, PREDICTED, decoded_problem
from udfs.scoring.params import ChangesParams
from udfs.types import ARROW
from udfs.windows.blobs import TIME, pack
from udfs.windows.params import Columns
from udfs.windows.table_stage import CHANGES
from udfs.windows.versions import PLACE, change_schema

log = structlog.get_logger(__name__)
Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
# Debezium's word for a deletion.
_DELETE = "d"
_NO_KEY = Problem("decode", "tombstone", "the record has no value, and no key of a row to delete")


class ChangesReader:
    """Changes of one table; `counts` has those that are read, and the records that are none."""

    def __init__(self, params: ChangesParams) -> None:
        self._params = params
        self._checker = RecordChecker(params.source)
        fields = {field.name: field for field in params.source.contract.fields}
        self._key = Contract(tuple(fields[name] for name in params.by))
        self._columns: Columns = tuple((name, fields[name].type) for name in (*params.by, *params.select))
        self._schema = change_schema(self._columns)
        self.counts: Counter[str] = Counter()

    def read(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        times: npt.NDArray[np.int64],
        places: Places,
    ) -> list[tuple[int, bytes]]:
        """(Flink's key, blob of changes) of each shard that has any; `places` are partitions and offsets.

        Never raises for what a record contains: one that is no change is counted, and logged.
        """
        gone = np.array([value is None for value in values], dtype=np.bool_)
        parts = [
            self._changed([value for value in values if value is not None], times, places, ~gone),
            self._deleted([key for key, none in zip(keys, gone, strict=True) if none], times, places, gone),
        ]
        changes = pa.concat_tables(parts)
        self.counts["table_changes"] += changes.num_rows
        packed = pack(changes, self._params.by, self._params.shard_keys)
        return [(shard, CHANGES + blob) for shard, blob in packed]

    def _changed(
        self,
        values: Sequence[bytes | None],
        times: npt.NDArray[np.int64],
        places: Places,
        chosen: npt.NDArray[np.bool_],
    ) -> pa.Table:
        on_time = np.zeros(len(values), dtype=np.bool_)
        outcomes, table = self._checker.extract(values, times[chosen], on_time)
        valid = outcomes.kind == PREDICTED
        own = (places[0][chosen], places[1][chosen])
        for row in np.flatnonzero(~valid).tolist():
            self._refuse(decoded_problem(outcomes.problem[row]), own, row)
        deleted = pa.array(np.zeros(len(values), dtype=np.bool_))
        if self._params.deleted_by:
            deleted = pc.fill_null(pc.equal(table.column(self._params.deleted_by), _DELETE), False)
        columns = [table.column(name) for name, _ in self._columns]
        return self._table([*columns, deleted], times[chosen], own).filter(pa.array(valid))

    def _deleted(
        self,
        keys: Sequence[bytes | None],
        times: npt.NDArray[np.int64],
        places: Places,
        chosen: npt.NDArray[np.bool_],
    ) -> pa.Table:
        own = (places[0][chosen], places[1][chosen])
        found = [key_of(key, self._key) for key in keys]
        valid = np.array([key is not None for key in found], dtype=np.bool_) & (times[chosen] > NO_EVENT_TIME)
        for row in np.flatnonzero(~valid).tolist():
            self._refuse(_NO_KEY, own, row)
        rows = [key or {} for key in found]
        columns = [pa.array([row.get(name) for row in rows], ARROW[kind]) for name, kind in self._columns]
        deleted = pa.array(np.ones(len(rows), dtype=np.bool_))
        return self._table([*columns, deleted], times[chosen], own).filter(pa.array(valid))

    def _table(self, columns: Sequence[Any], times: npt.NDArray[np.int64], places: Places) -> pa.Table:
        made = dict(zip(self._schema.names, columns, strict=False))
        made |= {TIME: pa.array(times), PLACE[0]: pa.array(places[0]), PLACE[1]: pa.array(places[1])}
        arrays = [made[field.name].cast(field.type) for field in self._schema]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _refuse(self, problem: Problem, places: Places, row: int) -> None:
        self.counts["table_rejected"] += 1
        log.warning(
            "lookup.not_a_change",
            topic=self._params.source.topic,
            partition=int(places[0][row]),
            offset=int(places[1][row]),
            reason=problem.reason,
            message=problem.message,
        )


def key_of(raw: bytes | None, contract: Contract) -> Mapping[str, object] | None:
    """The key's columns in a record's own key; None where they are not there.

    >>> contract = Contract((Field("account", "string", required=True, path=("id",)),))
    >>> [key_of(raw, contract) for raw in (b"a1", b'{"id": "a1"}', b'{"payload": {"id": "a1"}}', b"{}", None)]
    [{'account': 'a1'}, {'account': 'a1'}, {'account': 'a1'}, None, None]
    """
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError:
        return None
    parsed = _parsed(text)
    found = [_found(parsed, field) for field in contract.fields] if raw else []
    candidates = [dict(zip((field.name for field in contract.fields), found, strict=False))]
    if raw and len(contract.fields) == 1 and not isinstance(parsed, dict | list):
        candidates += [{contract.fields[0].name: value} for value in (parsed, text)]
    return next((each for each in candidates if contract.check(each) is None), None)


def _parsed(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _found(value: object, field: Field) -> object:
    if isinstance(value, dict) and isinstance(value.get("payload"), dict):
        value = value["payload"]
    for step in field.steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value
