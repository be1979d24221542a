"""`tailrace audit`: who released what, when and why, and whether the log is true."""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.release_options import Name, RegistryRoot, TrustedBy, parse_trust
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Releases
from flink_jobs.reports import audit as report
from flink_jobs.system.terminal import open_console, print_json


def audit(
    name: Name,
    registry: RegistryRoot = "models",
    job: TrustedBy = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (tailrace.audit/1).")] = False,
) -> None:
    """Show who released what, when and why, signed by whom, and verify the chain of the log.

    With --job the log must be what that job demands: its trusted keys and approvals. Exits with 1 if it
    is not.

    [bold]Examples[/]

      tailrace audit flight_delay

      tailrace audit flight_delay --job conf/flight_delay.yaml --json
    """
    found = report.audit(Releases(Registry(registry), name, trust=parse_trust(job, name)), name)
    if as_json:
        print_json(found)
    else:
        console = open_console()
        for part in report.audit_tables(found):
            console.print(part, soft_wrap=not hasattr(part, "columns"))
    if found["problem"]:
        raise typer.Exit(1)
