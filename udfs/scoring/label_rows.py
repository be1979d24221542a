"""Writes what versions predicted for each record, as the join with labels keeps it until its label comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.encode import json_objects
from udfs.scoring.versions import ScoringGroup

Scores = Mapping[str, pa.Array]


def label_lines(
    group: ScoringGroup,
    rows: int,
    predicted: Sequence[tuple[int, int, Scores]],
    answers: Sequence[tuple[int, pa.Table]],
    slices: Mapping[str, pa.Array],
) -> npt.NDArray[np.object_]:
    """JSON lists of `udfs.rollout.losses.ScoredRow` for n rows, None where the group's own version failed.

    `predicted` holds (start, stop, scores) of the rows that it predicted, `answers` (version, table
    of n rows) of its shadows, `slices` the values of n rows that quality is told apart by.
    """
    lines: npt.NDArray[np.object_] = np.full(rows, None, dtype=object)
    about = _about(group)
    shadows = [_of_shadow(about, version, table) for version, table in answers]
    for start, stop, scores in predicted:
        extra = {**_buckets(group, start, stop), **_sliced(slices, start, stop)}
        own = json_objects({**scores, **extra}, about).cast(pa.string())
        parts = [own, *(shadow.slice(start, stop - start) for shadow in shadows)]
        joined = pc.binary_join_element_wise(*parts, ",", null_handling="skip")
        whole = pc.binary_join_element_wise("[", joined, "]", "").cast(pa.binary())
        lines[start:stop] = whole.to_pandas().to_numpy()
    return lines


def _buckets(group: ScoringGroup, start: int, stop: int) -> Scores:
    """Null for a null key, which is no key that a canary could have."""
    if group.buckets is None:
        return {}
    buckets = group.buckets[start:stop]
    return {"bucket": pa.array(buckets, mask=buckets < 0)}


def _sliced(slices: Mapping[str, pa.Array], start: int, stop: int) -> Scores:
    if not slices:
        return {}
    values = [column.slice(start, stop - start) for column in slices.values()]
    return {"slices": pa.StructArray.from_arrays(values, list(slices))}


def _about(group: ScoringGroup) -> dict[str, Any]:
    output = group.version.loaded.manifest.signature.output
    return {
        "version": group.version.number,
        "role": group.role,
        "release": group.release or 0,
        "kind": output.kind,
        "classes": output.classes,
    }


def _of_shadow(about: Mapping[str, Any], version: int, table: pa.Table) -> pa.Array:
    """Text per row, null where it failed. What it may say is taken to be what the champion may."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    worked = pc.is_null(columns.pop("error"))
    if not columns:
        return pa.nulls(table.num_rows, pa.string())
    said = json_objects(columns, {**about, "version": version, "role": "shadow"}).cast(pa.string())
    return pc.if_else(worked, said, pa.scalar(None, pa.string()))
