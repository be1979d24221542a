"""Names the columns of the rows that UDFs give to Flink: for the SQL that reads and the code that fills them.

>>> from udfs.scoring.params import SourceParams
>>> from udfs.records.contract import Contract
>>> [(column.name, column.sql) for column in checked_row(SourceParams("rides", Contract(())))]
[('_kind', 'TINYINT'), ('_problem', 'STRING')]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.scoring.outcomes import Outcomes
from udfs.scoring.params import LabelParams, ScoreParams, SourceParams


@dataclass(frozen=True)
class RowColumn:
    """A column of a UDF's result, by its name and type in SQL."""

    name: str
    sql: str


@dataclass(frozen=True)
class OutcomeColumn(RowColumn):
    """One that is filled from the outcomes of a batch: n values."""

    values: Callable[[Outcomes], npt.NDArray[Any] | None]


def on_first_row(value: bytes | None, rows: int) -> npt.NDArray[np.object_]:
    """A column with what is said of a whole batch."""
    column = np.full(rows, None, dtype=object)
    column[:1] = [value]
    return column


KIND = OutcomeColumn("_kind", "TINYINT", lambda batch: batch.kind)
PREDICTION = OutcomeColumn("_prediction", "BYTES", lambda batch: batch.prediction)
PROBLEM = OutcomeColumn("_problem", "STRING", lambda batch: batch.problem)
PROFILE = OutcomeColumn("_profile", "BYTES", lambda batch: on_first_row(batch.profile, len(batch.kind)))
SHADOW = OutcomeColumn("_shadow", "BYTES", lambda batch: batch.shadow)
ROLLOUT = OutcomeColumn("_rollout", "BYTES", lambda batch: on_first_row(batch.rollout, len(batch.kind)))
QUALITY = OutcomeColumn("_quality", "BYTES", lambda batch: on_first_row(batch.quality, len(batch.kind)))
ACCOUNT = OutcomeColumn("_account", "BYTES", lambda batch: on_first_row(batch.account, len(batch.kind)))
LABEL_KEY = OutcomeColumn("_label_key", "STRING", lambda batch: batch.label_key)
SCORED = OutcomeColumn("_told", "BYTES", lambda batch: batch.told)
# The envelope of a record that is dead or late, and a key as the label of keys wants it.
SEALED = OutcomeColumn("_sealed", "BYTES", lambda batch: batch.sealed)
SAFE_KEY = OutcomeColumn("_safe_key", "BYTES", lambda batch: batch.key)
LABEL = RowColumn("_label", "BYTES")
LABELS = RowColumn("_labels", "BYTES")
QUALITY_LABELS = RowColumn("_quality_labels", "BYTES")
SHARDS = RowColumn("_shards", "MAP<INT, BYTES>")
# The record's key as a column of the rows that are scored, for the count of repeated keys.
RECORD_KEY = "_record_key"

READ_LABEL: tuple[RowColumn, ...] = (LABEL_KEY, LABEL, LABELS)


def scored_row(params: ScoreParams) -> tuple[OutcomeColumn, ...]:
    """The columns of a scored record or window."""
    return (
        *(KIND, PREDICTION, PROBLEM),
        *((PROFILE,) if params.drift else ()),
        *((SHADOW, ROLLOUT) if params.rollout else ()),
        *((QUALITY,) if params.quality else ()),
        *((LABEL_KEY, SCORED) if params.label_key else ()),
        *((SEALED,) if params.source.privacy.seals else ()),
        *((SAFE_KEY,) if params.source.privacy.key else ()),
        *((ACCOUNT,) if params.source.accounts_of else ()),
    )


def labelled_row(params: LabelParams) -> tuple[RowColumn, ...]:
    """The columns of a record with its label, of which the first row of a batch speaks."""
    return (*((LABELS,) if params.compared else ()), *((QUALITY_LABELS,) if params.quality else ()))


def checked_row(params: SourceParams) -> tuple[OutcomeColumn, ...]:
    """The columns of a record that was checked for windows, before the fields that they need."""
    sealed = (SEALED,) if params.privacy.seals else ()
    account = (ACCOUNT,) if params.accounts_of else ()
    return (KIND, PROBLEM, *((PROFILE,) if params.counted else ()), *sealed, *account)
