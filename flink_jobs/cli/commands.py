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
    "jobs": Entry("Jobs", ("clusters",), "List the jobs on a Flink cluster, the newest first."),
    "job": Entry("Jobs", ("job",), "Show how a job does: state, lag, rates, failures, checkpoints, release."),
    "logs": Entry("Jobs", ("logs",), "Show the logs of the processes that run a job, the JobManager's last."),
    "savepoint": Entry("Jobs", ("remote",), "Take a savepoint of a job that goes on, and print its path."),
    "restart": Entry(
        "Jobs",
        ("again",),
        "Stop a job with a savepoint and submit its file again, which goes on from it.",
    ),
    "resume": Entry(
        "Jobs",
        ("again",),
        "Submit a job that is gone, from the newest checkpoint or savepoint that it left.",
    ),
    "stop": Entry(
        "Jobs",
        ("remote",),
        "Stop a job with a savepoint, whose path is printed; tailrace submit --savepoint goes on from it.",
    ),
    "init": Entry(
        "Jobs",
        ("init",),
        "Write the first files of a job: NAME.yaml, NAME.test.jsonl, and the model's train.py.",
    ),
    "migrate": Entry(
        "Jobs",
        ("migrate",),
        "Rewrite job files for the keys of this version of Tailrace; comments and layout stay.",
    ),
    "test": Entry(
        "Jobs", ("tryout",), "Run a job on records beside its file, and check what becomes of each."
    ),
    "preview": Entry(
        "Jobs", ("tryout",), "Show what a job makes of live records, step by step; writes nothing."
    ),
    "k8s": Entry("Jobs", ("k8s",), "Kubernetes: a job for the Flink operator."),
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
        "Show a job's dead letters by reason; print, replay or drop them, encrypted ones with the key.",
    ),
    "late": Entry(
        "Topics",
        ("late",),
        "Show a job's late records, and have them scored after all where nothing waits for their time.",
    ),
    "accounts": Entry(
        "Topics",
        ("accounts",),
        "Check that each record that a job has read has one outcome, and name the first that has not.",
    ),
    "receipt": Entry(
        "Topics",
        ("receipt",),
        "Make one prediction again, of its record and by its version, and compare it to the last bit.",
    ),
    "up": Entry(
        "Local stack",
        ("stack",),
        "Start a Kafka broker and a Flink cluster on this machine, and leave them running.",
    ),
    "down": Entry("Local stack", ("stack",), "Stop what tailrace up started, and nothing else."),
    "status": Entry("Local stack", ("stack",), "Show what tailrace up started and whether it answers."),
    "doctor": Entry(
        "Installation",
        ("doctor",),
        "Look at what Tailrace needs, here and around: a line each, with the fix where something is wrong.",
    ),
    "package": Entry(
        "Installation",
        ("package",),
        "Pack a virtual environment for workers that have none; prints what the job file says then.",
    ),
    "jars": Entry("Installation", ("jars",), "Fetch and verify the jars that come with no Python package."),
}


class Commands(TyperGroup):
    """Lists all commands by the table, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)

    def get_params(self, ctx: Any) -> Any:
        """In the one style, those for shell completion too, which typer adds last."""
        return [_styled(param) for param in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Puts the command itself in the place of its line in the list."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def one_style(command: Any) -> Any:
    """The same command, whose help names values in capitals, and nothing for flags."""
    params = command.get_params
    command.get_params = lambda ctx: [_styled(param) for param in params(ctx)]
    for each in getattr(command, "commands", {}).values():
        one_style(each)
    return command


def _styled(param: Any) -> Any:
    if param.metavar is None:
        param.metavar = _metavar(param)
    if param.param_type_name == "argument":
        param.display_type_rich = _nothing
    return param


def _nothing(ctx: Any) -> None:
    """The name of an argument says enough."""


def _metavar(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"{param.name.upper()}{'...' * (param.nargs != 1)}"
    if getattr(param, "is_flag", False) or getattr(param, "count", False):
        return ""
    kind = param.type_descriptor
    if kind.is_choice:
        return "|".join(str(getattr(choice, "value", choice)) for choice in kind.choices)
    if kind.is_path:
        return "PATH"
    return "N" if "int" in str(kind.annotation) or "float" in str(kind.annotation) else "TEXT"


def load(name: str) -> Any:
    """The command of that name, as typer runs it, in the one style of help."""
    return one_style(_load(name))


def _load(name: str) -> Any:
    first, *_ = [import_module(f"flink_jobs.cli.{module}") for module in COMMANDS[name].modules]
    command = getattr(first, name)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
        return typer.main.get_group(app).commands[name]
    app.command(name)(command)
    return typer.main.get_command(app)
