"""The errors that Tailrace raises on purpose.

TailraceError            anything that a person should read without a traceback
├── InputError           the input is wrong: job file, option, model, data (exit code 2)
│   └── JobFileError     one or more diagnostics of a job file, each with its location
└── WorkError            the work failed: broker, cluster, running job (exit code 1)
    └── JobFailedError   a Flink job ended with an error; carries the worker's Python traceback
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from udfs.suggest import nearest

Location = tuple[str | int, ...]


class TailraceError(Exception):
    """Base of all errors that are shown as a message, not as a traceback."""

    exit_code = 1


class InputError(TailraceError):
    """What the user gave is wrong; nothing was started."""

    exit_code = 2


@dataclass(frozen=True)
class Diagnostic:
    """One mistake of a job file: where, what was expected, what was found, and what was perhaps meant.

    `location` is the path of keys in the YAML. `line` and `column` count from 1; they and `file` are None
    where there is no file, or until it is read. Without a `suggestion`, the one of `choices` that is nearest
    to `name` is suggested.

    >>> print(Diagnostic(("model", "use"), "champion or latest", "'last'", "latest", file="a.yaml", line=7))
    a.yaml:7: model.use: must be champion or latest; got 'last'; did you mean 'latest'?
    """

    location: Location
    expected: str
    found: str
    suggestion: str | None = None
    name: str | None = None
    choices: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def key_path(self) -> str:
        return dotted(self.location)

    @property
    def meant(self) -> str | None:
        """The suggestion, given or found among the choices."""
        if self.suggestion is not None or self.name is None:
            return self.suggestion
        return nearest(self.name, self.choices)

    def as_data(self) -> dict[str, str | int | None]:
        """For JSON."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "key_path": self.key_path,
            "expected": self.expected,
            "found": self.found,
            "suggestion": self.meant,
        }

    def __str__(self) -> str:
        position = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        meant = self.meant
        hint = f"; did you mean {meant!r}?" if meant else ""
        text = f"{self.key_path}: must be {self.expected}; got {self.found}{hint}"
        return f"{':'.join(position)}: {text}" if position else text


def dotted(location: Location) -> str:
    """A location as people write it.

    >>> dotted(("predictions", "include", 1)), dotted(())
    ('predictions.include[1]', 'file')
    """
    text = ""
    for key in location:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = key if key.isprintable() and 0 < len(key) <= 100 else f"{key!r:.100}"
            text += f".{shown}" if text else shown
    return text or "file"


class JobFileError(InputError):
    """A job file, or a job, has one or more mistakes."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))


class WorkError(TailraceError):
    """Something that should have worked did not: broker, cluster, job."""


class JobFailedError(WorkError):
    """A Flink job ended with an error.

    `worker_traceback` is the Python worker's own traceback when it was the cause.
    """

    def __init__(self, message: str, worker_traceback: str | None = None) -> None:
        super().__init__(message)
        self.worker_traceback = worker_traceback
