"""`tailrace train` and `tailrace retrain`: a model's own train.py, by the contract of docs/training.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from flink_jobs.cli.connection import LOCAL_BROKERS, Brokers, environment, kafka_settings, models_place
from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings
from flink_jobs.registry import Registry
from flink_jobs.reports.drift.reader import read
from flink_jobs.reports.quality.reader import read as read_quality
from flink_jobs.system.terminal import open_console, say
from flink_jobs.training.contract import Trainer, load_trainer
from flink_jobs.training.decide import RetrainRule
from flink_jobs.training.decide_quality import QualityDecision, QualityRule, Source
from flink_jobs.training.reasons import Asked
from flink_jobs.training.retrain import Retraining, RetrainOutcome, alone, retrain_if_needed
from flink_jobs.training.run import TrainingSettings
from flink_jobs.training.run import train as run
from flink_jobs.training.search import Limits
from flink_jobs.training.show import Show
from udfs.drift.records import DriftRecord
from udfs.model.manifest import Manifest
from udfs.quality.records import QualityRecord

FILE_ENDINGS = {".jsonl", ".json", ".ndjson", ".txt", ".log"}
ModelFolder = Annotated[
    Path, typer.Argument(metavar="MODEL_DIR", help="Folder with train.py.", show_default=False)
]
RegistryRoot = Annotated[
    str | None,
    typer.Option(
        "--registry",
        envvar="TAILRACE_MODELS",
        callback=models_place,
        help="Folder or URI of all models. Default: where MODEL_DIR is.",
        show_default=False,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(min=1, help="Search until this many trials are finished, earlier ones included."),
]
Timeout = Annotated[
    float | None, typer.Option(min=0, help="Search for parameters; begin no trial after so many seconds.")
]
Resume = Annotated[bool, typer.Option(help="Go on with the search of before, if data and code are the same.")]
Promote = Annotated[bool, typer.Option("--promote", help="Make the new version the champion.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Cache = Annotated[Path, typer.Option(help="Where computed features are kept.")]


def train(
    model_dir: ModelFolder,
    trials: Trials = None,
    timeout: Timeout = None,
    resume: Resume = True,
    test_from: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Event time at which the test begins, instead of train.py's."),
    ] = None,
    promote: Promote = False,
    registry: RegistryRoot = None,
    cache: Cache = Path(".tailrace/features"),
    as_json: Json = False,
) -> None:
    """Train a model and register it as its next version.

    The job file that train.py names computes the features, on Flink, as it does for live records; they are
    kept for the next time. Without [bold]--trials[/] or [bold]--timeout[/] the parameters are train.py's own.
    The first version becomes the champion.

    [bold]Examples[/]

      tailrace train models/flight_delay

      tailrace train models/flight_delay --trials 40
    """
    trainer = load_trainer(model_dir)
    show = _show()
    settings = _settings(model_dir, trials, timeout, resume, promote, cache, test_from)
    with alone(model_dir / "studies", lambda: show.say("another training of this model runs; waiting")):
        manifest = run(trainer, Registry(registry or model_dir.resolve().parent), settings, show)
    if as_json:
        print(json.dumps(_summary(manifest)))
    else:
        _print_version(manifest, trainer)


def retrain(
    model_dir: ModelFolder,
    if_drifted: Annotated[
        str | None,
        typer.Option(metavar="DRIFT", help="Drift topic, or a file of its records.", show_default=False),
    ] = None,
    if_worse: Annotated[
        str | None,
        typer.Option(metavar="QUALITY", help="Quality topic, or a file of its records.", show_default=False),
    ] = None,
    bad: Annotated[int, typer.Option(min=1, help="So many windows must have drifted, or be worse …")] = 2,
    of: Annotated[int, typer.Option(min=1, help="… of the last so many.")] = 3,
    input_share: Annotated[
        float,
        typer.Option(help="Inputs of more than this share of the importance must have drifted; 1: never."),
    ] = 0.5,
    metric: Annotated[str, typer.Option(help="Metric of quality.")] = "log_loss",
    estimated: Annotated[
        bool, typer.Option("--estimated", help="Its estimate without labels, instead of the realized one.")
    ] = False,
    reference: Annotated[
        float | None,
        typer.Option(
            help="A window is worse if its whole interval is, than this; default: the champion's own test.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[float, typer.Option(help="… and by more than this.")] = 0.0,
    coverage: Annotated[
        float,
        typer.Option(help="Part of a window's labels that must have come, unless no more can."),
    ] = 0.95,
    job: Annotated[
        str | None, typer.Option(help="Only this job's records, if there are several.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    trials: Trials = None,
    timeout: Timeout = None,
    resume: Resume = True,
    promote: Promote = False,
    registry: RegistryRoot = None,
    cache: Cache = Path(".tailrace/features"),
    as_json: Json = False,
    brokers: Brokers = None,
) -> None:
    """Train again if the champion's drift or quality is reason enough; for a scheduler.

    Exits with 0 whether it trained or had nothing to do. Calling it twice does not train twice: windows that
    the newest version has seen count no more.

    [bold]Examples[/]

      tailrace retrain models/flight_delay --if-drifted flight-delay.drift --trials 20

      tailrace retrain models/flight_delay --if-worse flight-delay.quality --metric auc --margin 0.02

      tailrace retrain models/flight_delay --if-drifted drift.jsonl --dry-run
    """
    if if_drifted is None and if_worse is None:
        raise InputError("what to decide by must be given: --if-drifted DRIFT, --if-worse QUALITY, or both")
    by_drift = RetrainRule(bad, of, input_share)
    source: Source = "estimated" if estimated else "realized"
    by_quality = QualityRule(metric, source, reference, margin, bad, of, coverage)
    trainer = load_trainer(model_dir)
    retraining = Retraining(
        Asked(if_drifted, by_drift, lambda: _drift_records(if_drifted, brokers, trainer.job), job)
        if if_drifted
        else None,
        Asked(if_worse, by_quality, lambda: _quality_records(if_worse, brokers, trainer.job), job)
        if if_worse
        else None,
        dry_run,
    )
    show = _show()
    with alone(model_dir / "studies", lambda: show.say("another training of this model runs; waiting")):
        outcome = retrain_if_needed(
            trainer,
            Registry(registry or model_dir.resolve().parent),
            retraining,
            _settings(model_dir, trials, timeout, resume, promote, cache),
            show,
        )
    _print_outcome(outcome, trainer, dry_run, as_json)


def _show() -> Show:
    return Show(open_console(stderr=True))


def _settings(
    model_dir: Path,
    trials: int | None,
    timeout: float | None,
    resume: bool,
    promote: bool,
    cache: Path,
    test_from: str | None = None,
) -> TrainingSettings:
    limits = Limits(trials, timeout, resume)
    return TrainingSettings(limits, promote, test_from, cache, model_dir / "studies", environ=environment())


def _drift_records(source: str, brokers: str | None, job: Path) -> Sequence[DriftRecord]:
    settings = None if Path(source).is_file() else kafka_settings(brokers, job)
    return read(source, settings).drift


def _quality_records(source: str, brokers: str | None, job: Path) -> Sequence[QualityRecord]:
    if Path(source).is_file():
        return read_quality(source, ClientSettings(LOCAL_BROKERS))
    if "/" in source or Path(source).suffix in FILE_ENDINGS:
        raise InputError(f"{source} must be a file of quality records; there is no such file")
    return read_quality(source, kafka_settings(brokers, job))


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "model": manifest.name,
        "version": manifest.version,
        "metrics": manifest.metrics,
        "training": manifest.training,
    }


def _print_version(manifest: Manifest, trainer: Trainer) -> None:
    for name, value in manifest.metrics.items():
        say(f"{name:32} {value:.5g}")
    training = manifest.training
    say(f"calibration: {training['calibration']['method']} ({training['calibration']['reason']})")
    if found := training["search"]:
        say(
            f"best of {found['trials']} trials: {found['objective']} {found['value']:.5g}, "
            f"{json.dumps(training['parameters'])}"
        )
    say(f"{trainer.name} version {manifest.version} is registered")


def _print_outcome(outcome: RetrainOutcome, trainer: Trainer, dry_run: bool, as_json: bool) -> None:
    decision, manifest = outcome.decision, outcome.manifest
    if as_json:
        known = {"model": trainer.name, "champion": outcome.champion, "windows_known": decision.known}
        done = {
            "retrain": decision.retrain,
            "dry_run": dry_run,
            "trained": manifest.version if manifest else None,
        }
        print(json.dumps({"schema": "tailrace.retrain/1", **known, **done, **decision.record()}))
        return
    for window in decision.drift.windows if decision.drift else ():
        outputs = ", ".join(window.outputs) or "none"
        say(f"{window.start[:10]} to {window.end[:10]}: drifted outputs: {outputs}; "
              f"inputs of {window.input_share:.0%} of the importance")  # fmt: skip
    if decision.quality:
        _print_quality(decision.quality)
    say(f"{trainer.name} version {outcome.champion}: {decision.reason}")
    if manifest:
        _print_version(manifest, trainer)
    elif decision.retrain:
        say("would train (--dry-run)")
    else:
        say("nothing to do")


def _print_quality(decision: QualityDecision) -> None:
    for window in decision.windows:
        what = f"{decision.metric} {window.value:.4g} ({window.low:.4g} to {window.high:.4g})"
        say(f"{window.start[:16]} to {window.end[:16]}: {what}{', worse' if window.worse else ''}")
