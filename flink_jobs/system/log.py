"""Writes log events of the command line to stderr: readable at a terminal, JSON lines for programs.

TAILRACE_LOG=json or text chooses; without it, JSON is for a stderr that is not a terminal.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import structlog
from structlog.typing import EventDict, Processor

from flink_jobs.errors import InputError
from flink_jobs.system.masks import PROCESS
from flink_jobs.system.terminal import plain_lines

_VARIABLE = "TAILRACE_LOG"


def configure_logging(environ: Mapping[str, str] = os.environ) -> None:
    """Sets the form of log events; may be called again. Raises InputError for a wrong TAILRACE_LOG."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, *(_JSON if _as_json(environ) else _text())],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    logging.getLogger().addFilter(_is_no_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    """Py4J logs Ctrl-C with a traceback when it comes while Java is asked something."""
    return not (record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt))


def _to_stderr(*_: object) -> structlog.PrintLogger:
    """A logger to stderr as it is now: tests replace it, and close what they put in its place."""
    return structlog.PrintLogger(sys.stderr)


def _hide(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Without what the environment gave to a job file, wherever a person put it."""
    return {key: PROCESS.hide_in(value) for key, value in event.items()}


_JSON: tuple[Processor, ...] = (
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _hide,
    structlog.processors.JSONRenderer(),
)


def _plain(_logger: object, _name: str, event: EventDict) -> EventDict:
    """What records and models say reaches no terminal as a control sequence."""
    return {key: plain_lines(value) if isinstance(value, str) else value for key, value in event.items()}


def _text() -> tuple[Processor, ...]:
    return (
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.processors.format_exc_info,  # a plain one: rich shows local variables
        _hide,
        _plain,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
    )


def _as_json(environ: Mapping[str, str]) -> bool:
    chosen = environ.get(_VARIABLE, "")
    if chosen not in ("", "json", "text"):
        raise InputError(f"{_VARIABLE} must be json or text; got {chosen!r}")
    return chosen == "json" or (not chosen and not sys.stderr.isatty())
