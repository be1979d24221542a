"""`tailrace models`: which versions there are, and which one jobs use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.errors import InputError

if TYPE_CHECKING:
    from flink_jobs.registry import Registry

models = typer.Typer(no_args_is_help=True, help="List model versions; choose the one that jobs use.")
RegistryFolder = Annotated[
    Path, typer.Option("--registry", envvar="TAILRACE_MODELS", help="Folder of all models.")
]
Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the commands to the app."""
    app.add_typer(models, name="models", rich_help_panel="Models")


@models.command("list")
def list_versions(registry: RegistryFolder = Path("models")) -> None:
    """List all models and their versions, with digest, format and champion.

    [bold]Example[/]

      tailrace models list --registry models
    """
    from rich.console import Console
    from rich.table import Table

    from flink_jobs.registry import Registry
    from udfs.manifest import digest

    found = Registry(registry)
    table = Table("model", "version", "champion", "format", "created", "digest")
    for name in found.models():
        champion = _champion(found, name)
        for version in found.versions(name):
            manifest = found.manifest(name, version)
            mark = "yes" if version == champion else ""
            table.add_row(
                name, str(version), mark, manifest.format, manifest.created_at, digest(manifest)[:19]
            )
    Console().print(table)


@models.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="Version to use.", show_default=False)],
    registry: RegistryFolder = Path("models"),
) -> None:
    """Make a version the champion: what jobs with [bold]use: champion[/] score with when they start.

    The version is loaded first, and must reproduce its golden rows in this environment.

    [bold]Example[/]

      tailrace models promote flight_delay 2
    """
    from flink_jobs.registry import Registry
    from udfs.errors import ModelError
    from udfs.model import load_version

    found = Registry(registry)
    found.manifest(name, version)
    try:
        load_version(found.folder(name, version))
    except ModelError as error:
        raise InputError(f"{name} version {version} cannot be used: {error}") from error
    release = found.promote(name, version)
    print(f"{name} version {version} is the champion (release {release.number})")


def _champion(registry: Registry, name: str) -> int | None:
    try:
        return registry.resolve(name, "champion").version
    except InputError:
        return None
