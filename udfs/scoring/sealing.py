"""Encrypts whole records that leave a job as they came: dead and late ones, and dead rows of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.personal import PrivacyParams, Record, Treating, about_record
from udfs.scoring.outcomes import DEAD, LATE

Objects = npt.NDArray[np.object_]


class Sealing:
    """Of the records of a topic; does nothing where no record is to be encrypted."""

    def __init__(self, privacy: PrivacyParams, topic: str) -> None:
        self._treating, self._topic = Treating(privacy), topic
        treatments = {DEAD: privacy.dead, LATE: privacy.late}
        self.kinds = [kind for kind, treatment in treatments.items() if treatment == "encrypt"]

    def sealed(self, kind: npt.NDArray[np.int8], record: Sequence[pa.Array]) -> Objects:
        """The envelope of each of n records that wants one.

        `record`: their values, keys, header names and values, partitions and offsets.
        """
        found = np.full(len(kind), None, dtype=object)
        rows = np.flatnonzero(np.isin(kind, self.kinds))
        if len(rows):
            columns = [column.take(pa.array(rows)).to_pylist() for column in record]
            *whole, partition, offset = columns
            records = list(map(_record, *whole))
            abouts = [about_record(self._topic, *place) for place in zip(partition, offset, strict=True)]
            for row, envelope in zip(rows.tolist(), self._treating.records(records, abouts), strict=True):
                found[row] = envelope
        return found

    def row(self, kind: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of one outcome, whose record becomes an envelope in `_value` if it is to be one."""
        if kind not in self.kinds:
            return dict(row)
        headers = [*(row.get("_headers") or {}).items()]
        record = Record(row["_key"], row["_value"], headers)
        about = about_record(self._topic, row.get("_partition"), row.get("_offset"))
        (envelope,) = self._treating.records([record], [about])
        return {**row, "_key": None, "_value": envelope, "_headers": None}


def _record(value: bytes | None, key: bytes | None, names: Any, values: Any) -> Record:
    headers = [] if names is None else list(zip(names, values, strict=True))
    return Record(key, value, headers)
