"""Structured logs of the workers, through the standard library's logging into Flink's own log files."""

from __future__ import annotations

import logging

import structlog


def configure_worker_logging() -> None:
    """JSON lines on the root logger, which Flink's worker forwards; safe to call more than once."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
