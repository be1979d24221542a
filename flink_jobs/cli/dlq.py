"""`tailrace dlq`: a job's dead letters as they were: counted, shown, exported, replayed, dropped."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli import letters, replaying
from flink_jobs.cli.connection import environment
from flink_jobs.cli.repair import Mapping
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file.", show_default=False)]
Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="RECORD", help="PARTITION:OFFSET, as list prints it.", show_default=False),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Those from this time on.", show_default=False)
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Those before this time.", show_default=False)
]
KeyFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--key-file", metavar="PATH", help="A further key, such as one of before.", show_default=False
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="End after so many.", show_default=False)]
Every = Annotated[bool, typer.Option("--all", help="replay and drop: all records of the topic.")]
Rate = Annotated[
    float | None,
    typer.Option(min=0.01, help="replay: at most so many records a second.", show_default=False),
]
MaxAttempts = Annotated[int, typer.Option(min=1, help="replay: leave what was replayed so often before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="replay and drop: only say what would be done.")]
AsJson = Annotated[bool, typer.Option("--json", help="list, show, replay, drop: print JSON.")]
By = Annotated[str | None, typer.Option(help="list: by hour or by day, too.", show_default=False)]


class Action(StrEnum):
    """What is done with them."""

    list = "list"
    show = "show"
    export = "export"
    replay = "replay"
    drop = "drop"


def dlq(
    job: JobFile,
    action: Annotated[Action, typer.Argument(help="What to do; export prints JSON, a line each.")],
    records: Places = None,
    stage: Annotated[str | None, typer.Option(help="Those of this stage.", show_default=False)] = None,
    reason: Annotated[str | None, typer.Option(help="Those of this reason.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(help="Those on which this model raised.", show_default=False)
    ] = None,
    since: Since = None,
    until: Until = None,
    late: Annotated[bool, typer.Option("--late", help="The late records, not the dead letters.")] = False,
    key_file: KeyFile = None,
    limit: Limit = None,
    by: By = None,
    every: Every = False,
    expression: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="EXPRESSION",
            help="replay: repair each record's JSON by this JMESPath expression.",
            show_default=False,
        ),
    ] = None,
    fixed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="replay: a corrected job file; what it still refuses is left, its source gets the others.",
            show_default=False,
        ),
    ] = None,
    from_source: Annotated[
        bool,
        typer.Option(
            "--from-source", help="replay: read records that the topic does not have from where they stand."
        ),
    ] = False,
    rate: Rate = None,
    max_attempts: MaxAttempts = 3,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Show a job's dead letters by reason; print, replay or drop them, encrypted ones with the key.

    replay sends records to the source topic again, each at most once, also after it was killed: run it again.
    drop notes that nobody will. Both note what they did in the topic JOB.replays.

    The key is the job file's privacy.encrypt_key. A record that cannot be had back is exported without its
    original, and the command ends with status 1; so does a replay that had to leave one.

    [bold]Examples[/]

      tailrace dlq conf/flight_delay.yaml list

      tailrace dlq conf/flight_delay.yaml show 0:17

      tailrace dlq conf/flight_delay.yaml export --limit 10 | jq -c '{reason, original}'

      tailrace dlq conf/flight_delay.yaml replay --reason not_in_values --fixed conf/corrected.yaml

      tailrace dlq orders.yaml replay --reason wrong_type --map 'merge(@, {fee: to_number(fee)})'
    """
    if action != Action.replay and (expression or fixed or rate):
        raise InputError("--map, --fixed and --rate are for replay")
    which = letters.chosen(records, stage=stage, reason=reason, model=model, since=since, until=until)
    asked = letters.ask(job, late, which, key_file, limit)
    options = replaying.Options(
        Mapping(expression) if expression else None,
        load_job(fixed, environment()) if fixed else None,
        rate,
        max_attempts,
        dry_run,
        every,
        from_source,
        as_json,
    )
    act(action, asked, options, by)


def act(action: str, asked: letters.Asked, options: replaying.Options, by: str | None) -> None:
    """Does it. Raises InputError for what cannot be asked for."""
    if by is not None and by not in letters.BUCKETS:
        raise InputError(f"--by must be hour or day; got {by!r}")
    match action:
        case "list":
            letters.list_records(asked, by, options.as_json)
        case "show":
            letters.show(asked, options.as_json)
        case "export":
            letters.export(asked)
        case "replay":
            replaying.replay(asked, options)
        case "drop":
            replaying.drop(asked, options)
