"""Says of each row whether its windows hold all that belongs to them: false for a while after an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from udfs.windows.blobs import TIME, times_of
from udfs.windows.held import Back, Limits, backs_of
from udfs.windows.kept import LEAST_TIME
from udfs.windows.params import COMPLETE, AggregateParams, WindowParams

# Columns between release and results: from when on windows are complete. No other has a space in its name.
_FROM = "complete from"


class Complete:
    """Of one stage. `windows` are those that the engine is to compute beside the job's own."""

    def __init__(self, windows: Sequence[WindowParams]) -> None:
        self._backs = backs_of(windows)
        self.windows = (WindowParams(rows=1, select=dict(map(_lag, self._backs))),) if self._backs else ()

    def with_limits(self, rows: pa.Table, limits: Limits) -> pa.Table:
        """The rows of one shard, with what its state says."""
        for name, limit in ((_FROM, limits.time), *((_limit(b), limits.backs[b]) for b in self._backs)):
            rows = rows.append_column(name, pa.array(np.full(rows.num_rows, limit)))
        return rows

    def of(
        self, results: Mapping[str, pa.Array], rows: pa.Table
    ) -> tuple[dict[str, pa.Array | pa.ChunkedArray], pa.Table]:
        """The results with COMPLETE, unless the rows have it by now; without what it was made of."""
        complete = times_of(rows) >= rows.column(_FROM).to_numpy()
        for back in self._backs:
            limit = rows.column(_limit(back)).to_numpy()
            found = results[_name(back)].fill_null(LEAST_TIME).to_numpy(zero_copy_only=False)
            complete &= found >= limit
        own = {_name(back) for back in self._backs}
        kept = {name: column for name, column in results.items() if name not in own}
        rows = rows.drop_columns([_FROM, *map(_limit, self._backs)])
        if COMPLETE not in rows.column_names:
            return kept | {COMPLETE: pa.array(complete)}, rows
        place = rows.column_names.index(COMPLETE)
        both = pc.and_(rows.column(COMPLETE), pa.array(complete))
        return kept, rows.set_column(place, COMPLETE, both)


def _lag(back: Back) -> tuple[str, AggregateParams]:
    """The time of the row at which a look back ends."""
    offset = back.rows if back.where else back.rows - 1
    return _name(back), AggregateParams("lag", TIME, offset=offset, where=back.where)


def _name(back: Back) -> str:
    return f"time of {back.rows} {back.where or ''}"


def _limit(back: Back) -> str:
    return f"{_FROM} {back.rows} {back.where or ''}"
