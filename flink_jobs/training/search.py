"""A search for parameters that goes on where it was stopped, even by a kill: a finished trial is on disk.

found = search(trainer, rows, place, key, Limits(trials=20), show)
found.parameters, found.value

Each trial's suggestions are drawn with a seed of their own, from the finished trials alone. So a search that
was stopped and went on finds what one would have found in one go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flink_jobs.errors import InputError, WorkError
from flink_jobs.training.contract import Parameters, Trainer
from flink_jobs.training.data import LabelledRows
from flink_jobs.training.fit import direction, fold_values, plain

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

PARAMETERS = "parameters"
# Of the median rule: trials that are never pruned, so that there is a median to speak of.
UNPRUNED = 3


@dataclass(frozen=True)
class Limits:
    """`trials` finished in all, those of before included; no trial begins after `timeout` seconds."""

    trials: int | None = None
    timeout: float | None = None
    resume: bool = True

    @property
    def wanted(self) -> bool:
        return self.trials is not None or self.timeout is not None


@dataclass(frozen=True)
class SearchResult:
    """The best trial: its parameters, the mean of the objective over the folds; and how many were tried."""

    parameters: dict[str, Any]
    value: float
    trials: int
    pruned: int
    resumed: int
    study: str

    def record(self, trainer: Trainer) -> dict[str, Any]:
        """For the manifest."""
        return {
            "study": self.study,
            "objective": trainer.target,
            "value": self.value,
            "trials": self.trials,
            "pruned": self.pruned,
            "folds": trainer.folds,
        }


class ShowTrial(Protocol):
    """Told of each fold of the trial under way, and of each finished trial."""

    def fold(self, trial: int, fold: int, value: float) -> None: ...

    def trial(self, trial: int, value: float, pruned: bool, best: float | None) -> None: ...


def search(
    trainer: Trainer,
    rows: LabelledRows,
    place: Path,
    key: str,
    limits: Limits,
    show: ShowTrial,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """The best parameters in the study `key` of the SQLite file `place`, after the trials that it lacks.

    The trainer's own parameters are the first trial. Raises InputError when there is no `space` or no trial
    was made, WorkError when a trial fails.
    """
    if trainer.space is None:
        raise InputError("a search needs a space: TRAINER = Trainer(…, space=…) in train.py")
    study = _open(trainer, place, key, limits.resume)
    resumed, started = len(_finished(study)), clock()
    while (done := len(_finished(study))) < (limits.trials or done + 1):
        if limits.timeout is not None and clock() - started >= limits.timeout:
            break
        _run(study, trainer, rows, done, show)
    return _best(study, key, resumed)


def _open(trainer: Trainer, place: Path, key: str, resume: bool) -> Study:
    optuna = _optuna()
    place.parent.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{place.resolve()}"
    if not resume and key in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=key, storage=storage)
    study: Study = optuna.create_study(
        storage=storage,
        study_name=key,
        direction=direction(trainer),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415  # An extra: only a search needs it
    except ImportError:
        raise InputError("a search needs Optuna: pip install 'tailrace[train]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _finished(study: Study) -> list[FrozenTrial]:
    states = _optuna().trial.TrialState
    return study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def _run(study: Study, trainer: Trainer, rows: LabelledRows, number: int, show: ShowTrial) -> None:
    """One trial: the running mean of its folds is reported after each, and may end it."""
    optuna = _optuna()
    study.sampler = optuna.samplers.TPESampler(seed=trainer.seed * 100_003 + number)
    states = optuna.trial.TrialState
    if not number and not study.get_trials(deepcopy=False, states=(states.WAITING,)):
        study.enqueue_trial(plain(trainer.parameters))
    trial = study.ask()
    parameters = _suggested(study, trainer, trial)
    total, mean = 0.0, 0.0
    try:
        for fold, value in enumerate(fold_values(trainer, parameters, rows), start=1):
            total += value
            mean = total / fold
            trial.report(mean, fold)
            show.fold(number, fold, mean)
            if fold < trainer.folds and trial.should_prune():
                study.tell(trial, state=states.PRUNED)
                show.trial(number, mean, True, _best_value(study))
                return
    except Exception as error:
        study.tell(trial, state=states.FAIL)
        raise WorkError(
            f"trial {number} failed with {dict(parameters)}: {type(error).__name__}: {error}"
        ) from error
    study.tell(trial, mean)
    show.trial(number, mean, False, _best_value(study))


def _suggested(study: Study, trainer: Trainer, trial: Trial) -> Parameters:
    assert trainer.space is not None
    try:
        parameters = plain(trainer.space(trial))
    except Exception as error:
        study.tell(trial, state=_optuna().trial.TrialState.FAIL)
        raise InputError(f"space() cannot be asked: {type(error).__name__}: {error}") from error
    trial.set_user_attr(PARAMETERS, parameters)
    return parameters


def _best_value(study: Study) -> float | None:
    try:
        return study.best_value
    except ValueError:
        return None


def _best(study: Study, key: str, resumed: int) -> SearchResult:
    finished = _finished(study)
    if _best_value(study) is None:
        raise InputError("a search must have time for at least one trial; got none")
    pruned = sum(trial.state.name == "PRUNED" for trial in finished)
    best = study.best_trial
    assert best.value is not None
    return SearchResult(best.user_attrs[PARAMETERS], best.value, len(finished), pruned, resumed, key)
