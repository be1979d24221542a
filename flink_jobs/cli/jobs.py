"""`tailrace validate` and `plan`: what a job file says, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.text import Text

from flink_jobs.cli.connection import environment
from flink_jobs.errors import Diagnostic, InputError, JobFileError, Location, TailraceError
from flink_jobs.jobfile import JobFile as JobFileRead
from flink_jobs.jobfile import read_job
from flink_jobs.jobfile.project import find_project, read_project
from flink_jobs.plan import Plan, describe
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.formats import REGISTERED, key_contract, written_contract
from flink_jobs.plan.project import validated_project
from flink_jobs.plan.state import Verdict, in_words, refusals
from flink_jobs.plan.validate import plan_file, validated_plan
from flink_jobs.run.registered import SubjectError, at_risk, newest, unfilled
from flink_jobs.run.savepoints import judged
from flink_jobs.spec import JobSpec, Source
from flink_jobs.system.masks import PROCESS
from flink_jobs.system.terminal import open_console, say
from udfs.records.contract import Contract

_NO_ACCOUNT = (
    "not known: it has no account of its state (tailrace.json), which tailrace stop leaves beside it"
)
_MOST_NAMES = 5
JobFile = Annotated[Path, typer.Argument(help="The job file.", show_default=False)]


def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Job files, or folders with a tailrace.yaml.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the problems as JSON, for programs.")
    ] = False,
    registry: Annotated[
        bool,
        typer.Option(
            "--registry", help="Ask schema registries too, whether the newest schemas have the fields."
        ),
    ] = False,
) -> None:
    """Check job files, with their models, lookups and expressions; starts and reaches nothing.

    Shows every problem of every file as file:line:column: key path: what it must be; got what it is. With
    [bold]--registry[/] the schema registries of the jobs are asked, too. Of a folder, or without a path, all
    jobs of the project are checked, and whether they fit together.

    [bold]Examples[/]

      tailrace validate conf/flight_delay.yaml

      tailrace validate conf/*.yaml

      tailrace validate

      tailrace validate --json conf/*.yaml | jq '.diagnostics[] | {file, line, key_path}'
    """
    wrong: list[dict[str, object]] = []
    for file in files or [_project_here()]:
        check = _check_project if file.is_dir() else _check_file
        for verdict, error in check(file, registry=registry):
            if error:
                wrong += _as_data(file, error)
            if not as_json:
                say(str(error) if error else verdict, error=bool(error), flush=True)
    if as_json:
        _print_diagnostics(wrong)
    if wrong:
        raise typer.Exit(2)


def _project_here() -> Path:
    path = find_project(Path())
    if path is None:
        raise InputError("give job files: there is no tailrace.yaml here, nor in a folder above")
    return path.parent


def _check_file(file: Path, *, registry: bool) -> Iterator[tuple[str, InputError | None]]:
    try:
        read = read_job(file, environment())
        found = plan_file(read)
        verdict = _verdict(file, found) + (_registered(read, found) if registry else "")
    except InputError as error:
        yield "", error
    else:
        yield verdict, None


def _check_project(folder: Path, *, registry: bool) -> Iterator[tuple[str, InputError | None]]:
    try:
        project = read_project(folder, environment())
        found = validated_project(project, environment())
    except InputError as error:
        yield "", error
        return
    if found.diagnostics:
        yield "", JobFileError(found.diagnostics)
    for path, plan in found.plans.items():
        if registry:
            yield from _check_file(path, registry=True)
        else:
            yield _verdict(path, plan), None


def _registered(file: JobFileRead, found: Plan) -> str:
    """What the registry says of the job's fields, in words. Raises JobFileError where it lacks one."""
    source, told = found.job.source, ""
    if source.schema_registry is None:
        return told
    if source.format in REGISTERED:
        contract = written_contract(source)
        told = _held(file, source, source.subject, contract, ("source", "schema"))
    key = source.key
    if key and key.format in REGISTERED and not key.schema_file and source.schema_registry.of_topics:
        told += _held(file, source, f"{source.topic}-key", key_contract(key), ("source", "key", "fields"))
    return told


def _held(file: JobFileRead, source: Source, subject: str, contract: Contract, below: Location) -> str:
    """What the newest schema of the subject says of the fields `below`."""
    assert source.schema_registry
    written_as = source.format if below[1] == "schema" or not source.key else source.key.format
    try:
        schema = newest(source.schema_registry, subject)
    except SubjectError as error:
        of_key = below[1] == "key"
        location = (*below[:-1], "format") if of_key else ("source", "schema_registry", error.key)
        raise file.error([Diagnostic(location, error.expected, error.found)]) from None
    problems = [
        Diagnostic(location, expected, got, None, name, choices)
        for location, expected, got, name, choices in unfilled(schema, contract, written_as, below)
    ]
    if problems:
        raise file.error(problems)
    told = f"; {subject} version {schema.version}, compatibility {schema.level or 'not said'}"
    risks = at_risk(schema, contract)
    if not risks:
        return told
    names = ", ".join(risks[:_MOST_NAMES]) + ", …" * (len(risks) > _MOST_NAMES)
    return f"{told}, by which a next version may leave out what is required here: {names}"


def _as_data(file: Path, error: InputError) -> list[dict[str, object]]:
    """The error's diagnostics; of a file that cannot be read, what is found instead."""
    if isinstance(error, JobFileError):
        return [{**diagnostic.as_data()} for diagnostic in error.diagnostics]
    unread = Diagnostic((), "a readable job file", PROCESS.hide(str(error)), file=str(file))
    return [{**unread.as_data()}]


def _print_diagnostics(diagnostics: list[dict[str, object]]) -> None:
    print(json.dumps({"schema": "tailrace.diagnostics/1", "diagnostics": diagnostics}, indent=2))


def _verdict(file: Path, found: Plan) -> str:
    count = len(found.inputs)
    inputs = f"{count} input{'s' * (count != 1)}"
    name = found.job.masks.hide(found.manifest.name)
    note = (
        f"\n  warning: {found.job.masks.hide(found.drift.note)}" if found.drift and found.drift.note else ""
    )
    return f"{file}: ok (model {name} version {found.manifest.version}, {inputs}){note}"


def plan(
    file: JobFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, for programs.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the Flink SQL too.")] = False,
    privacy: Annotated[
        bool, typer.Option("--privacy", help="Say where personal data can be, how treated and how long.")
    ] = False,
    savepoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Say what the job can go on from of this savepoint or checkpoint, part by part.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        float | None,
        typer.Option(min=0.001, help="Say what so many records a second need.", show_default=False),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --size: a record in each line, to measure with; else they are made up.",
            show_default=False,
        ),
    ] = None,
    records_per_second: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="With --size: what a slot does, as you have seen it.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what a job file becomes: topics, guarantees, features, and where each model input comes from.

    Secrets are masked. The JSON always holds the SQL; its form is named by its key [bold]schema[/]. With
    [bold]--json[/] the problems of a wrong file are JSON too, as [bold]validate --json[/] prints them.

    [bold]Examples[/]

      tailrace plan conf/flight_delay.yaml

      tailrace plan conf/flight_delay.yaml --sql

      tailrace plan conf/flight_delay.yaml --privacy

      tailrace plan conf/flight_delay.yaml --savepoint savepoints/savepoint-1f2e

      tailrace plan conf/flight_delay.yaml --size 20000

      tailrace plan conf/flight_delay.yaml --json | jq '.model.inputs[] | {name, from}'
    """
    try:
        found = validated_plan(file, environ=environment())
    except InputError as error:
        if not as_json:
            raise
        _print_diagnostics(_as_data(file, error))
        raise typer.Exit(2) from None
    if size is not None:
        from flink_jobs.cli.sizing import sized  # Start-up: loads what workers load.  # noqa: PLC0415

        needs = sized(found, size, records=records, records_per_second=records_per_second)
        if as_json:
            print(json.dumps(needs.as_data(found.job.job), indent=2))
        else:
            say(needs.text(found).rstrip("\n"))
        return
    verdicts = judged(found, savepoint, lambda: _topic_id(found.job)) if savepoint else ()
    if as_json:
        data = describe.as_data(found)
        if privacy:
            data = {key: data[key] for key in ("schema", "job", "privacy")}
        of_savepoint = {"savepoint": _savepoint_as_data(verdicts)} if savepoint else {}
        print(json.dumps(data | of_savepoint, indent=2))
    else:
        console = open_console(soft_wrap=True)
        shown = describe.privacy_text(found) if privacy else describe.as_text(found)
        text = Text(shown + (_savepoint_as_text(savepoint, verdicts) if savepoint else ""))
        text.highlight_regex(r"(?m)^\S.*$", "bold")
        console.print(text, end="")
        if sql:
            print("\n" + describe.as_sql(found), end="")
    if refusals(verdicts or (), ()):
        raise typer.Exit(2)


def _topic_id(job: JobSpec) -> str:
    """Of the source, by Kafka; empty, and a warning, where that does not say."""
    from flink_jobs.kafka import topic_id  # Start-up: a Kafka client.  # noqa: PLC0415

    try:
        return topic_id(client_settings(job), job.source.topic)
    except TailraceError as error:
        why = f"it is not known whether {job.source.topic} was made anew since: {error}"
        structlog.get_logger().warning("topic_not_compared", reason=why)
        return ""


def _savepoint_as_text(savepoint: str, verdicts: Sequence[Verdict] | None) -> str:
    lines = in_words(verdicts) if verdicts is not None else [_NO_ACCOUNT]
    return "\n".join(["", f"From {savepoint}", *(f"  {line}" for line in lines), ""])


def _savepoint_as_data(verdicts: Sequence[Verdict] | None) -> list[dict[str, object]] | None:
    if verdicts is None:
        return None
    return [{"part": v.part, "outcome": v.outcome, "reason": v.why, "names": [*v.names]} for v in verdicts]
