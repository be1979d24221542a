"""What the demos share: folders, and a line of progress."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from flink_jobs.demo import flights
from flink_jobs.system.data import PROJECT, data_file, is_checkout

# An installed demo works in the folder that it is started in.
HOME = PROJECT if is_checkout() else Path.cwd()
TRAINING = HOME / "models" / "flight_delay"

FOLDER = HOME / ".tailrace" / "demo"

# Wide enough for the summary's tables where no terminal says how wide it is.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 110)

Note = Callable[[str], None]


def lay_out() -> None:
    """Writes the demo's files where they are missing, outside of a checkout; what is there stays as it is."""
    for name in ("conf/flight_delay.yaml", "conf/flight_delay_live.yaml", "models/flight_delay/train.py"):
        if not (HOME / name).exists():
            (HOME / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_file(name), HOME / name)


def write_planes(folder: Path) -> None:
    """Writes the lookup table, whole or not at all: another demo may be reading it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"planes.{os.getpid()}.part"
    flights.write_planes(part)
    part.replace(folder / "planes.parquet")


@contextmanager
def step(title: str) -> Iterator[Note]:
    """A line that shows what goes on: kept up to date at a terminal, else printed now and then."""
    started = printed = time.monotonic()
    latest = ""

    def note(text: str) -> None:
        nonlocal latest, printed
        latest = text
        status.update(f"{title}: {text}")
        if not console.is_terminal and time.monotonic() - printed > 5:
            printed = time.monotonic()
            console.print(f"  {text}", markup=False)

    with console.status(title) as status:
        yield note
    console.print(f"[bold]{title}[/] ({time.monotonic() - started:.1f} s)  {latest}")
