"""Holds one outcome per record of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.records.problems import Problem

PREDICTED, DEAD, LATE = 0, 1, 2
# What goes with outcomes: lines of shadows, reports on a batch, and what is kept until labels come.
SHADOW_LINES, PROFILE_REPORT, ROLLOUT_REPORT, LABEL_KEPT, QUALITY_REPORT = 3, 4, 5, 6, 7

NO_EVENT_TIME = 0


@dataclass(frozen=True)
class Outcomes:
    """One per record: its kind, and the prediction's bytes or the problem (both None for a late record).

    For rows of windows that are dead, `prediction` holds the row as JSON, since there are no original bytes.
    `shadow` is what shadows said of the record, None where none was asked. `profile` is what the monitor is
    told of the whole batch, `rollout` what the comparison of versions is, `quality` what quality is. With
    labels, `label_key` and `told` are what the join keeps of a prediction. With personal data, `sealed` are
    the envelopes of dead and late records, and `key` is what a prediction gets for its key. `account` is what
    became of the batch.
    """

    kind: npt.NDArray[np.int8]
    prediction: npt.NDArray[np.object_]
    problem: npt.NDArray[np.object_]
    shadow: npt.NDArray[np.object_]
    profile: bytes | None = None
    rollout: bytes | None = None
    label_key: npt.NDArray[np.object_] | None = None
    told: npt.NDArray[np.object_] | None = None
    sealed: npt.NDArray[np.object_] | None = None
    key: npt.NDArray[np.object_] | None = None
    quality: bytes | None = None
    account: bytes | None = None


def undecided(rows: int, late: npt.NDArray[np.bool_]) -> Outcomes:
    """No record but the late ones has its outcome yet."""
    kind = np.where(late, LATE, DEAD).astype(np.int8)
    prediction, problem, shadow = (np.full(rows, None, dtype=object) for _ in range(3))
    return Outcomes(kind, prediction, problem, shadow)


def join_outcomes(
    rows: int, parts: Iterable[tuple[int, int, Outcomes]], *, labelled: bool = False
) -> Outcomes:
    """The outcomes of n records from those of spans of them; records of no span are dead."""
    joined = undecided(rows, np.zeros(rows, dtype=np.bool_))
    key, told = (np.full(rows, None, dtype=object) for _ in range(2))
    for start, stop, part in parts:
        at = slice(start, stop)
        joined.kind[at], joined.prediction[at] = part.kind, part.prediction
        joined.problem[at], joined.shadow[at] = part.problem, part.shadow
        if part.label_key is not None and part.told is not None:
            key[at], told[at] = part.label_key, part.told
    return replace(joined, label_key=key, told=told) if labelled else joined


_problems = msgspec.json.Decoder(Problem)


def decoded_problem(written: str) -> Problem:
    """The problem that `problem_json` wrote."""
    return _problems.decode(written)


def problem_json(problem: Problem) -> str:
    """The problem as the views read it."""
    return msgspec.json.encode(problem).decode()
