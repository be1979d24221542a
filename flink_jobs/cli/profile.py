"""`tailrace profile`: a reference profile from any Parquet or CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def register(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command(rich_help_panel="Models")(profile)


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
    bins: Annotated[int, typer.Option(min=2, max=1000, help="Bins of a numeric column.")] = 64,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Values kept of a categorical column.")] = 100,
) -> None:
    """Make the reference profile that drift is measured against.

    The rows should be what the model is meant for: held-out training rows.

    [bold]Examples[/]

      tailrace profile holdout.parquet --out profile.json

      tailrace profile holdout.csv --columns dep_delay,origin --outputs score,prediction
    """
    from udfs.profile import encode_profile, reference_profile

    table = _read(file)
    made_names = _names(outputs, table, file) or []
    names = _names(columns, table, file) or [name for name in table.column_names if name not in made_names]
    _require_usable(table.select([*names, *made_names]), file)
    made = reference_profile(
        table.select(names), table.select(made_names) if made_names else None, bins=bins, top=top
    )
    try:
        out.write_bytes(encode_profile(made))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    _print_summary(out, table, names, made_names)


def _read(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
    if not file.is_file():
        raise InputError(f"{file} must be a Parquet or CSV file; there is no such file")
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file} must end in .parquet or .csv; got {file.suffix or 'no ending'!r}")
    try:
        table = reader(str(file))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} must be a {file.suffix[1:]} file; {error}") from error
    if not table.num_rows:
        raise InputError(f"{file} must have rows; got none")
    if len(set(table.column_names)) != table.num_columns:
        raise InputError(f"{file} must have each column once; got {', '.join(table.column_names)}")
    return table


def _names(given: str | None, table: pa.Table, file: Path) -> list[str] | None:
    import difflib

    if given is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name not in table.column_names:
            near = difflib.get_close_matches(name, table.column_names, 1)
            hint = (
                f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(table.column_names[:20])}"
            )
            raise InputError(f"{file} has no column {name!r}{hint}")
    return names


def _require_usable(table: pa.Table, file: Path) -> None:
    """Numbers, text and booleans can be profiled; dates and nested values cannot."""
    import pyarrow.types as types

    usable = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    for field in table.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not (types.is_null(kind) or any(check(kind) for check in usable)):
            raise InputError(
                f"{file}: column {field.name!r} must be numbers, text or booleans; got {field.type}"
                " (--columns chooses others)"
            )


def _print_summary(out: Path, table: pa.Table, names: list[str], outputs: list[str]) -> None:
    import pyarrow.types as types

    kinds = [table.schema.field(name).type for name in (*names, *outputs)]
    numeric = sum(types.is_integer(kind) or types.is_floating(kind) for kind in kinds)
    print(f"{table.num_rows:,} rows, {len(names)} inputs, {len(outputs)} outputs; {numeric} of them numeric")
    if empty := [name for name in (*names, *outputs) if table[name].null_count == table.num_rows]:
        print(f"without any value: {', '.join(empty)}")
    print(f"wrote {out}")
