"""The options that the commands of `tailrace release` share, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from pydantic_core import PydanticCustomError

from flink_jobs.cli.connection import models_place
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.plan.model import release_trust_of
from flink_jobs.registry.releases import Signing
from flink_jobs.registry.sign import read_private_key
from flink_jobs.spec.scalars import parse_duration
from udfs.releases.chain import ANY_RELEASER, ReleaseTrust
from udfs.releases.log import BEGINNING
from udfs.times import parse_time

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.", show_default=False)]
Version = Annotated[int, typer.Argument(min=1, help="Version.", show_default=False)]
RegistryRoot = Annotated[
    str,
    typer.Option(
        "--registry", envvar="TAILRACE_MODELS", callback=models_place, help="Folder or URI of all models."
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        help="From which event time on: 2026-03-01T12:00Z, +90s (from now), or start (all records). "
        "Default: as soon as all workers know of it.",
        show_default=False,
    ),
]
Lead = Annotated[
    str, typer.Option(help="How far ahead a moment must lie: twice the jobs' model.refresh or more.")
]
Past = Annotated[
    bool, typer.Option("--past", help="Allow an earlier moment; records scored before then stay as they are.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the release, write nothing.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the log.", show_default=False)]
To = Annotated[
    int | None, typer.Option(help="Version to go to; default: the champion before.", show_default=False)
]

SignWith = Annotated[
    Path | None,
    typer.Option(
        "--sign-with",
        envvar="TAILRACE_RELEASE_KEY",
        help="Private key of a releaser, to sign the release with; made by tailrace models keygen.",
        show_default=False,
    ),
]
Adopt = Annotated[
    bool,
    typer.Option("--adopt", help="With --sign-with: vouch for the releases so far, which are not signed."),
]
TrustedBy = Annotated[
    Path | None,
    typer.Option(
        "--job",
        metavar="JOB_FILE",
        help="The log must be what this job demands: its trusted keys and approvals.",
        show_default=False,
    ),
]


def parse_signing(key: Path | None, adopt: bool) -> Signing | None:
    """What signs a release; None without a key."""
    if key is None:
        if adopt:
            raise InputError("--adopt needs the key that signs (--sign-with)")
        return None
    return Signing(read_private_key(key), adopt)


def parse_trust(job_file: Path | None, name: str) -> ReleaseTrust:
    """What the job demands of the release log of its model; nothing without a job."""
    if job_file is None:
        return ANY_RELEASER
    job = load_job(job_file)
    if job.model.name != name:
        raise InputError(f"--job must be a job of model {name}; {job_file} is one of {job.model.name}")
    return msgspec.structs.replace(release_trust_of(job), max_age_ms=None)


def parse_activation(text: str | None, now: int) -> int | None:
    """Milliseconds since the epoch of what --at says; None for its default."""
    if text is None:
        return None
    if text == "start":
        return BEGINNING
    if text.startswith("+"):
        return now + parse_lead(text[1:], "--at")
    try:
        return parse_time(text)
    except ValueError as error:
        raise InputError(f"--at: {error}, or +90s, or start") from None


def parse_lead(text: str, option: str) -> int:
    """Milliseconds of a duration, given with `option`."""
    try:
        return parse_duration(text)
    except PydanticCustomError:
        raise InputError(f"{option} must be a duration such as 90s, 5m or 1h; got {text!r}") from None


def parse_part(text: str, option: str, least: float, most: float) -> float:
    """A number or per cent between these, given with `option`."""
    try:
        part = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        part = -1.0
    if not least <= part <= most:
        raise InputError(f"{option} must be from {least:g} to {most:g}, or per cent such as 5%; got {text!r}")
    return part


def parse_share(text: str) -> float:
    """Above 0 and at most 1, of a number or per cent, as job files have it."""
    from pydantic_core import PydanticCustomError  # Start-up: slow to import.  # noqa: PLC0415

    from flink_jobs.spec import scalars  # Start-up: loads pydantic.  # noqa: PLC0415

    try:
        share = scalars.parse_share(text)
    except PydanticCustomError:
        share = 0.0
    if not share:
        raise InputError(f"--share must be above 0 and at most 1, or per cent such as 5%; got {text!r}")
    return share
