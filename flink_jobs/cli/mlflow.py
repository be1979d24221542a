"""`tailrace models push` and `pull`: versions to an MLflow server's registry, and back."""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.models import models
from flink_jobs.cli.models_shared import Name, RegistryFolder, open_registry
from flink_jobs.registry.mlflow.server import Server
from flink_jobs.system.terminal import say
from udfs.model.manifest import digest as digest_of
from udfs.model.signatures import Trust


@models.command()
def push(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="Version to push.", show_default=False)],
    to: Annotated[
        str,
        typer.Option("--to", envvar="MLFLOW_TRACKING_URI", help="MLflow server.", show_default=False),
    ],
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="MLflow experiment; default: the model's name.")
    ] = None,
    registry: RegistryFolder = "models",
) -> None:
    """Copy a version to an MLflow server: a run, and a version of the registered model of that name.

    Parameters, metrics and the digest go with it. What the server has already is not pushed again. Needs
    the extra [bold]mlflow[/]; user and password come from MLFLOW_TRACKING_USERNAME and _PASSWORD.

    [bold]Example[/]

      tailrace models push flight_delay 1 --to http://127.0.0.1:5000
    """
    done = Server(to).push(open_registry(registry), name, version, experiment)
    where = f"{done.model} version {done.version} on the server"
    say(f"{name} version {version} is {where} (run {done.run_id})" + ("" if done.new else ", as before"))


@models.command()
def pull(
    name: Name,
    source: Annotated[
        str,
        typer.Option("--from", envvar="MLFLOW_TRACKING_URI", help="MLflow server.", show_default=False),
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Registered model of the server; default: NAME.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Its version on the server; default: the newest.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", help="Refuse any other than sha256:… before it is loaded.")
    ] = None,
    pickles: Annotated[
        bool,
        typer.Option("--pickles/--no-pickles", help="Take formats that run code when loaded."),
    ] = True,
    registry: RegistryFolder = "models",
) -> None:
    """Register a version of an MLflow server as the next version of NAME, once it has been checked.

    Its files must have the hashes of its manifest, and it must reproduce its golden rows. Loading a pickled
    model runs its code: pull from servers that you trust.

    [bold]Example[/]

      tailrace models pull flight_delay --from http://127.0.0.1:5000 --version 1
    """
    number = str(version) if version is not None else None
    trust = Trust(pickles=pickles)
    found = Server(source).pull(
        open_registry(registry), name, model=model, version=number, expected=digest, trust=trust
    )
    say(f"{name} version {found.version} is {model or name} of the server, {digest_of(found)[:19]}…")
