"""The table of all commands, and the group that imports the one that is called.

`tailrace --help` shows the table and imports no command. A command's module imports at its top what the
command uses, so that `tailrace jobs` pays for no model library.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """Where a command is and what the list says of it; `help` is the first line of its own help.

    The first of `modules` has the command, a function or a group, by its name; the others add to the group.
    """

    panel: str
    modules: tuple[str, ...]
    help: str


COMMANDS = {
    "validate": Entry(
        "Jobs",
        ("jobs",),
        "Check job files, with their models, lookups and expressions; starts and reaches nothing.",
    ),
    "plan": Entry(
        "Jobs",
        ("jobs",),
        "Show what a job file becomes: topics, guarantees, features, and where each model input comes from.",
    ),
    "run": Entry("Jobs", ("run",), "Run a job on this machine, in a Flink of its own that ends with it."),
    "submit": Entry(
        "Jobs",
        ("submit",),
        "Send a job to a Flink cluster; prints its id, and returns when all its tasks run.",
    ),
    "jobs": Entry("Jobs", ("remote",), "List the jobs on a Flink cluster, the newest first."),
    "stop": Entry(
        "Jobs",
        ("remote",),
        "Stop a job with a savepoint, whose path is printed; tailrace submit --savepoint goes on from it.",
    ),
    "schema": Entry("Jobs", ("schema",), "Print the JSON Schema of job files, for editors."),
    "train": Entry("Models", ("train",), "Train a model and register it as its next version."),
    "retrain": Entry(
        "Models",
        ("train",),
        "Train again if the champion's drift or quality is reason enough; for a scheduler.",
    ),
    "lifecycle": Entry(
        "Models",
        ("lifecycle",),
        "Take the steps of a model's life that are due, by the job's policy; for a scheduler.",
    ),
    "backtest": Entry(
        "Models", ("backtest",), "Compare two model versions on history, before one is released."
    ),
    "profile": Entry("Models", ("profile",), "Make the reference profile that drift is measured against."),
    "drift": Entry("Models", ("drift",), "Show what changed in the data, since when, and whether to worry."),
    "quality": Entry(
        "Models",
        ("quality",),
        "Show how right the model is, with labels and without, window after window.",
    ),
    "models": Entry(
        "Models",
        ("models", "models_add", "models_card", "mlflow"),
        "Model versions: list, show, add, verify, sign, compare.",
    ),
    "release": Entry(
        "Models",
        ("release",),
        "Decide which version scores what; running jobs follow, without a restart, at an exact moment.",
    ),
    "audit": Entry(
        "Models",
        ("audit",),
        "Show who released what, when and why, signed by whom, and verify the chain of the log.",
    ),
    "produce": Entry("Topics", ("topics",), "Write lines to a topic, one record each, as they are."),
    "read": Entry("Topics", ("topics",), "Show a topic's committed records."),
    "dlq": Entry(
        "Topics",
        ("dlq",),
        "Print the records of a job's dead letters as they were; encrypted ones for who has the key.",
    ),
    "up": Entry(
        "Local stack",
        ("stack",),
        "Start a Kafka broker and a Flink cluster on this machine, and leave them running.",
    ),
    "down": Entry("Local stack", ("stack",), "Stop what tailrace up started, and nothing else."),
    "status": Entry("Local stack", ("stack",), "Show what tailrace up started and whether it answers."),
}


class Commands(TyperGroup):
    """Lists all commands by the table, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Puts the command itself in the place of its line in the list."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """The command of that name, as typer runs it."""
    first, *_ = [import_module(f"flink_jobs.cli.{module}") for module in COMMANDS[name].modules]
    command = getattr(first, name)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
        return typer.main.get_group(app).commands[name]
    app.command(name)(command)
    return typer.main.get_command(app)
