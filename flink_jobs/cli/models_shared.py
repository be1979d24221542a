"""What the commands of `tailrace models` share: their options, and how they print.

def command(name: Name, registry: RegistryFolder = "models", as_json: as_json_option = False) -> None: ...
"""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.connection import models_place
from flink_jobs.registry import Registry
from udfs.model.signatures import SIGNATURES

RegistryFolder = Annotated[
    str,
    typer.Option(
        "--registry", envvar="TAILRACE_MODELS", callback=models_place, help="Folder or URI of all models."
    ),
]
Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
Version = Annotated[int, typer.Argument(min=1, help="Version of the model.", show_default=False)]
as_json_option = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def open_registry(place: str) -> Registry:
    """The registry at a path or URI."""
    return Registry(place)


def signers(registry: Registry, name: str, version: int) -> list[str]:
    """The ids of the keys that claim to have signed a version; `verify` tells whether they have."""
    entries = registry.store.names(f"{name}/versions/{version}/{SIGNATURES}")
    return [entry.removesuffix(".json") for entry in entries]
