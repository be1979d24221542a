"""Reads records once more that the job has read before, to fill windows with: they have no outcome here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.scoring.checker import Raws, RecordChecker
from udfs.scoring.outcomes import PREDICTED
from udfs.scoring.params import WarmParams
from udfs.windows.blobs import TIME, pack
from udfs.windows.shard import WARM, warm_schema


class WarmReader:
    """Of the windows by one key."""

    def __init__(self, params: WarmParams) -> None:
        pack = params.pack
        # Who read them first has counted them, and written what is wrong with them.
        source = msgspec.structs.replace(pack.source, counted=None)
        self._checker = RecordChecker(source, pack.conditions)
        self._params, self._schema = params, warm_schema(params.kept)

    def read(
        self,
        raws: Raws,
        times: npt.NDArray[np.int64],
        late: npt.NDArray[np.bool_],
        beside: Sequence[Raws],
        places: tuple[pa.Array, pa.Array],
    ) -> list[tuple[int, bytes]]:
        """(Flink's key, blob) of each shard that has any; `places` are partitions and offsets.

        Left out is what is not valid, and what is late by now. Never raises for what a record contains.
        """
        outcomes, table = self._checker.extract(raws, times, late, beside)
        columns = {name: table.column(name) for name, _ in self._params.kept}
        columns |= {"_partition": places[0], "_offset": places[1], TIME: pa.array(times)}
        rows = pa.Table.from_arrays([columns[name] for name in self._schema.names], schema=self._schema)
        rows = rows.filter(pa.array(outcomes.kind == PREDICTED))
        pack_params = self._params.pack
        return [(shard, WARM + blob) for shard, blob in pack(rows, pack_params.by, pack_params.shard_keys)]
