"""`tailrace release`: which version scores what, from which moment on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from flink_jobs.cli.connection import Brokers, Job, environment, kafka_settings
from flink_jobs.cli.release_options import (
    Adopt,
    At,
    DryRun,
    Lead,
    Name,
    Past,
    Reason,
    RegistryRoot,
    SignWith,
    To,
    TrustedBy,
    Version,
    parse_activation,
    parse_lead,
    parse_share,
    parse_signing,
    parse_trust,
)
from flink_jobs.cli.release_plan import plan
from flink_jobs.errors import InputError, WorkError
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.reports.comparisons import judge_job, read_comparisons
from flink_jobs.reports.releases import comparison_tables, describe_release, history_table
from flink_jobs.reports.releases_page import render
from flink_jobs.system.terminal import json_line, open_console, say
from udfs.errors import ModelError
from udfs.model.loading import load_version
from udfs.model.trial import check_survives
from udfs.releases.log import ReleaseRecord
from udfs.rollout.compare import add_up
from udfs.rollout.records import ComparisonRecord
from udfs.times import now_ms

release = typer.Typer(
    no_args_is_help=True,
    help="Decide which version scores what; running jobs follow, without a restart, at an exact moment.",
)


@release.command()
def promote(
    name: Name,
    version: Version,
    registry: RegistryRoot = "models",
    at: At = None,
    lead: Lead = "20s",
    past: Past = False,
    reason: Reason = "",
    sign_with: SignWith = None,
    adopt: Adopt = False,
    job: TrustedBy = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            "--if",
            metavar="JOB_FILE",
            help="Only if the version passes the gate of this job, by its comparisons topic.",
            show_default=False,
        ),
    ] = None,
    brokers: Brokers = None,
    dry_run: DryRun = False,
) -> None:
    """Make a version the champion. It is loaded first, and must reproduce its golden rows here.

    [bold]Examples[/]

      tailrace release promote flight_delay 2 --reason "better in winter"

      tailrace release promote flight_delay 2 --if conf/flight_delay.yaml
    """
    moment = _moment(at, lead, past, reason)
    releases = _releases(registry, name, sign_with, adopt, job)
    _check_loads(registry, name, version)
    if gate:
        _check_gate(gate, version, brokers)
    _done(releases.promote(version, moment, dry_run=dry_run), dry_run)


@release.command()
def canary(
    name: Name,
    version: Version,
    share: Annotated[str, typer.Option(help="Share of the keys: 5% or 0.05.", show_default=False)],
    key: Annotated[
        str | None,
        typer.Option(
            help="Column whose values are divided; default: the running canary's.", show_default=False
        ),
    ] = None,
    registry: RegistryRoot = "models",
    at: At = None,
    lead: Lead = "20s",
    past: Past = False,
    reason: Reason = "",
    sign_with: SignWith = None,
    adopt: Adopt = False,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """Let a version score a share of the keys, each key always on the same side.

    [bold]Example[/]

      tailrace release canary flight_delay 2 --share 10% --key tailnum
    """
    moment = _moment(at, lead, past, reason)
    releases = _releases(registry, name, sign_with, adopt, job)
    _check_loads(registry, name, version)
    _done(releases.canary(version, parse_share(share), key, moment, dry_run=dry_run), dry_run)


@release.command()
def shadow(
    name: Name,
    versions: Annotated[
        list[int] | None,
        typer.Argument(metavar="[VERSION]…", help="None ends all shadows.", show_default=False),
    ] = None,
    registry: RegistryRoot = "models",
    at: At = None,
    lead: Lead = "20s",
    past: Past = False,
    reason: Reason = "",
    sign_with: SignWith = None,
    adopt: Adopt = False,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """Let versions score beside the champion, to a topic of their own (the job file's shadows).

    [bold]Example[/]

      tailrace release shadow flight_delay 2
    """
    moment = _moment(at, lead, past, reason)
    releases = _releases(registry, name, sign_with, adopt, job)
    _done(releases.shadow(tuple(versions or ()), moment, dry_run=dry_run), dry_run)


@release.command()
def rollback(
    name: Name,
    to: To = None,
    registry: RegistryRoot = "models",
    at: At = None,
    lead: Lead = "20s",
    past: Past = False,
    reason: Reason = "",
    sign_with: SignWith = None,
    adopt: Adopt = False,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """End the canary; without one, go back to the champion before.

    [bold]Example[/]

      tailrace release rollback flight_delay --reason "too many false alarms"
    """
    moment = _moment(at, lead, past, reason)
    releases = _releases(registry, name, sign_with, adopt, job)
    _done(releases.rollback(moment, to, dry_run=dry_run), dry_run)


@release.command()
def withdraw(
    name: Name,
    version: Version,
    to: To = None,
    registry: RegistryRoot = "models",
    lead: Lead = "20s",
    reason: Reason = "",
    sign_with: SignWith = None,
    adopt: Adopt = False,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """Emergency stop: a version scores nothing more from each worker's next look at the log on, for good.

    [bold]Example[/]

      tailrace release withdraw flight_delay 2 --reason "wrong training data"
    """
    moment = _moment(None, lead, False, reason)
    releases = _releases(registry, name, sign_with, adopt, job)
    _done(releases.withdraw(version, moment, to, dry_run=dry_run), dry_run)


@release.command()
def approve(
    name: Name,
    number: Annotated[
        int | None, typer.Argument(min=1, help="Release; default: the newest.", show_default=False)
    ] = None,
    registry: RegistryRoot = "models",
    at: At = None,
    lead: Lead = "20s",
    past: Past = False,
    reason: Reason = "",
    sign_with: SignWith = None,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """Sign a release of somebody else, for jobs that ask for several (model.approvals).

    It is in force from its own moment on, or from that of the last approval, whichever is later.

    [bold]Example[/]

      tailrace release approve flight_delay --sign-with bob.key --reason "checked the comparison"
    """
    moment = _moment(at, lead, past, reason)
    _done(_releases(registry, name, sign_with, False, job).approve(number, moment, dry_run=dry_run), dry_run)


@release.command()
def confirm(
    name: Name,
    registry: RegistryRoot = "models",
    lead: Lead = "20s",
    reason: Reason = "",
    sign_with: SignWith = None,
    job: TrustedBy = None,
    dry_run: DryRun = False,
) -> None:
    """Say anew what is in force, for jobs that follow no old log (model.max_release_age).

    [bold]Example[/]

      tailrace release confirm flight_delay --sign-with alice.key
    """
    moment = _moment(None, lead, False, reason)
    _done(_releases(registry, name, sign_with, False, job).confirm(moment, dry_run=dry_run), dry_run)


@release.command()
def history(
    name: Name,
    registry: RegistryRoot = "models",
    job: TrustedBy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON lines.")] = False,
) -> None:
    """Show all releases of a model, the newest first, and which is in force now.

    [bold]Example[/]

      tailrace release history flight_delay
    """
    log = _releases(registry, name, job=job).log()
    if log is None:
        raise InputError(
            f"model {name} has no release yet; make one with `tailrace release promote {name} 1`"
        )
    if as_json:
        for record in log.records:
            print(json_line(msgspec.json.encode(record).decode()))
        return
    open_console().print(history_table(log, now_ms()))


@release.command()
def compare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="COMPARISONS", help="Comparisons topic, or a file of its records (JSON lines)."
        ),
    ],
    windows: Annotated[int, typer.Option(min=1, help="The last so many windows, added up.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sum as JSON.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write all windows as one page for a browser.", show_default=False),
    ] = None,
    job: Job = None,
    brokers: Brokers = None,
) -> None:
    """Show the versions beside each other: errors, agreement, scores, time, and how right they were.

    [bold]Examples[/]

      tailrace release compare flight-delay.comparisons

      tailrace release compare flight-delay.comparisons --html release.html
    """
    found = read_comparisons(source, kafka_settings(brokers, job))
    if not found:
        raise InputError(f"{source} holds no comparisons yet; a window of the job must close first")
    if html:
        _write_page(html, found)
        return
    records = found[-windows:]
    total = add_up(records)
    if as_json:
        print(json.dumps(msgspec.to_builtins(total)))
        return
    console = open_console()
    for part in comparison_tables(total, records, found):
        console.print(part)


release.command()(plan)


def _write_page(path: Path, records: list[ComparisonRecord]) -> None:
    try:
        path.write_text(render(records), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    say(f"wrote {path}", error=True)


def _moment(at: str | None, lead: str, past: bool, reason: str) -> Activation:
    lead_ms = parse_lead(lead, "--lead")
    return Activation(parse_activation(at, now_ms()), lead_ms, past or at == "start", reason)


def _releases(
    registry: str, name: str, sign_with: Path | None = None, adopt: bool = False, job: Path | None = None
) -> Releases:
    signing, trust = parse_signing(sign_with, adopt), parse_trust(job, name)
    return Releases(Registry(registry), name, signing=signing, trust=trust)


def _check_loads(registry: str, name: str, version: int) -> None:
    found = Registry(registry)
    found.manifest(name, version)
    try:
        check_survives(found.location(name, version))
        load_version(found.location(name, version))
    except ModelError as error:
        raise InputError(f"{name} version {version} cannot be used: {error}") from error


def _check_gate(job_file: Path, version: int, brokers: str | None) -> None:
    """Raises WorkError unless the version passes by all that is known of it."""
    report = judge_job(job_file, version, brokers, environment())
    if report.outcome != "pass":
        why = "; ".join(report.reasons)
        raise WorkError(f"version {version} does not pass the gate ({report.outcome}): {why}")


def _done(record: ReleaseRecord, dry_run: bool) -> None:
    say(f"{'would be ' if dry_run else ''}release {record.number}: {describe_release(record)}")
