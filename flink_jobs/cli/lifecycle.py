"""`tailrace lifecycle`: the steps of a model's life that are due, by the policy in the job file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from flink_jobs.cli.connection import Brokers, environment
from flink_jobs.cli.release_options import SignWith, parse_signing
from flink_jobs.jobfile import load_job
from flink_jobs.lifecycle.advance import Taken
from flink_jobs.lifecycle.of_job import Sources, loop_of, model_dir
from flink_jobs.plan.clients import client_settings
from flink_jobs.spec import JobSpec
from flink_jobs.system.terminal import json_line, open_console, say
from flink_jobs.training.retrain import alone
from flink_jobs.training.run import CACHE, TrainingSettings
from flink_jobs.training.show import Show
from udfs.times import now_ms

Source = Annotated[
    str | None, typer.Option(metavar="FILE", help="Instead of the job's topic.", show_default=False)
]


def lifecycle(
    job_file: Annotated[
        Path, typer.Argument(metavar="JOB_FILE", help="With a lifecycle section.", show_default=False)
    ],
    comparisons: Source = None,
    drift: Source = None,
    quality: Source = None,
    sign_with: SignWith = None,
    cache: Annotated[Path, typer.Option(help="Where computed features are kept.")] = CACHE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the next step, take none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    brokers: Brokers = None,
) -> None:
    """Take the steps of a model's life that are due, by the job's policy; for a scheduler.

    Train again, shadow, canary, promote, drop: what is due when is in the job file. It takes what is due,
    says what it waits for, and exits with 0; calling it twice, or killing it anywhere, does no harm.

    [bold]Examples[/]

      tailrace lifecycle conf/flight_delay.yaml --dry-run

      tailrace lifecycle conf/flight_delay.yaml --sign-with loop.key
    """
    environ = environment()
    job = load_job(job_file, environ)
    kafka = client_settings(job)
    kafka = replace(kafka, brokers=brokers) if brokers else kafka
    show = Show(open_console(stderr=True))
    studies = model_dir(job) / "studies" if job.lifecycle else Path()
    loop = loop_of(
        job,
        Sources(comparisons, drift, quality),
        kafka,
        show,
        TrainingSettings(cache=cache, studies=studies, environ=environ),
        parse_signing(sign_with, False),
    )
    if dry_run:
        taken = loop.advance(now_ms, dry_run=True)
    else:
        with alone(studies, lambda: show.say("another training of this model runs; waiting")):
            taken = loop.advance(now_ms)
    if as_json:
        print(json_line(json.dumps(_record(job, taken, dry_run))))
        return
    for each in taken:
        say(_said(each, dry_run))


def _said(taken: Taken, dry_run: bool) -> str:
    step = taken.step
    version = f" version {step.version}" if step.version is not None else ""
    if step.kind == "wait":
        return f"wait: {step.reason}"
    if dry_run:
        return f"would {step.kind.replace('_', ' ')}{version}: {step.reason}"
    if taken.trained is not None:
        return f"trained version {taken.trained}"
    return f"release {taken.release}: {step.kind.replace('_', ' ')}{version}: {step.reason}"


def _record(job: JobSpec, taken: Sequence[Taken], dry_run: bool) -> dict[str, Any]:
    steps = [
        {
            "step": each.step.kind,
            "version": each.step.version if each.trained is None else each.trained,
            "release": each.release,
            "reason": each.step.reason,
        }
        for each in taken
    ]
    return {
        "schema": "tailrace.lifecycle/1",
        "job": job.job,
        "model": job.model.name,
        "dry_run": dry_run,
        "steps": steps,
    }
