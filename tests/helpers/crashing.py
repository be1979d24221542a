"""A model whose native code ends its process on one value, and a process that scores records with it.

python -m tests.helpers.crashing VERSION_FOLDER CUT FIRST LAST     # prints offset, kind and reason of each
python -m tests.helpers.crashing VERSION_FOLDER CUT FIRST LAST 1   # with explanations: and their bases
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.features import FeatureParams
from udfs.model.manifest import Input, Output, Signature, digest, read_manifest
from udfs.records.contract import Contract, Field
from udfs.scoring.params import ModelParams, OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import Batch, Scorer

DEADLY = 13.0
NOON = 1_767_268_800_000


class Crashing:
    """Calls abort() of the C library, as a native library does on a failed assertion.

    It has an estimator's interface and no library behind it: many processes load it.
    """

    n_features_in_ = 1

    def predict(self, rows: Any) -> Any:
        values = np.asarray(rows, dtype=float)
        if (values == DEADLY).any():
            ctypes.CDLL(None).abort()
        return values[:, 0]


def write(root: Path, model: Any = None) -> Path:
    """Registers a version of it, or of its bytes, and gives its folder."""
    from flink_jobs.registry import Registry  # takes as long to import as the processes that score live

    registry = Registry(root)
    registry.write_version(
        "crashing",
        model=model or Crashing(),
        signature=Signature(
            inputs=(Input(name="x", type="double", nullable=False),), output=Output(kind="regression")
        ),
        golden_inputs=pa.table({"x": [1.0, 2.0]}),
        profile={},
        metrics={},
        training={},
    )
    return registry.folder("crashing", 1)


def params_of(folder: Path, explain: int = 0) -> ScoreParams:
    return ScoreParams(
        SourceParams("numbers", Contract((Field("x", "double", required=True),))),
        FeatureParams(),
        ModelParams(str(folder), digest(read_manifest(folder)), 1, (("x", "x", "double"),)),
        OutputParams(explain=explain),
    )


def batch(offsets: range) -> Batch:
    """The record at each offset has the offset as its value; partitions 0 and 1 take turns."""
    rows, places = len(offsets), np.array(offsets, dtype=np.int64)
    return Batch(
        [json.dumps({"x": float(offset)}).encode() for offset in offsets],
        np.full(rows, NOON),
        np.zeros(rows, dtype=np.bool_),
        places % 2,
        places,
        np.full(rows, NOON),
    )


def main(folder: Path, cut: int, first: int, last: int, explain: int = 0) -> None:
    scorer = Scorer(params_of(folder, explain))
    for start in range(first, last, cut):
        offsets = range(start, min(start + cut, last))
        outcomes = scorer.score(batch(offsets))
        found = zip(offsets, outcomes.kind.tolist(), outcomes.problem, outcomes.prediction, strict=True)
        for offset, kind, problem, line in found:
            said = json.loads(problem)["reason"] if problem else "-"
            print(offset, kind, said, *(_explained(line) if explain else ()), flush=True)
    scorer.close()


def _explained(line: bytes | None) -> tuple[object, ...]:
    """The prediction, and what its explanation adds up to, if there is one."""
    made = json.loads(line or b"{}")
    told = made["explanation"]
    total = told and told["base"] + sum(told["contributions"].values()) + told["rest"]
    return made["prediction"], "unexplained" if told is None else round(total, 6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
