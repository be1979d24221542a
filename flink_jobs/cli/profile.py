"""`tailrace profile`: a reference profile from any Parquet or CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.types as types
import typer

from flink_jobs.cli.column_types import Types, declared_types
from flink_jobs.cli.connection import environment
from flink_jobs.errors import InputError
from flink_jobs.history.table_files import read_table
from flink_jobs.jobfile import load_job
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.personal import personal_columns
from flink_jobs.registry.importing.version import read_signature
from flink_jobs.system.terminal import say
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.references import MIN_ROWS
from udfs.suggest import hint
from udfs.types import ColumnType


def profile(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV file with a header.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where to write the profile.")] = Path("profile.json"),
    columns: Annotated[
        str | None,
        typer.Option(
            help="Input columns, with commas. Default: all that are no outputs.", show_default=False
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(help="Columns that the model made, such as score,prediction.", show_default=False),
    ] = None,
    segments: Annotated[
        str | None,
        typer.Option(
            help="Columns whose values get references of their own, for drift.segments.", show_default=False
        ),
    ] = None,
    event_time: Annotated[
        str | None,
        typer.Option(
            help="Column of the rows' times, for references by hour of the week (drift.seasonal).",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            help="Vectors whose elements NAME_0, NAME_1 … are columns: watched by norm and distance.",
            show_default=False,
        ),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file: the model's inputs, for their types.", show_default=False),
    ] = None,
    type_: Types = None,
    job: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Leave out what this job file calls personal data.", show_default=False
        ),
    ] = None,
    bins: Annotated[int, typer.Option(min=2, max=1000, help="Bins of a numeric column.")] = 64,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Values kept of a categorical column.")] = 100,
) -> None:
    """Make the reference profile that drift is measured against.

    The rows should be what the model is meant for: held-out training rows. Columns of a CSV file have the
    types of --type, or of the signature, or else those that their values look like.

    [bold]Examples[/]

      tailrace profile holdout.parquet --out profile.json

      tailrace profile holdout.csv --columns dep_delay,origin --outputs score,prediction

      tailrace profile holdout.csv --type zip=string

      tailrace profile holdout.parquet --outputs score --segments origin --event-time departed_at
    """
    table = read_table(file, _types(signature, type_))
    made_names = _names(outputs, table, file) or []
    parts = _names(segments, table, file) or []
    times = _times(event_time, table, file) if event_time else None
    others = {*made_names, event_time}
    names = _names(columns, table, file) or [name for name in table.column_names if name not in others]
    if private := _private(job, [*names, *parts]):
        say(f"left out, as personal data: {', '.join(private)}")
        names, parts = ([name for name in listed if name not in private] for listed in (names, parts))
    _require_usable(table.select(list(dict.fromkeys([*names, *made_names, *parts]))), file)
    wide = [name.strip() for name in vectors.split(",")] if vectors else []
    try:
        made = reference_profile(
            table.select(names),
            table.select(made_names) if made_names else None,
            bins=bins,
            top=top,
            segments=table.select(parts),
            event_time=times,
            vectors=wide,
        )
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
    try:
        out.write_bytes(encode_profile(made))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    _print_summary(out, table, names, made_names)
    if ids := made["ids"]:
        say(f"columns that tell rows apart are not watched unless drift.columns names them: {', '.join(ids)}")
    _print_parts(made)


def _private(job: Path | None, names: list[str]) -> list[str]:
    """The inputs, or columns, that carry a label in the job file."""
    if job is None:
        return []
    found = load_job(job, environment())
    labels = personal_columns(found, job_columns(found))
    return [name for name in dict.fromkeys(names) if found.model.inputs.get(name, name) in labels]


def _types(signature: Path | None, given: list[str] | None) -> dict[str, ColumnType]:
    inputs = read_signature(signature).inputs if signature else ()
    return {item.name: item.type for item in inputs} | declared_types(given)


def _names(given: str | None, table: pa.Table, file: Path) -> list[str] | None:
    if given is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name not in table.column_names:
            meant = hint(name, table.column_names) or f"; it has {', '.join(table.column_names[:20])}"
            raise InputError(f"{file} has no column {name!r}{meant}")
    return names


def _times(name: str, table: pa.Table, file: Path) -> pa.ChunkedArray:
    """Timestamps, ISO 8601 texts or milliseconds since the epoch, as timestamps in UTC."""
    _names(name, table, file)
    column = table[name]
    try:
        if types.is_integer(column.type):
            column = column.cast(pa.timestamp("ms"))
        column = column.cast(pa.timestamp("ms", tz="UTC"), safe=False)
    except pa.ArrowException as error:
        raise InputError(
            f"{file}: column {name!r} must be timestamps, ISO 8601 texts or milliseconds; {error}"
        ) from error
    if column.null_count:
        raise InputError(
            f"{file}: column {name!r} must have a time in each row; {column.null_count:,} have none"
        )
    return column


def _require_usable(table: pa.Table, file: Path) -> None:
    """Numbers, text and booleans can be profiled; dates and nested values cannot."""
    usable = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    for field in table.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not (types.is_null(kind) or any(check(kind) for check in usable)):
            raise InputError(
                f"{file}: column {field.name!r} must be numbers, text or booleans; got {field.type}"
                " (--columns chooses others)"
            )


def _print_summary(out: Path, table: pa.Table, names: list[str], outputs: list[str]) -> None:
    kinds = [table.schema.field(name).type for name in (*names, *outputs)]
    numeric = sum(types.is_integer(kind) or types.is_floating(kind) for kind in kinds)
    print(f"{table.num_rows:,} rows, {len(names)} inputs, {len(outputs)} outputs; {numeric} of them numeric")
    if empty := [name for name in (*names, *outputs) if table[name].null_count == table.num_rows]:
        say(f"without any value: {', '.join(empty)}")
    print(f"wrote {out}")


def _print_parts(made: dict[str, Any]) -> None:
    """Of which parts there are enough rows for a reference of their own."""
    for column, values in made.get("segments", {}).items():
        enough = sum(part["rows"] >= MIN_ROWS for part in values.values())
        print(
            f"values of {column}: {enough} of {len(values)} have the {MIN_ROWS} rows that a reference needs"
        )
    if hours := made.get("hour_of_week"):
        rows = sorted(part["rows"] for part in hours.values())
        print(f"hours of the week: {len(hours)} of 168, of {rows[0]:,} to {rows[-1]:,} rows")
