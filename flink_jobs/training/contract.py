"""What a model's `train.py` declares: one `Trainer` named TRAINER. docs/training.md has a whole example.

TRAINER = Trainer(
    name="card_fraud", job=Path("../../payments.yaml"), inputs=("amount", "spent_1h"), label="fraud",
    output=Output(kind="binary", classes=(False, True)), history=lambda: Path("payments.parquet"),
    build=lambda parameters: make_pipeline(StandardScaler(), LogisticRegression(**parameters)),
)
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.spec import JobSpec
from flink_jobs.training.splits import Holdout, LastShare, parse_time
from udfs.model.format_table import Format
from udfs.model.manifest import Output
from udfs.suggest import hint

Parameters = Mapping[str, Any]
FILE = "train.py"
DECLARED = "TRAINER"
FORMATS = ("joblib", "skops")
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "binary": ("log_loss", "brier", "auc", "average_precision"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
}


class Suggest(Protocol):
    """What a `space` may ask of an Optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """A model's training. All but the first eight have defaults.

    `job`: the job file, relative to train.py, that computes the features; `inputs`: the model's inputs, in
    order, as the job names them; their types are the job's. `history` gives the records as a producer would
    send them, in that order: a table, or a Parquet file, with a column for each field of the job's schema
    and the column `label`, null where it is not known (windows see these records too). `build` makes an
    unfitted scikit-learn estimator or pipeline, for (n, inputs) DataFrames, of `parameters` or of what
    `space` suggests to a search.
    """

    name: str
    job: Path
    inputs: Sequence[str]
    label: str
    output: Output
    history: Callable[[], pa.Table | Path]
    build: Callable[[Parameters], Any]
    parameters: Parameters = field(default_factory=dict)
    #: From an Optuna trial to parameters; without it there is nothing to search.
    space: Callable[[Suggest], Parameters] | None = None
    #: Which rows are kept from fitting, for metrics, calibration, golden rows and the reference profile.
    holdout: Holdout = field(default_factory=LastShare)
    #: Event time (ISO 8601, UTC) from which on rows are test data, seen by nothing but the test metrics.
    test_from: str | None = None
    folds: int = 4
    #: Rows so close before a fold are not fitted on for it: as long as windows and labels reach.
    gap: timedelta = timedelta(0)
    #: What a search makes best; default: the first of OBJECTIVES for the output's kind.
    objective: str | None = None
    calibrate: bool = True
    seed: int = 0
    format: Format = "joblib"
    #: Of skops: classes that the model may hold beyond those that are safe.
    trusted_types: Sequence[str] = ()
    #: Modules and packages, relative to train.py, that the model needs where it is loaded: shipped with it.
    code: Sequence[Path] = ()
    #: (DataFrame of n inputs, labels) to n sample weights.
    weights: Callable[[pd.DataFrame, npt.NDArray[Any]], npt.NDArray[Any]] | None = None
    #: Makes what the job file reads besides its records, such as lookup tables.
    prepare: Callable[[JobSpec], None] | None = None
    #: Of lookups whose tables are topics: a function each that gives its changes, a table or a Parquet file.
    tables: Mapping[str, Callable[[], pa.Table | Path]] = field(default_factory=dict)
    #: Name to some of the inputs: the same pipeline on these alone, to see what the others are worth.
    ablations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Inputs whose values get references of their own, for drift by segment; and each hour of the week.
    segments: Sequence[str] = ()
    hours_of_week: bool = False
    #: What else the manifest shall say of the training.
    about: Mapping[str, Any] = field(default_factory=dict)
    #: The train.py that declares it; set by `load_trainer`.
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InputError(f"format must be one of {', '.join(FORMATS)}; got {self.format!r}")
        known = OBJECTIVES.get(self.output.kind)
        if known is None:
            raise InputError(f"output.kind must be one of {', '.join(OBJECTIVES)}; got {self.output.kind!r}")
        _require_known("objective", [self.target], known)
        if not self.inputs or len(set(self.inputs)) != len(self.inputs):
            raise InputError(f"inputs must be one or more distinct names; got {list(self.inputs)}")
        for name, chosen in self.ablations.items():
            _require_known(f"ablations[{name!r}]", chosen, self.inputs)
        _require_known("segments", self.segments, self.inputs)
        if self.folds < 2:
            raise InputError(f"folds must be 2 or more; got {self.folds}")
        if self.gap < timedelta(0):
            raise InputError(f"gap must not be negative; got {self.gap}")
        if self.test_from is not None:
            parse_time(self.test_from, "test_from")

    @property
    def target(self) -> str:
        """The metric that a search makes best."""
        return self.objective or OBJECTIVES[self.output.kind][0]


def load_trainer(folder: Path) -> Trainer:
    """The Trainer that `folder`/train.py declares, with the places of its job file and code made absolute.

    Runs the file, which may import modules beside it, as a script may. Raises InputError when it is missing,
    cannot be run, or declares none.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError(f"{folder} must be a model's folder with {FILE}; there is no {path}")
    trainer = _declared(path)
    if trainer.name != path.resolve().parent.name:
        raise InputError(f"{path}: name must be that of its folder, {path.resolve().parent.name!r}; "
                         f"got {trainer.name!r}")  # fmt: skip
    code = tuple((path.parent / module).resolve() for module in trainer.code)
    return replace(trainer, job=(path.parent / trainer.job).resolve(), code=code, file=path.resolve())


def _declared(path: Path) -> Trainer:
    spec = importlib.util.spec_from_file_location(f"tailrace_train_{path.resolve().parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    if (beside := str(path.resolve().parent)) not in sys.path:
        sys.path.append(beside)
    try:
        spec.loader.exec_module(module)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    trainer = getattr(module, DECLARED, None)
    if not isinstance(trainer, Trainer):
        got = "nothing of that name" if trainer is None else f"a {type(trainer).__name__}"
        raise InputError(f"{path} must declare {DECLARED} = Trainer(…); got {got}")
    return trainer


def _require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{what} must be of {', '.join(known)}; got {name!r}{hint(name, known)}")
