"""Collects all mistakes of a job while it is planned, each with its location in the job file.

>>> found = Collector()
>>> found.add(("drift", "columns", 0), "an input of the model", "'orign'", name="orign", choices=("origin",))
>>> print(found.diagnostics[0])
drift.columns[0]: must be an input of the model; got 'orign'; did you mean 'origin'?
"""

from __future__ import annotations

from collections.abc import Iterable

from flink_jobs.errors import Diagnostic, JobFileError, Location
from flink_jobs.jobfile.partial import NO_DOUBTS, Doubts


class Collector:
    """Diagnostics of a job, and the columns that are unknown because of them.

    `doubts` are what mistakes in the job file hide: nothing is reported twice, nor what only follows.
    """

    def __init__(self, doubts: Doubts = NO_DOUBTS) -> None:
        self.doubts = doubts
        self.diagnostics: list[Diagnostic] = []
        self._unknown: set[str] = set()

    def add(
        self,
        location: Location,
        expected: str,
        found: str,
        suggestion: str | None = None,
        *,
        name: str | None = None,
        choices: Iterable[str] = (),
    ) -> None:
        """A mistake: `location` must be `expected`; got `found`. `name` may mean one of `choices`."""
        if not self.doubts.hides(location):
            self.diagnostics.append(Diagnostic(location, expected, found, suggestion, name, tuple(choices)))

    def lose(self, columns: Iterable[str]) -> None:
        """From here on these columns are unknown: what is wrong with them is reported."""
        self._unknown.update(columns)

    def is_unknown(self, column: str) -> bool:
        """Whether the job may have this column, with a type that is not known."""
        return column in self._unknown or self.doubts.column(column)

    def check(self) -> None:
        """Raises JobFileError if anything was found."""
        if self.diagnostics:
            raise JobFileError(self.diagnostics)
