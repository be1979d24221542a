"""`tailrace late`: the records that came too late for a job, and how they get their score after all."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from flink_jobs.cli import letters, replaying
from flink_jobs.cli.dlq import (
    AsJson,
    By,
    DryRun,
    Every,
    JobFile,
    KeyFile,
    Limit,
    MaxAttempts,
    Places,
    Rate,
    Since,
    Until,
    act,
)


class Action(StrEnum):
    """What is done with them."""

    list = "list"
    show = "show"
    replay = "replay"


def late(
    job: JobFile,
    action: Annotated[Action, typer.Argument(help="What to do.")],
    records: Places = None,
    since: Since = None,
    until: Until = None,
    key_file: KeyFile = None,
    limit: Limit = None,
    by: By = None,
    every: Every = False,
    rate: Rate = None,
    max_attempts: MaxAttempts = 3,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Show a job's late records, and have them scored after all where nothing waits for their time.

    replay sends records to the source topic again, as tailrace dlq does; the job scores them whenever they
    are. It is refused for jobs with windows, which cannot take them any more, and for those that join labels.

    [bold]Examples[/]

      tailrace late conf/flight_delay.yaml list --by day

      tailrace late orders.yaml replay --since 2026-03-01 --rate 500
    """
    which = letters.chosen(records, since=since, until=until)
    asked = letters.ask(job, True, which, key_file, limit)
    options = replaying.Options(None, None, rate, max_attempts, dry_run, every, as_json=as_json)
    act(action, asked, options, by)
