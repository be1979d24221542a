"""The errors that Tailrace raises on purpose.

TailraceError            anything that a person should read without a traceback
├── InputError           the input is wrong: job file, option, model, data (exit code 2)
│   └── JobFileError     one or more problems in a job file, each with its place
└── WorkError            the work failed: broker, cluster, running job (exit code 1)
    └── JobFailedError   a Flink job ended with an error; carries the worker's Python traceback
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TailraceError(Exception):
    """Base of all errors that are shown as a message, not as a traceback."""

    exit_code = 1


class InputError(TailraceError):
    """What the user gave is wrong; nothing was started."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One mistake in a job file, with its place.

    `key_path` is dotted (`source.schema.origin.type`); `line` counts from 1.
    """

    file: str
    line: int
    key_path: str
    expected: str
    found: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{self.file}:{self.line}: {self.key_path}: must be {self.expected}; got {self.found}{hint}"


class JobFileError(InputError):
    """The job file has one or more problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class WorkError(TailraceError):
    """Something that should have worked did not: broker, cluster, job."""


class JobFailedError(WorkError):
    """A Flink job ended with an error.

    `worker_traceback` is the Python worker's own traceback when it was the cause.
    """

    def __init__(self, message: str, worker_traceback: str | None = None) -> None:
        super().__init__(message)
        self.worker_traceback = worker_traceback
