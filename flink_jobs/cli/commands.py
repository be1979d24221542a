"""Lists the commands of `tailrace` and imports only the chosen one's module, so that start-up is quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """The modules that register a command, its panel in the help, and the first paragraph of its own help."""

    modules: tuple[str, ...]
    panel: str
    help: str


COMMANDS = {
    "validate": Entry(
        ("jobs",),
        "Jobs",
        "Check job files, with their models, lookups and expressions; starts and reaches nothing.",
    ),
    "plan": Entry(
        ("jobs",),
        "Jobs",
        "Show what a job file becomes: topics, guarantees, features, and where each model input comes from.",
    ),
    "run": Entry(
        ("jobs",),
        "Jobs",
        "Run a job on this machine, in a Flink of its own that ends with it.",
    ),
    "submit": Entry(
        ("jobs",),
        "Jobs",
        "Send a job to a Flink cluster; prints its id, and returns when all its tasks run.",
    ),
    "jobs": Entry(
        ("jobs",),
        "Jobs",
        "List the jobs on a Flink cluster, the newest first.",
    ),
    "stop": Entry(
        ("jobs",),
        "Jobs",
        "Stop a job with a savepoint, whose path is printed; tailrace submit --savepoint goes on from it.",
    ),
    "schema": Entry(
        ("jobs",),
        "Jobs",
        "Print the JSON Schema of job files, for editors.",
    ),
    "train": Entry(
        ("train",),
        "Models",
        "Train a model and register it as its next version.",
    ),
    "retrain": Entry(
        ("train",),
        "Models",
        "Train again if the champion's drift records are reason enough; for a scheduler.",
    ),
    "backtest": Entry(
        ("backtest",),
        "Models",
        "Compare two model versions on history, before one is released.",
    ),
    "profile": Entry(
        ("profile",),
        "Models",
        "Make the reference profile that drift is measured against.",
    ),
    "drift": Entry(
        ("drift",),
        "Models",
        "Show what changed in the data, since when, and whether to worry.",
    ),
    "produce": Entry(
        ("topics",),
        "Topics",
        "Write lines to a topic, one record each, as they are.",
    ),
    "read": Entry(
        ("topics",),
        "Topics",
        "Show a topic's committed records.",
    ),
    "up": Entry(
        ("stack",),
        "Local stack",
        "Start a Kafka broker and a Flink cluster on this machine, and leave them running.",
    ),
    "down": Entry(
        ("stack",),
        "Local stack",
        "Stop what [bold]tailrace up[/] started, and nothing else.",
    ),
    "status": Entry(
        ("stack",),
        "Local stack",
        "Show what [bold]tailrace up[/] started and whether it answers.",
    ),
    "models": Entry(
        (
            "models",
            "models_add",
            "mlflow",
        ),
        "Models",
        "Model versions: list, show, add, verify, sign, compare.",
    ),
    "release": Entry(
        ("release",),
        "Models",
        "Decide which version scores what; running jobs follow, without a restart, at an exact moment.",
    ),
}


class LazyCommands(TyperGroup):
    """Shows commands from the table, and loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel, rich_markup_mode="rich")
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> Any:
    """Imports the modules of a command and builds it."""
    app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    for module in COMMANDS[name].modules:
        import_module(f"flink_jobs.cli.{module}").register(app)
    return typer.main.get_group(app).commands[name]
