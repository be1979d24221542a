"""`tailrace models card`: a page about a version, for those who have to live with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.models import models
from flink_jobs.cli.models_shared import Name, RegistryFolder, open_registry
from flink_jobs.errors import InputError
from flink_jobs.reports.card import card_html, card_markdown, model_card


@models.command()
def card(
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="Default: the latest.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, .md or .html; default: Markdown here."),
    ] = None,
    registry: RegistryFolder = "models",
) -> None:
    """Write a model card: purpose, data, metrics, drift reference, lineage, signatures and limits.

    [bold]Example[/]

      tailrace models card flight_delay 1 --output card.html
    """
    found = open_registry(registry)
    made = model_card(found, name, version or found.versions(name)[-1])
    if output is None:
        print(card_markdown(made), end="")
        return
    if output.suffix not in (".md", ".html"):
        raise InputError(f"--output must be a file that ends in .md or .html; got {output}")
    try:
        output.write_text(card_html(made) if output.suffix == ".html" else card_markdown(made))
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None
    print(output)
