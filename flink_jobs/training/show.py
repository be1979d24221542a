"""What a training shows while it runs: a changing line at a terminal, a line now and then elsewhere.

show = Show(Console(stderr=True))
with show.step("Features") as note:
    note("165,081 records")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from flink_jobs.training.contract import Trainer
from flink_jobs.training.search import Limits

PLAIN_SECONDS = 5.0
Note = Callable[[str], None]


class Show:
    """Shows steps and a search on a console."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    @classmethod
    def silent(cls) -> Show:
        return cls(Console(quiet=True))

    @classmethod
    def through(cls, note: Note) -> Show:
        """Tells another one's `note` what goes on, as that shows progress already."""
        return _Noted(note)

    def say(self, text: str) -> None:
        """A line, now."""
        self._console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Note]:
        """A step's latest note while it runs; one line with its time when it is done."""
        started = printed = self._clock()
        latest = ""

        def note(text: str) -> None:
            nonlocal latest, printed
            latest = text
            status.update(f"{title}: {text}")
            if not self._console.is_terminal and self._clock() - printed >= PLAIN_SECONDS:
                printed = self._clock()
                self._console.print(f"  {text}", markup=False)

        with self._console.status(title) as status:
            yield note
        self._console.print(f"[bold]{title}[/] ({self._clock() - started:.1f} s)  {latest}")

    @contextmanager
    def search(self, trainer: Trainer, limits: Limits) -> Iterator[SearchLine]:
        """The trial and fold under way and the best so far; a line for each finished trial."""
        with self._console.status("Search") as status:
            yield SearchLine(self._console, status, trainer, limits)


class SearchLine:
    """See `ShowTrial`."""

    def __init__(self, console: Console, status: Status, trainer: Trainer, limits: Limits) -> None:
        self._console = console
        self._status = status
        self._trainer = trainer
        self._of = f" of {limits.trials}" if limits.trials is not None else ""
        self._best = ""

    def fold(self, trial: int, fold: int, value: float) -> None:
        shown = f"{self._trainer.target} {value:.5f}"
        self._status.update(
            f"Search: trial {trial + 1}{self._of}, fold {fold} of {self._trainer.folds}, {shown}{self._best}"
        )

    def trial(self, trial: int, value: float, pruned: bool, best: float | None) -> None:
        self._best = f"; best {best:.5f}" if best is not None else ""
        what = "pruned" if pruned else "finished"
        line = f"  trial {trial + 1}{self._of} {what}: {self._trainer.target} {value:.5f}{self._best}"
        self._console.print(line, markup=False)


class _Noted(Show):
    def __init__(self, note: Note) -> None:
        super().__init__(Console(quiet=True))
        self._note = note

    @contextmanager
    def step(self, title: str) -> Iterator[Note]:
        self._note(title.lower())
        yield lambda text: self._note(f"{title.lower()}: {text}")
